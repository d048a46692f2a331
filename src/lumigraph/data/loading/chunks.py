"""Chunks of files: how files are cut into them, and which files are open."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..files.event_file import EventFile
from ..files.readers import open_events

__all__ = ["MOST_AT_ONCE", "Chunk", "OpenFiles", "cut"]

#: so many files are kept open, and so many groups of a file may be read by turns without decoding them again
MOST_AT_ONCE = 8


class Chunk(NamedTuple):
    """Events of one file that are read at once."""

    file: int
    start: int
    stop: int
    first: int  # number of its first event, counted over all files
    group: int  # chunks of the same group can only be read in their order
    begins_group: bool

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of its events, counted over all files."""
        return np.arange(self.first, self.first + self.stop - self.start)


class OpenFiles:
    """Files by number, the last few of them open."""

    def __init__(self, paths: Sequence[str], most: int = MOST_AT_ONCE) -> None:
        self.paths, self.most = paths, most
        self.opened: dict[int, EventFile] = {}

    def __getitem__(self, number: int) -> EventFile:
        file = self.opened.pop(number, None) or open_events(self.paths[number])
        self.opened[number] = file
        while len(self.opened) > self.most:
            self.opened.pop(next(iter(self.opened))).close()
        return file


def cut(groups: np.ndarray, chunk_size: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a file into chunks of at most so many events: yield start, stop, and whether a group begins there."""
    ends = groups[1:].tolist()
    start = 0
    for i, stop in enumerate(ends):
        if i + 1 < len(ends) and ends[i + 1] - start <= chunk_size:
            continue  # small groups are read together
        parts = -(-(stop - start) // chunk_size)
        size = -(-(stop - start) // max(parts, 1))  # all but the last: a decoder gives what is asked in one piece
        for low in range(start, stop, max(size, 1)):
            yield low, min(low + size, stop), low == start
        start = stop
