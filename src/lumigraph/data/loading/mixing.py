"""Which events of a stream go into which batch of an epoch: chunks are read in random order and mixed in a buffer."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from torch_geometric.data import Batch

from ...events.checks import check_counts
from .batching import EventBatches, this_rank
from .chunks import MOST_AT_ONCE
from .dataset import EventDataset
from .loader import made_by_workers

__all__ = ["ByNumber", "Mixing", "WithinLimits"]


class _Piece(NamedTuple):
    """Some of the events of a chunk that are selected: from one of them to another."""

    chunk: int
    start: int
    stop: int


_Window = list[_Piece]  # what is mixed


class Mixing(NamedTuple):
    """How the events of a stream are read and mixed."""

    stream: Any  # an EventStream
    shuffle: bool
    seed: int
    buffer_size: int
    num_workers: int
    rank: int | None
    num_ranks: int | None

    def place(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        return this_rank(self.rank, self.num_ranks)

    def order(self, rng: np.random.Generator) -> list[int]:
        """Return the chunks in random order, those of a unit together, or in the order of the files."""
        chunks = self.stream.chunk_list
        if not self.shuffle:
            return list(range(len(chunks)))
        drawn = rng.permutation(chunks[-1].unit + 1).tolist()
        return sorted(range(len(chunks)), key=lambda i: drawn[chunks[i].unit])

    def windows(self, pieces: list[_Piece]) -> list[_Window]:
        """Return what is mixed: as many pieces at a time as the buffer holds."""
        if self.shuffle:
            pieces = self._side_by_side(pieces)
        return [pieces[i : i + self.buffer_size] for i in range(0, len(pieces), self.buffer_size)]

    def _side_by_side(self, pieces: list[_Piece]) -> list[_Piece]:
        """Return pieces such that several units are read at a time, evenly from their beginnings to their ends."""
        units: dict[int, list[_Piece]] = {}
        for piece in pieces:
            units.setdefault(self.stream.chunk_list[piece.chunk].unit, []).append(piece)
        at_once = min(self.buffer_size, MOST_AT_ONCE)
        turns = [
            (unit // at_once, place / len(own), unit, piece)
            for unit, own in enumerate(units.values())
            for place, piece in enumerate(own)
        ]
        return [piece for *_, piece in sorted(turns)]

    def load(self, windows: list[_Window]) -> Iterator[EventDataset]:
        """Yield the events of each window, read here or by the workers."""
        if not self.num_workers:
            return map(self.events_of, windows)
        # a worker reads whole runs, as it goes on in parts of files where another one would begin anew
        owners = [run % self.num_workers for run in self.runs(windows)]

        loaders = {
            worker: made_by_workers(
                self.events_of, [w for w, owner in zip(windows, owners, strict=True) if owner == worker], 1
            )
            for worker in set(owners)
        }
        return (next(loaders[owner]) for owner in owners)

    def runs(self, windows: list[_Window]) -> list[int]:
        """Return which windows are in one run, by its number: those that go on in the same large parts of files."""
        chunks = self.stream.chunk_list
        begins = [any(chunks[piece.chunk].place == 0 for piece in window) for window in windows]
        return [run - begins[0] for run in accumulate(map(int, begins))]

    def events_of(self, window: _Window) -> EventDataset:
        """Return the events of a window, piece by piece."""
        parts = []
        for number, start, stop in window:
            events = self.stream.events_of(number)
            events.ids = {}  # no batch has them
            parts.append(events.between(start, stop))
        return EventDataset.concatenate(parts)


def _some(events: EventDataset, start: int, stop: int) -> EventDataset:
    """Return events of a window as views of it, but the last of them as a copy, which stays while the next is read."""
    return events.between(start, stop) if stop + (stop - start) <= len(events) else events.select(range(start, stop))


class ByNumber:
    """Batches of so many events: a rank is given some of the chunks, and mixes them."""

    def __init__(self, mixing: Mixing, batch_size: int) -> None:
        check_counts(batch_size=batch_size)
        self.mixing, self.batch_size = mixing, batch_size

    def num_batches(self) -> int:
        """Return the batches of an epoch, on this rank."""
        num_events, (_, num_ranks) = len(self.mixing.stream), self.mixing.place()
        if num_events < num_ranks:
            raise ValueError(f"{num_events} events are too few for {num_ranks} ranks: use fewer processes")
        return -(-(num_events // num_ranks) // self.batch_size)

    def _windows(self, epoch: int) -> list[_Window]:
        """Return what this rank mixes in an epoch."""
        stream, (rank, num_ranks) = self.mixing.stream, self.mixing.place()
        order = self.mixing.order(np.random.default_rng((self.mixing.seed, epoch)))
        low, high = (len(stream) * r // num_ranks for r in (rank, rank + 1))
        pieces, first = [], 0
        for chunk in order:
            start, stop = max(low - first, 0), min(high - first, int(stream.counts[chunk]))
            if start < stop:
                pieces.append(_Piece(chunk, start, stop))
            first += int(stream.counts[chunk])
        return self.mixing.windows(pieces)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from a certain one on."""
        num_batches, windows = self.num_batches(), self._windows(epoch)
        after = list(accumulate(sum(piece.stop - piece.start for piece in window) for window in windows))
        position = start * self.batch_size  # of the next event in what this rank is given
        skipped = sum(end <= position for end in after)
        rest: list[EventDataset] = []  # of the batch that is not full yet
        for i, events in enumerate(self.mixing.load(windows[skipped:]), skipped):
            if self.mixing.shuffle:
                seed = (self.mixing.seed, epoch, self.mixing.place()[0], i)
                events = events.select(np.random.default_rng(seed).permutation(len(events)))
            first = after[i] - len(events)
            while position < after[i]:
                full = (start + 1) * self.batch_size if start + 1 < num_batches else after[-1]
                end = min(full, after[i])
                rest.append(_some(events, position - first, end - first))
                position = end
                if end == full:
                    yield EventDataset.concatenate(rest).batch()
                    start, rest = start + 1, []
            del events  # or all of it would be there until the next window is


class WithinLimits:
    """Batches within limits of particles or pairs, or of like events: the same chunks are mixed in every epoch."""

    def __init__(self, mixing: Mixing, limits: Mapping[str, Any]) -> None:
        self.mixing = mixing
        rng = np.random.default_rng(mixing.seed)
        pieces = [_Piece(i, 0, int(mixing.stream.counts[i])) for i in mixing.order(rng) if mixing.stream.counts[i]]
        self.windows = mixing.windows(pieces)
        if len(self.windows) > 1 and len(self.windows[-1]) < mixing.buffer_size:
            self.windows[-2:] = [[*self.windows[-2], *self.windows[-1]]]  # too few to be shared among ranks, maybe
        self.plans = []
        for window in self.windows:
            counted = [mixing.stream.lengths[piece.chunk] for piece in window]
            numbers, lengths = (np.concatenate(column) for column in zip(*counted, strict=True))
            with mixing.stream.located(numbers):
                self.plans.append(
                    EventBatches(
                        lengths, shuffle=mixing.shuffle, seed=mixing.seed, rank=mixing.rank,
                        num_ranks=mixing.num_ranks, **limits,
                    )
                )  # fmt: skip

    def num_batches(self) -> int:
        """Return the batches of an epoch, on this rank."""
        return sum(map(len, self.plans))

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from a certain one on."""
        runs = np.array(self.mixing.runs(self.windows))
        if self.mixing.shuffle:  # the windows of a run stay in their order
            runs = np.random.default_rng((self.mixing.seed, epoch)).permutation(runs.max() + 1)[runs]
        order = runs.argsort(kind="stable")
        while start >= len(self.plans[order[0]]):
            start, order = start - len(self.plans[order[0]]), order[1:]
        for i, events in zip(order, self.mixing.load([self.windows[i] for i in order]), strict=True):
            batches = self.plans[i].batches(epoch)[start:]
            ends = np.cumsum([len(numbers) for numbers in batches])
            events = events.select(np.concatenate(batches))
            for numbers, end in zip(batches, ends.tolist(), strict=True):
                yield _some(events, end - len(numbers), end).batch()
            start = 0
            del events  # or all of it would be there until the next window is
