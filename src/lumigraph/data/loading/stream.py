"""Events from files of any size: read chunk by chunk, shuffled in a buffer, shared among ranks and processes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...events.checks import check_counts
from ...events.errors import EventError, SchemaError, located
from ...events.schema import EventSchema, cell_names
from ..columns.assembly import assemble, sources
from ..files.event_file import EventFile
from ..files.readers import expand_paths
from ..files.tables import Columns, not_a_column
from .batching import check_place
from .chunks import MOST_AT_ONCE, Chunk, OpenFiles, cut
from .dataset import EventDataset, Paths, check_fractions
from .loader import EventLoader
from .memory import keep_pages
from .mixing import ByNumber, Mixing, WithinLimits

__all__ = ["EventStream"]


class _Share(NamedTuple):
    """Which events a data set of a split has: those whose random number, a function of the seed, is in an interval."""

    low: float
    high: float
    seed: int


class Table(NamedTuple):
    """A chunk as its file holds it: all its events, and the data set of those that are selected."""

    path: str
    columns: Columns
    numbers: np.ndarray
    events: EventDataset


class EventStream:
    """Events of files that need not fit into memory.

    The events are read in chunks, only the columns that the schema needs. `loader` serves them shuffled as Batches for
    a training; `chunks` gives them in the order of the files; `read` loads them all.

    Parameters
    ----------
    paths
        One file or several, also with ``*`` and ``?``; a tree of a ROOT file as ``file.root:tree``.
    schema
        What to read.
    labelled
        Whether targets and weight are needed; without it they may be missing.
    chunk_size
        Most events that are read at once.

    Raises
    ------
    SchemaError
        If a file cannot be read or a column is missing; the message begins with the name of the file.

    Notes
    -----
    **Memory.** Chunks of ``chunk_size`` events, of which a shuffled loader holds two to three times ``buffer_size``,
    and more with worker processes.

    **Numbers.** Events are numbered over all files in their order, those that are not selected included; messages about
    an event name its number in its file.

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
        check_counts(chunk_size=chunk_size)
        self.schema, self.labelled, self.chunk_size = schema, labelled, chunk_size
        self.paths = expand_paths(paths)
        self.chunk_list: list[Chunk] = []
        self._firsts: list[int] = []  # number of the first event of each file
        #: columns of the files that hold no numbers, such as text
        self.without_numbers: list[str] = []
        self._columns: list[list[str]] = []
        self._share: _Share | None = None
        self._weights: Callable[[EventDataset], Any] | None = None
        self._check: Callable[[EventDataset], Any] | None = None
        self._files = OpenFiles(self.paths)
        first, unit = 0, -1
        for i, path in enumerate(self.paths):
            file = self._files[i]
            try:
                with located(path):
                    _refuse_unusable(schema, file, labelled)
                    columns = sources(schema, file.names, labelled=labelled)
            except SchemaError as error:
                if i:
                    error.add_note(f"{self.paths[0]} has all that the schema needs")
                raise
            others = (name for name, type_ in file.types.items() if type_ and name not in file.names)
            self.without_numbers = list(dict.fromkeys([*self.without_numbers, *others]))
            self._firsts.append(first)
            self._columns.append(columns or file.names[:1])
            if different := {*columns} ^ {*self._columns[0]} if columns else ():
                name = min(different)
                without, other = (self.paths[0], path) if name in columns else (path, self.paths[0])
                raise SchemaError(f"column {name!r} is missing, but {other} has it", column=name, file=without)
            for start, stop, place in cut(file.groups, chunk_size):
                unit += not (file.sequential and place)
                self.chunk_list.append(Chunk(i, start, stop, first + start, unit, place if file.sequential else 0))
            first += file.num_events
        self.chunk_list = self.chunk_list or [Chunk(0, 0, 0, 0, 0, 0)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(files={len(self.paths)}, events={len(self)})"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the events are read from."""
        return tuple(self.paths)

    @property
    def name(self) -> str:
        """The files, in words."""
        return self.paths[0] + (f" and {len(self.paths) - 1} more" if self.paths[1:] else "")

    def __len__(self) -> int:
        """Return the number of events that are selected; with a selection they are counted when first asked for."""
        return int(self.counts.sum())

    @cached_property
    def lengths(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Number and particles of each selected event, by chunk; found in one pass when first asked for."""
        schema = replace(self.schema, event_feats=(), cat_feats=(), targets=(), weight=None, ids=())
        parts = (self._of(schema).events_of(i) for i in range(len(self.chunk_list)))
        none = np.zeros(self.chunk_size, np.int64)
        return [(p.numbers, none[: len(p)] if p.ptr is None else p.ptr.diff().numpy()) for p in parts]

    @cached_property
    def counts(self) -> np.ndarray:
        """Selected events of each chunk."""
        if self.schema.event_selection:
            counting = self._without_particles()
            return np.array([len(counting.events_of(i)) for i in range(len(self.chunk_list))], dtype=np.int64)
        return np.array([self._in_share(chunk).sum() for chunk in self.chunk_list], dtype=np.int64)

    def _in_share(self, chunk: Chunk) -> np.ndarray:
        """Return which events of a chunk belong to this part of a split."""
        numbers = np.arange(chunk.first, chunk.first + chunk.stop - chunk.start)
        if self._share is None:
            return np.ones(len(numbers), dtype=bool)
        drawn = _uniform(numbers, self._share.seed)
        return (drawn >= self._share.low) & (drawn < self._share.high)

    def events_of(self, number: int) -> EventDataset:
        """Return the selected events of a chunk."""
        chunk = self.chunk_list[number]
        return self._events(chunk, self._files[chunk.file].read(self._columns[chunk.file], chunk.start, chunk.stop))

    def _events(self, chunk: Chunk, columns: Columns) -> EventDataset:
        """Return the selected events of a chunk from its columns."""
        with located(self.paths[chunk.file], events=chunk.start):
            events = EventDataset(assemble(columns, self.schema, labelled=self.labelled), self.schema)
        if self._share is not None:
            events = events.select(self._in_share(chunk)[events.numbers])
        in_file = events.numbers + chunk.start
        events.numbers = events.numbers + chunk.first
        with located(self.paths[chunk.file], events=in_file):
            if self._check is not None:
                self._check(events)
            return events if self._weights is None else events.with_weights(self._weights(events))

    def locating(self, part: EventDataset) -> AbstractContextManager[None]:
        """Let an error about an event of a part name its file, and its number in that."""
        return self.located(part.numbers)

    @contextmanager
    def located(self, numbers: np.ndarray) -> Iterator[None]:
        """Let an error about an event name its file: of events with these numbers, counted over all files."""
        try:
            yield
        except SchemaError as error:
            if error.file is None and len(numbers):
                event = error.event if isinstance(error, EventError) else None
                number = numbers[event or 0]
                file = int(np.searchsorted(self._firsts, number, "right")) - 1
                error.file = self.paths[file]
                if isinstance(error, EventError) and event is not None:
                    error.event = int(number) - self._firsts[file]
            raise

    def chunks(self, chunk_size: int | None = None) -> Iterator[EventDataset]:
        """Yield the selected events in the order of the files, in parts of ``chunk_size`` at most."""
        for number in range(len(self.chunk_list)):
            events = self.events_of(number)
            if len(events):
                yield from events.chunks(len(events) if chunk_size is None else chunk_size)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Table]:
        """Yield chunk by chunk what the files hold, beside the events that are made of it.

        Parameters
        ----------
        columns
            Columns to read as they are, of those that a file has; all that repeat no others if not given.
        """
        for chunk in self.chunk_list:
            file, needed = self._files[chunk.file], self._columns[chunk.file]
            asked = file.columns if columns is None else [name for name in columns if name in file.names]
            found = file.read(list(dict.fromkeys([*asked, *needed])), chunk.start, chunk.stop)
            events = self._events(chunk, {name: found[name] for name in needed})
            numbers = np.arange(chunk.first, chunk.first + chunk.stop - chunk.start)
            yield Table(file.path, {name: found[name] for name in asked}, numbers, events)

    def read(self) -> EventDataset:
        """Return all events as a data set in memory.

        Raises
        ------
        SchemaError
            If a file cannot be read, or an identifier has integers in one file and other numbers in another one.
        """
        parts = list(self.chunks()) or [self.events_of(0)]
        for part in parts:
            for name, ids in part.ids.items():
                first = parts[0].ids[name].dtype
                if {ids.dtype.kind, first.kind} & {*"iu"} and np.result_type(ids, first).kind not in "iu":
                    with self.locating(part):
                        raise SchemaError(
                            f"identifier {name!r} is {ids.dtype}, but {first} in {self.paths[0]}; together they would "
                            "lose digits, write them as one type of integers",
                            column=name,
                        )
        return EventDataset.concatenate(parts)

    def split(self, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int = 0) -> tuple["EventStream", ...]:
        """Split the events at random into disjoint parts, the same ones for the same seed.

        Each event goes where a random number sends it that follows from its own number and the seed. Every part reads
        all of the files; files of their own for each part are read faster.

        Parameters
        ----------
        fractions
            Share of each part, such as training, validation and test; they add up to 1 at most.
        seed
            Seed of the random numbers.

        Raises
        ------
        ValueError
            If the shares are not positive, or add up to more than 1.
        """
        check_fractions(fractions)
        if self._share is not None:
            raise ValueError("this is a part of a split already: split the whole into as many parts as you need")
        ends = [0.0, *np.cumsum(fractions).tolist()]
        ends[-1] = 1.0 if abs(ends[-1] - 1) < 1e-9 else ends[-1]
        return tuple(self._part(_Share(low, high, seed)) for low, high in pairwise(ends))

    def _part(self, share: _Share) -> "EventStream":
        part = copy(self)
        for counted in ("counts", "lengths"):
            part.__dict__.pop(counted, None)
        part._share = share
        return part

    def _of(self, schema: EventSchema) -> "EventStream":
        """Return the same events with fewer columns."""
        fewer = copy(self)
        fewer.schema, fewer._weights, fewer._check = schema, None, None
        names = [self._files[i].names for i in range(len(self.paths))]
        fewer._columns = [sources(schema, known) or list(known[:1]) for known in names]
        return fewer

    def _without_particles(self, **kept: Any) -> "EventStream":
        """Return the same events with some columns of the events only, where their selection needs no particles."""
        left_out: dict[str, Any] = {"event_feats": (), "cat_feats": (), "targets": (), "weight": None, "ids": ()}
        if not self.schema.event_selection:
            left_out |= {"vecs": (), "collections": (), "feats_per_vec": (), "object_selection": {}}
            left_out |= {"max_particles": None}
        return self._of(replace(self.schema, **{**left_out, **kept}))

    def weighted(self, weights: Callable[[EventDataset], Any]) -> "EventStream":
        """Return the same events with other weights, (B,): those that a function gives for the events of a chunk."""
        other = copy(self)
        other._weights = weights
        return other

    def checked(self, check: Callable[[EventDataset], Any]) -> "EventStream":
        """Return the same events, which a function looks at as they are read; its errors then name file and event."""
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
        """Return the cardinality of each category: one more than its largest code."""
        parts = self._without_particles(cat_feats=self.schema.cat_feats).chunks()
        sizes = [part.cat_szs() for part in parts] or [[1] * len(self.schema.cat_feats)]
        return [max(column) for column in zip(*sizes, strict=True)]

    def _warn_if_sorted(self, buffer_size: int) -> None:
        """Warn of events that can only be read in their order, but are sorted by their target: none are mixed then."""
        units: dict[int, list[int]] = {}
        for number, chunk in enumerate(self.chunk_list):
            units.setdefault(chunk.unit, []).append(number)
        if len(units) >= MOST_AT_ONCE or not (self.labelled and self.schema.targets):
            return
        labels = self._without_particles(targets=self.schema.targets)
        for own in units.values():
            if len(own) <= buffer_size:
                continue
            first, last = (np.unique(np.asarray(labels.events_of(number).y), axis=0) for number in (own[0], own[-1]))
            if max(len(first), len(last)) <= 10 and not {*map(tuple, first)} & {*map(tuple, last)}:
                chunk, end = self.chunk_list[own[0]], self.chunk_list[own[-1]].stop
                warnings.warn(
                    f"{self.paths[chunk.file]}: the events {chunk.start} to {end} can only be read in their order, and "
                    f"are sorted by {', '.join(self.schema.targets)}: batches will hold one class each. Write the file "
                    "anew in smaller parts (row_group_size=20000 in Parquet), shuffle its events once, or load it with "
                    "EventDataset.from_file",
                    stacklevel=3,
                )

    def loader(
        self,
        batch_size: int | None = None,
        *,
        max_particles: int | None = None,
        max_pairs: int | None = None,
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
        batch_size, max_particles, max_pairs
            Most events, particles and ordered pairs of particles of a batch; at least one of them. With
            ``batch_size`` alone the last batch of a rank may have fewer events, or one more.
        bucketed
            Whether events of nearly the same multiplicity share a batch.
        shuffle
            Whether to shuffle: chunks come in random order, and the events of ``buffer_size`` chunks at a time are
            mixed; anew in each epoch, and the same for the same seed, epoch and ranks.
        seed
            Seed of the shuffle.
        buffer_size
            Chunks whose events are mixed.
        num_workers
            Processes that read and mix; the order of the events does not depend on it.
        rank, num_ranks
            Which share of the events to load, out of how many; by default that of this process in a distributed
            training. Each event is in exactly one share, and the shares have equally many batches. With
            ``batch_size`` alone each rank reads its own chunks, and the shares differ by one event at most.

        Raises
        ------
        ValueError
            If there are no events or too few for the ranks, or a limit is missing, not positive or too small.

        Notes
        -----
        **Limits** other than ``batch_size`` need the particles of each event: they are counted in one pass when the
        loader is made. The same chunks are then mixed in every epoch, in another order each time, and every rank reads
        all of them.

        **Memory.** Most batches are views of the events that were mixed together, all of which stay as long as one of
        their batches does; of a batch that is kept or saved take ``batch.clone()``. Pages of memory are kept, see
        `lumigraph.keep_pages`.
        """
        check_counts(buffer_size=buffer_size)
        check_counts(0, seed=seed, num_workers=num_workers)
        check_place(rank, num_ranks)
        if len(self) == 0:
            raise ValueError(f"{self.name}: there are no events that are selected, so there is nothing to load")
        if shuffle:
            self._warn_if_sorted(buffer_size)
        keep_pages()  # what is mixed is large, and its memory is freed and asked for again all the time
        mixing = Mixing(self, shuffle, seed, buffer_size, num_workers, rank, num_ranks)
        if batch_size is not None and max_particles is None and max_pairs is None and not bucketed:
            return EventLoader(ByNumber(mixing if shuffle else mixing._replace(buffer_size=1), batch_size))
        limits = {"batch_size": batch_size, "max_particles": max_particles, "max_pairs": max_pairs}
        return EventLoader(WithinLimits(mixing, {**limits, "bucketed": bucketed}))


def _refuse_unusable(schema: EventSchema, file: EventFile, labelled: bool) -> None:
    """Raise a SchemaError if a file has a column that a schema names, but not as numbers."""
    labels = [*schema.targets, *([schema.weight] if schema.weight else [])] if labelled else []
    particles = cell_names(schema.objects, schema.feats_per_vec)
    for name in (*particles, *schema.event_feats, *schema.cat_feats, *labels, *schema.ids):
        if name in file.types and name not in file.names:
            raise not_a_column(name, file.types[name])


def _uniform(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return a random number in [0, 1) for each event number: a hash of it and the seed."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        z *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
