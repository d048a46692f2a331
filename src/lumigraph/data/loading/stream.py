"""Events from files of any size: read chunk by chunk, shuffled in windows, shared among ranks and processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...events.checks import check_counts
from ...events.schema import EventSchema
from ..columns.assembly import Arrays
from ..files.tables import Columns
from .batching import check_rank
from .chunked_files import ChunkedFiles, Paths
from .chunks import Chunk
from .dataset import EventDataset
from .loader import EventLoader
from .memory import keep_pages
from .mixing import ByNumber, ChunkedEvents, Mixing, WithinLimits, warn_if_sorted
from .shares import Share, shares_of

__all__ = ["EventStream"]


class Table(NamedTuple):
    """A chunk as in its file: all its events, and the data set of the selected ones."""

    path: str
    columns: Columns
    numbers: np.ndarray
    events: EventDataset


class EventStream(ChunkedEvents):
    """Events of files that need not fit into memory.

    The events are read in chunks, only the columns that the schema needs. `loader` serves them as Batches, shuffled for
    training; `chunks` yields them in the order of the files; `read` loads them all.

    Parameters
    ----------
    paths
        One file or several, also with ``*`` and ``?``; a tree of a ROOT file as ``file.root:tree``.
    schema
        The columns to read.
    labelled
        Whether targets and weight are needed; otherwise they may be missing.
    chunk_size
        Maximum number of events read at once.

    Raises
    ------
    SchemaError
        If a file cannot be read or a column is missing; the message begins with the name of the file.

    Notes
    -----
    **Memory.** Chunks of ``chunk_size`` events, of which a shuffled loader holds two to three times ``buffer_size``,
    and more with worker processes.

    **Numbers.** Events are numbered over all files in order, including those not selected; messages about an event give
    its number in its file.

    Examples
    --------
    >>> from lumigraph.data import SAMPLE_SCHEMA, sample_path
    >>> stream = EventStream(sample_path(), SAMPLE_SCHEMA)
    >>> stream
    EventStream(files=1, events=20000)
    >>> for batch in stream.loader(512, shuffle=True, seed=1):
    ...     break
    >>> batch.num_graphs
    512
    """

    def __init__(self, paths: Paths, schema: EventSchema, *, labelled: bool = True, chunk_size: int = 8192) -> None:
        self.schema = schema
        self._files = ChunkedFiles(paths, schema, labelled=labelled, chunk_size=chunk_size)
        self._share: Share | None = None
        self._weights: Callable[[EventDataset], Any] | None = None
        self._check: Callable[[EventDataset], Any] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(files={len(self.files)}, events={len(self)})"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the events are read from."""
        return tuple(self._files.paths)

    @property
    def name(self) -> str:
        """The files, as text for messages."""
        return self.files[0] + (f" and {len(self.files) - 1} more" if self.files[1:] else "")

    @property
    def without_numbers(self) -> list[str]:
        """Columns of the files that are not numeric, such as text."""
        return self._files.without_numbers

    @property
    def chunk_list(self) -> list[Chunk]:
        """The chunks of the files, in order."""
        return self._files.chunks

    @cached_property
    def lengths(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Number and particles of each selected event, by chunk; found in one pass on first use."""
        schema = replace(self.schema, event_feats=(), cat_feats=(), targets=(), weight=None, ids=())
        fewer = self._of(schema)
        parts = (fewer.events_of(i) for i in range(len(self.chunk_list)))
        none = np.zeros(self._files.chunk_size, np.int64)
        return [(p.numbers, none[: len(p)] if p.ptr is None else p.ptr.diff().numpy()) for p in parts]

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of selected events of each chunk."""
        if self.schema.event_selection:
            counting = self._without_particles()
            return np.array([len(counting.events_of(i)) for i in range(len(self.chunk_list))], dtype=np.int64)
        share = self._share
        counts = (
            chunk.stop - chunk.start if share is None else share.has(chunk.numbers).sum() for chunk in self.chunk_list
        )
        return np.array(list(counts), dtype=np.int64)

    def events_of(self, number: int) -> EventDataset:
        """Return the selected events of a chunk."""
        return self._events(self._files.arrays(self.chunk_list[number]))

    def _events(self, arrays: Arrays) -> EventDataset:
        events = EventDataset(arrays, self.schema)
        if self._share is not None:
            events = events.select(self._share.has(events.numbers))
        with self.locating(events):
            if self._check is not None:
                self._check(events)
            return events if self._weights is None else events.with_weights(self._weights(events))

    def locating(self, part: EventDataset) -> AbstractContextManager[None]:
        """Let an error about an event of a part name its file and its number there."""
        return self._files.located(part.numbers)

    def located(self, numbers: np.ndarray) -> AbstractContextManager[None]:
        """Let an error about one of the events with these numbers name its file and its number there."""
        return self._files.located(numbers)

    def chunks(self, chunk_size: int | None = None) -> Iterator[EventDataset]:
        """Yield the selected events in the order of the files, in parts of at most ``chunk_size``."""
        for number in range(len(self.chunk_list)):
            events = self.events_of(number)
            if len(events):
                yield from events.chunks(len(events) if chunk_size is None else chunk_size)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Table]:
        """Yield, chunk by chunk, the columns of the files and the events made from them.

        Parameters
        ----------
        columns
            Columns to read as they are, if a file has them; by default all that do not repeat others.
        """
        for chunk in self.chunk_list:
            found, arrays = self._files.table(chunk, columns)
            yield Table(self.files[chunk.file], found, chunk.numbers, self._events(arrays))

    def read(self) -> EventDataset:
        """Return all events as a data set in memory.

        Raises
        ------
        SchemaError
            If a file cannot be read, or an identifier has integers in one file and other numbers in another.
        """
        return EventDataset.gathered(map(self.events_of, range(len(self.chunk_list))), self._files)

    def split(self, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int = 0) -> tuple["EventStream", ...]:
        """Split the events at random into disjoint parts, the same ones for the same seed.

        A random number that depends on its own number and the seed sends each event to a part. Every part reads all
        files; separate files for each part are faster.

        Parameters
        ----------
        fractions
            Fraction of each part, such as training, validation and test; their sum is at most 1.
        seed
            Seed of the random numbers.

        Raises
        ------
        ValueError
            If the fractions are not positive or add up to more than 1, or this is already a part of a split.
        """
        shares = shares_of(fractions, seed)
        if self._share is not None:
            raise ValueError("this is already a part of a split: split the whole into as many parts as you need")
        return tuple(self._with_share(share) for share in shares)

    def _with_share(self, share: Share) -> "EventStream":
        part = copy(self)
        for counted in ("counts", "lengths"):
            part.__dict__.pop(counted, None)
        part._share = share
        return part

    def _of(self, schema: EventSchema) -> "EventStream":
        """Return the same events with fewer columns."""
        fewer = copy(self)
        fewer.schema, fewer._files = schema, self._files.of(schema)
        fewer._weights = fewer._check = None
        return fewer

    def _without_particles(self, **kept: Any) -> "EventStream":
        """Return the same events with some event columns only, and particles only if the selection needs them."""
        left_out: dict[str, Any] = {"event_feats": (), "cat_feats": (), "targets": (), "weight": None, "ids": ()}
        if not self.schema.event_selection:
            left_out |= {"vecs": (), "collections": (), "feats_per_vec": (), "object_selection": {}}
            left_out |= {"max_particles": None}
        return self._of(replace(self.schema, **{**left_out, **kept}))

    def weighted(self, weights: Callable[[EventDataset], Any]) -> "EventStream":
        """Return the same events with the weights, (B,), that a function returns for the events of a chunk."""
        other = copy(self)
        other._weights = weights
        return other

    def checked(self, check: Callable[[EventDataset], Any]) -> "EventStream":
        """Return the same events, checked by a function as they are read; its errors name file and event."""
        other = copy(self)
        other._check = check
        return other

    def mean_weight(self) -> float:
        """Return the mean weight of the events, 1 without weights."""
        if self.schema.weight is None and self._weights is None:
            return 1.0
        parts = (self if self._weights else self._without_particles(weight=self.schema.weight)).chunks()
        return sum(float(part.weight.double().sum()) for part in parts if part.weight is not None) / len(self)

    def cat_szs(self) -> list[int]:
        """Return the cardinality of each category, its largest code plus one."""
        parts = self._without_particles(cat_feats=self.schema.cat_feats).chunks()
        sizes = [part.cat_szs() for part in parts] or [[1] * len(self.schema.cat_feats)]
        return [max(column) for column in zip(*sizes, strict=True)]

    def loader(
        self,
        batch_size: int | None = None,
        *,
        particles_per_batch: int | None = None,
        pairs_per_batch: int | None = None,
        bucketed: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        buffer_size: int = 8,
        num_workers: int = 0,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> EventLoader:
        """Return a loader of ready Batches.

        Parameters
        ----------
        batch_size, particles_per_batch, pairs_per_batch
            Maximum numbers of events, particles and ordered pairs of particles in a batch; give at least one. With
            ``batch_size`` alone the last batch of a rank may have fewer events, or one more.
        bucketed
            Whether events of nearly the same multiplicity share a batch.
        shuffle
            Whether to shuffle: chunks come in random order, and the events of ``buffer_size`` chunks at a time are
            mixed, differently in each epoch but identically for the same seed, epoch and ranks.
        seed
            Seed of the shuffle.
        buffer_size
            Number of chunks whose events are mixed.
        num_workers
            Processes that read and mix; the order of the events does not depend on it.
        rank, num_ranks
            The share of the events to load, and the number of shares; by default those of this process in a
            distributed training. Each event is in exactly one share, and the shares have equally many batches.
            With ``batch_size`` alone each rank reads its own chunks, and the shares differ by at most one event.

        Raises
        ------
        ValueError
            If there are no events or too few for the ranks, or the limits are missing, not positive or too small.

        Notes
        -----
        **Limits** other than ``batch_size`` need the particles of each event, counted in one pass when the loader is
        made. The same chunks are then mixed in every epoch, in a different order each time, and every rank reads all
        of them.

        **Memory.** Most batches are views of the events that were mixed together, all of which stay in memory as long
        as one of their batches does; to keep or save a batch, use ``batch.clone()``. Pages of memory are kept, see
        `lumigraph.keep_pages`.
        """
        check_counts(buffer_size=buffer_size)
        check_counts(0, seed=seed, num_workers=num_workers)
        check_rank(rank, num_ranks)
        if len(self) == 0:
            raise ValueError(f"{self.name}: there are no events after the selection, so none to load")
        if shuffle and self._files.labelled and self.schema.targets:
            warn_if_sorted(self._without_particles(targets=self.schema.targets), self.files, buffer_size)
        keep_pages()  # mixing frees and requests large blocks of memory all the time
        mixing = Mixing(self, shuffle, seed, buffer_size, num_workers, rank, num_ranks)
        if batch_size is not None and particles_per_batch is None and pairs_per_batch is None and not bucketed:
            return EventLoader(ByNumber(mixing if shuffle else mixing._replace(buffer_size=1), batch_size))
        limits = {
            "batch_size": batch_size,
            "particles_per_batch": particles_per_batch,
            "pairs_per_batch": pairs_per_batch,
        }
        return EventLoader(WithinLimits(mixing, {**limits, "bucketed": bucketed}))
