"""The events of each batch of a stream: chunks are read in random order and mixed in windows."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from torch_geometric.data import Batch

from ...events.checks import check_counts
from ...events.schema import EventSchema
from .batching import EventBatches, this_rank
from .chunks import MOST_AT_ONCE, Chunk
from .dataset import EventDataset
from .loader import made_by_workers

__all__ = ["ByNumber", "ChunkedEvents", "Mixing", "WithinLimits", "warn_if_sorted"]


class ChunkedEvents(ABC):
    """Events that are read chunk by chunk, as an `EventStream` reads them."""

    schema: EventSchema

    @property
    @abstractmethod
    def chunk_list(self) -> list[Chunk]:
        """The chunks of the files, in order."""

    @property
    @abstractmethod
    def counts(self) -> np.ndarray:
        """Number of selected events of each chunk."""

    @property
    @abstractmethod
    def lengths(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Number and particles of each selected event, by chunk."""

    def __len__(self) -> int:
        """Return the number of selected events; with a selection they are counted on first use."""
        return int(self.counts.sum())

    @abstractmethod
    def events_of(self, number: int) -> EventDataset:
        """Return the selected events of a chunk."""

    @abstractmethod
    def located(self, numbers: np.ndarray) -> AbstractContextManager[None]:
        """Let an error about one of the events with these numbers name its file and its number there."""


class _OfChunk(NamedTuple):
    """The part of a chunk in a share: its selected events ``start`` to ``stop``."""

    chunk: int
    start: int
    stop: int


_Share = list[_OfChunk]
_Window = list[_OfChunk]


class Mixing(NamedTuple):
    """Options for reading and mixing the events of a stream."""

    stream: ChunkedEvents
    shuffle: bool
    seed: int
    buffer_size: int
    num_workers: int
    rank: int | None
    num_ranks: int | None

    def this_rank(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        return this_rank(self.rank, self.num_ranks)

    def order(self, rng: np.random.Generator) -> list[int]:
        """Return the chunks in random order, each group kept together, or in the order of the files."""
        chunks = self.stream.chunk_list
        if not self.shuffle:
            return list(range(len(chunks)))
        drawn = rng.permutation(chunks[-1].group + 1).tolist()
        return sorted(range(len(chunks)), key=lambda i: drawn[chunks[i].group])

    def windows(self, share: _Share) -> list[_Window]:
        """Cut a share into windows."""
        if self.shuffle:
            share = self._side_by_side(share)
        return [share[i : i + self.buffer_size] for i in range(0, len(share), self.buffer_size)]

    def _side_by_side(self, share: _Share) -> _Share:
        """Return a share reordered so that several groups are read at a time, each evenly from beginning to end."""
        groups: dict[int, _Share] = {}
        for found in share:
            groups.setdefault(self.stream.chunk_list[found.chunk].group, []).append(found)
        at_once = min(self.buffer_size, MOST_AT_ONCE)
        turns = [
            (group // at_once, i / len(own), group, found)
            for group, own in enumerate(groups.values())
            for i, found in enumerate(own)
        ]
        return [found for *_, found in sorted(turns)]

    def load(self, windows: list[_Window]) -> Iterator[EventDataset]:
        """Yield the events of each window, read in this process or by workers."""
        if not self.num_workers:
            return map(self.events_of, windows)
        # windows of the same groups have one worker, which continues where another one would start again
        owners = [group % self.num_workers for group in self.groups(windows)]
        loaders = {
            worker: made_by_workers(
                self.events_of, [w for w, owner in zip(windows, owners, strict=True) if owner == worker], 1
            )
            for worker in set(owners)
        }
        return (next(loaders[owner]) for owner in owners)

    def groups(self, windows: list[_Window]) -> list[int]:
        """Return a number for each window, the same for those that continue the same groups."""
        chunks = self.stream.chunk_list
        begins = [any(chunks[found.chunk].begins_group for found in window) for window in windows]
        return [group - begins[0] for group in accumulate(map(int, begins))]

    def events_of(self, window: _Window) -> EventDataset:
        """Return the events of a window, chunk by chunk."""
        parts = []
        for number, start, stop in window:
            events = self.stream.events_of(number)
            events.ids = {}  # batches do not need them
            parts.append(events.between(start, stop))
        return EventDataset.concatenate(parts)


def _some(events: EventDataset, start: int, stop: int) -> EventDataset:
    """Return events of a window as views, but the last ones as a copy, so the window can be freed."""
    return events.between(start, stop) if stop + (stop - start) <= len(events) else events.select(range(start, stop))


class ByNumber:
    """Batches of a given number of events: each rank gets some of the chunks, and mixes them."""

    def __init__(self, mixing: Mixing, batch_size: int) -> None:
        check_counts(batch_size=batch_size)
        self.mixing, self.batch_size = mixing, batch_size

    def num_batches(self) -> int:
        """Return the batches of an epoch, on this rank."""
        num_events, (_, num_ranks) = len(self.mixing.stream), self.mixing.this_rank()
        if num_events < num_ranks:
            raise ValueError(f"{num_events} events are too few for {num_ranks} ranks: use fewer processes")
        return -(-(num_events // num_ranks) // self.batch_size)

    def _windows(self, epoch: int) -> list[_Window]:
        """Return the windows of this rank in an epoch."""
        stream, (rank, num_ranks) = self.mixing.stream, self.mixing.this_rank()
        order = self.mixing.order(np.random.default_rng((self.mixing.seed, epoch)))
        low, high = (len(stream) * r // num_ranks for r in (rank, rank + 1))
        share, first = [], 0
        for chunk in order:
            start, stop = max(low - first, 0), min(high - first, int(stream.counts[chunk]))
            if start < stop:
                share.append(_OfChunk(chunk, start, stop))
            first += int(stream.counts[chunk])
        return self.mixing.windows(share)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from a certain one on."""
        num_batches, windows = self.num_batches(), self._windows(epoch)
        after = list(accumulate(sum(found.stop - found.start for found in window) for window in windows))
        position = start * self.batch_size  # of the next event in the share of this rank
        skipped = sum(end <= position for end in after)
        rest: list[EventDataset] = []  # of the current batch, not yet full
        for i, events in enumerate(self.mixing.load(windows[skipped:]), skipped):
            if self.mixing.shuffle:
                seed = (self.mixing.seed, epoch, self.mixing.this_rank()[0], i)
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
    """Batches within limits of particles or pairs, or bucketed: the same chunks are mixed in every epoch."""

    def __init__(self, mixing: Mixing, limits: Mapping[str, Any]) -> None:
        self.mixing, counts = mixing, mixing.stream.counts
        order = mixing.order(np.random.default_rng(mixing.seed))
        self.windows = mixing.windows([_OfChunk(i, 0, int(counts[i])) for i in order if counts[i]])
        if len(self.windows) > 1 and len(self.windows[-1]) < mixing.buffer_size:
            self.windows[-2:] = [[*self.windows[-2], *self.windows[-1]]]  # it might have too few events for all ranks
        self.plans = []
        for window in self.windows:
            counted = [mixing.stream.lengths[found.chunk] for found in window]
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
        groups = np.array(self.mixing.groups(self.windows))
        if self.mixing.shuffle:  # windows of the same groups stay in order
            groups = np.random.default_rng((self.mixing.seed, epoch)).permutation(groups.max() + 1)[groups]
        order = groups.argsort(kind="stable")
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


def warn_if_sorted(labels: ChunkedEvents, files: Sequence[str], buffer_size: int) -> None:
    """Warn about groups that can only be read in order and are sorted by target, so that classes are not mixed."""
    groups: dict[int, list[int]] = {}
    for number, chunk in enumerate(labels.chunk_list):
        groups.setdefault(chunk.group, []).append(number)
    if len(groups) >= MOST_AT_ONCE:
        return
    for own in groups.values():
        if len(own) <= buffer_size:
            continue
        first, last = (np.unique(np.asarray(labels.events_of(number).y), axis=0) for number in (own[0], own[-1]))
        if max(len(first), len(last)) <= 10 and not {*map(tuple, first)} & {*map(tuple, last)}:
            chunk, end = labels.chunk_list[own[0]], labels.chunk_list[own[-1]].stop
            warnings.warn(
                f"{files[chunk.file]}: the events {chunk.start} to {end} can only be read in order, and are sorted "
                f"by {', '.join(labels.schema.targets)}: batches will hold one class each. Write the file again in "
                "smaller parts (row_group_size=20000 in Parquet), shuffle its events once, or load it with "
                "EventDataset.from_file",
                stacklevel=3,
            )
