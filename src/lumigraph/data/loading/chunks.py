"""Chunks of files: cutting files into them, and keeping files open."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..files.event_file import EventFile
from ..files.readers import open_events

__all__ = ["MOST_AT_ONCE", "Chunk", "OpenFiles", "cut"]

#: files kept open, and groups of a file that can be read in turn without decoding them again
MOST_AT_ONCE = 8


class Chunk(NamedTuple):
    """Events of one file that are read at once."""

    file: int
    start: int
    stop: int
    first: int  # number of its first event, counted over all files
    group: int  # chunks of a group can only be read in order
    begins_group: bool

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of its events, counted over all files."""
        return np.arange(self.first, self.first + self.stop - self.start)


class OpenFiles:
    """Files by number, those used last kept open."""

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
    """Cut a file into chunks of at most ``chunk_size`` events: yield start, stop, and whether a group begins."""
    ends = groups[1:].tolist()
    start = 0
    for i, stop in enumerate(ends):
        if i + 1 < len(ends) and ends[i + 1] - start <= chunk_size:
            continue  # small groups are read together
        parts = -(-(stop - start) // chunk_size)
        size = -(-(stop - start) // max(parts, 1))  # equal sizes, but for the last: decoded in one piece
        for low in range(start, stop, max(size, 1)):
            yield low, min(low + size, stop), low == start
        start = stop
