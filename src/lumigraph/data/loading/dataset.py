"""Events in memory: indexed, split, measured, and served as Batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from ...events.batches import make_batch
from ...events.errors import SchemaError, located, near
from ...events.names import Names
from ...events.particles import Particles
from ...events.schema import EventSchema
from ..columns.assembly import Arrays, assemble
from ..columns.jagged import offsets_of
from ..files.memory_tables import memory_columns
from .batching import EventBatches
from .chunked_files import ChunkedFiles, Paths
from .event_rows import EventRows
from .loader import EventLoader, made_by_workers
from .shares import check_fractions

__all__ = ["EventDataset"]

Indices = Sequence[int] | np.ndarray | Tensor


class EventDataset(torch.utils.data.Dataset):
    """Events of a table in memory.

    Parameters
    ----------
    arrays
        The columns of the schema, see `lumigraph.data.columns.assembly.assemble`.
    schema
        The meaning of the columns.

    Examples
    --------
    >>> import awkward as ak
    >>> columns = {"Jet_px": ak.Array([[1.0, 2.0], [], [3.0]]), "label": ak.Array([0, 1, 0])}
    >>> schema = EventSchema(collections=("Jet",), feats_per_vec=("px",), targets=("label",))
    >>> events = EventDataset.from_columns(columns, schema)
    >>> events
    EventDataset(events=3, particles=3)
    >>> events.batch([2, 1]).ptr
    tensor([0, 1, 1])
    """

    _rows: EventRows | None = None

    def __init__(self, arrays: Arrays, schema: EventSchema) -> None:
        self.schema = schema

        def tensor(a: np.ndarray | None) -> Tensor | None:
            return None if a is None else torch.from_numpy(np.ascontiguousarray(a))

        self.x, self.slot = tensor(arrays.x), tensor(arrays.slot)
        self.ptr = tensor(arrays.offsets)
        self.u, self.cat, self.y = tensor(arrays.u), tensor(arrays.cat), tensor(arrays.y)
        self.weight = tensor(arrays.weight)
        self.ids = arrays.ids
        #: number of each event in its table or files
        self.numbers = arrays.numbers

    @classmethod
    def from_columns(cls, columns: Any, schema: EventSchema, *, labelled: bool = True) -> "EventDataset":
        """Take events from named columns in memory.

        Parameters
        ----------
        columns
            A mapping of names to awkward or NumPy arrays, a DataFrame, an awkward array of records, a NumPy structured
            array or a pyarrow Table. A column holds a number or a list of numbers per event.
        schema
            The columns to take.
        labelled
            Whether targets and weight are needed; otherwise they may be missing.

        Raises
        ------
        SchemaError
            If a column is missing, or holds invalid values.
        """
        return cls(assemble(memory_columns(columns), schema, labelled=labelled), schema)

    @classmethod
    def from_file(cls, path: Paths, schema: EventSchema, *, labelled: bool = True) -> "EventDataset":
        """Read events from ROOT, Parquet, HDF5 or CSV files, only the columns that the schema needs.

        Parameters
        ----------
        path
            One file or several, also with ``*`` and ``?``; a tree of a ROOT file as ``file.root:tree``.
        schema
            The columns to read.
        labelled
            Whether targets and weight are needed; otherwise they may be missing.

        Raises
        ------
        SchemaError
            If a file cannot be read, or a column is missing or holds invalid values; the message begins with the
            name of the file.
        """
        files = ChunkedFiles(path, schema, labelled=labelled)
        return cls.gathered((cls(files.arrays(chunk), schema) for chunk in files.chunks), files)

    @classmethod
    def gathered(cls, parts: Iterable["EventDataset"], files: ChunkedFiles) -> "EventDataset":
        """Return parts of events read from files as one data set."""
        found = list(parts)
        kept = [part for part in found if len(part)] or found[:1]
        for part in kept:
            for name, ids in part.ids.items():
                first = kept[0].ids[name].dtype
                if {ids.dtype.kind, first.kind} & {*"iu"} and np.result_type(ids, first).kind not in "iu":
                    with files.located(part.numbers):
                        raise SchemaError(
                            f"identifier {name!r} must be {first}, as in {files.paths[0]}, got {ids.dtype}: combined "
                            "they would lose digits, write them as one integer type",
                            column=name,
                        )
        return cls.concatenate(kept)

    @classmethod
    def concatenate(cls, parts: Sequence["EventDataset"]) -> "EventDataset":
        """Concatenate the events of data sets of one schema."""
        if len(parts) == 1:
            return parts[0]
        whole = object.__new__(cls)
        whole.schema = parts[0].schema
        for name in ("x", "slot", "u", "cat", "y", "weight"):
            values = [getattr(part, name) for part in parts]
            setattr(whole, name, None if values[0] is None else torch.from_numpy(np.concatenate(values)))
        lengths = [np.diff(part.ptr.numpy()) for part in parts if part.ptr is not None]
        whole.ptr = torch.from_numpy(offsets_of(np.concatenate(lengths))) if lengths else None
        whole.ids = {name: np.concatenate([part.ids[name] for part in parts]) for name in parts[0].ids}
        whole.numbers = np.concatenate([part.numbers for part in parts])
        return whole

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        particles = "" if self.x is None else f", particles={len(self.x)}"
        return f"{type(self).__name__}(events={len(self)}{particles})"

    def __getitem__(self, index: int | np.integer | slice | Indices) -> "Data | EventDataset":
        """Return one event as the Data of a graph, or a data set for a slice, numbers or a mask, see `select`."""
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        if isinstance(index, int | np.integer):
            return self.batch([int(index)])[0]
        return self.select(index)

    def batch(self, indices: Indices | None = None) -> Batch:
        """Return a Batch of the events with these numbers, in their order, or of a mask; by default of all events."""
        part = self if indices is None else self.select(indices)
        particles = None
        if part.x is not None and part.slot is not None and part.ptr is not None:
            particles = Particles(part.x, part.slot, part.ptr)
        names = Names.of_schema(self.schema)
        return make_batch(particles, names=names, u=part.u, cat=part.cat, y=part.y, weight=part.weight)

    def select(self, indices: Indices) -> "EventDataset":
        """Return a data set of the events with these numbers, in their order, or where a mask is True.

        Raises
        ------
        TypeError, IndexError
            If the indices are neither numbers of existing events, nor a mask with one entry per event.
        """
        numbers = np.asarray(indices.numpy(force=True) if isinstance(indices, Tensor) else indices)
        mask, size = numbers.dtype == bool, len(self)
        if numbers.ndim != 1 or (len(numbers) != size if mask else numbers.dtype.kind not in "iu" and len(numbers)):
            raise TypeError(f"indices must be numbers or a mask of {size} events, got {numbers.dtype} {numbers.shape}")
        chosen = numbers.nonzero()[0] if mask else numbers.astype(np.int64, order="C")
        if (beyond := (chosen < -size) | (chosen >= size)).any():
            raise IndexError(f"indices must be within the {size} events, got {chosen[beyond][0]}")
        chosen = np.where(chosen < 0, chosen + size, chosen)
        part = self._events(chosen)
        if self.x is not None and self.slot is not None and self.ptr is not None:
            if self._rows is None or self._rows.ptr is not self.ptr:
                self._rows = EventRows(self.ptr)
            part.ptr = torch.from_numpy(offsets_of(np.diff(self.ptr.numpy())[chosen]))
            part.x, part.slot = self._rows.take(self.x, chosen), self._rows.take(self.slot, chosen)
        return part

    def between(self, start: int, stop: int) -> "EventDataset":
        """Return the events ``start`` to ``stop``, in shared memory."""
        part = self._events(slice(start, stop))
        if self.x is not None and self.slot is not None and self.ptr is not None:
            ptr = self.ptr[start : stop + 1]
            rows = slice(int(ptr[0]), int(ptr[-1]))
            part.x, part.slot, part.ptr = self.x[rows], self.slot[rows], ptr - ptr[0]
        return part

    def _events(self, chosen: slice | np.ndarray) -> "EventDataset":
        """Return some of the events, without their particles."""
        part = object.__new__(type(self))
        part.schema = self.schema
        part.x = part.slot = part.ptr = None
        for name in ("u", "cat", "y", "weight"):
            value = getattr(self, name)
            # NumPy, as torch's threads wait for one another unless each has a core
            setattr(part, name, None if value is None else torch.from_numpy(value.numpy()[chosen]))
        part.ids = {name: values[chosen] for name, values in self.ids.items()}
        part.numbers = self.numbers[chosen]
        return part

    def chunks(self, chunk_size: int | None = None) -> Iterator["EventDataset"]:
        """Yield the events in order, at most ``chunk_size`` at a time, or all at once."""
        chunk_size = max(1, len(self)) if chunk_size is None else chunk_size
        for start in range(0, len(self), chunk_size):
            yield self.between(start, min(start + chunk_size, len(self)))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the events are read from: none, as they are in memory."""
        return ()

    @property
    def name(self) -> None:
        """The files, as text for messages: none."""

    def read(self) -> "EventDataset":
        """Return these events, which are in memory already."""
        return self

    def locating(self, part: "EventDataset") -> AbstractContextManager[None]:
        """Let an error about an event of a part name its number in its table."""
        return located(events=part.numbers)

    def checked(self, check: Callable[["EventDataset"], Any]) -> "EventDataset":
        """Return these events, checked by a function."""
        with self.locating(self):
            check(self)
        return self

    def split(self, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int = 0) -> tuple["EventDataset", ...]:
        """Split the events at random into disjoint parts, the same ones for the same seed.

        Parameters
        ----------
        fractions
            Fraction of each part, such as training, validation and test; their sum is at most 1.
        seed
            Seed of the shuffle.

        Raises
        ------
        ValueError
            If the fractions are not positive, add up to more than 1, or leave a part without events.

        Examples
        --------
        >>> schema = EventSchema(event_feats=("ht",))
        >>> [len(p) for p in EventDataset.from_columns({"ht": np.arange(10.0)}, schema).split((0.5, 0.3, 0.2))]
        [5, 3, 2]
        """
        check_fractions(fractions)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        ends = [0, *(round(float(f) * len(self)) for f in np.cumsum(fractions))]
        parts = [order[a:b].sort().values for a, b in pairwise(ends)]
        if any(len(part) == 0 for part in parts):
            raise ValueError(f"{len(self)} events cannot be split into {list(fractions)} without an empty part")
        return tuple(self.select(part) for part in parts)

    def loader(
        self,
        batch_size: int | None = None,
        *,
        particles_per_batch: int | None = None,
        pairs_per_batch: int | None = None,
        bucketed: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        weights: np.ndarray | Tensor | None = None,
        num_workers: int = 0,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> EventLoader:
        """Return a loader of ready Batches.

        Parameters
        ----------
        batch_size, particles_per_batch, pairs_per_batch
            Maximum numbers of events, particles and ordered pairs of particles in a batch; give at least one.
        bucketed
            Whether events of nearly the same multiplicity share a batch.
        shuffle
            Whether to shuffle the events in each epoch: the order depends on seed and epoch alone.
        seed
            Seed of the shuffle.
        weights
            Draw events with these weights, (B,), with replacement; see `balanced_weights`.
        num_workers
            Processes that make batches; 0 makes them in this process, which is best for events in memory.
        rank, num_ranks
            The share of the events to load, and the number of shares; by default those of this process in a
            distributed training. The shares are disjoint, have equally many batches and together hold all events;
            see `EventBatches`.

        Raises
        ------
        ValueError
            If there are no events, or the limits are missing, not positive or too small for an event.
        """
        lengths: Any = len(self) if self.ptr is None else self.ptr.diff()
        with self.locating(self):
            batches = EventBatches(
                lengths, batch_size=batch_size, particles_per_batch=particles_per_batch,
                pairs_per_batch=pairs_per_batch, bucketed=bucketed, shuffle=shuffle, seed=seed, weights=weights,
                rank=rank, num_ranks=num_ranks,
            )  # fmt: skip
        return EventLoader(_InMemory(self, batches, num_workers))

    def moments(self, field: str) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each column of ``x``, ``u`` or ``y``, over these events.

        Raises
        ------
        SchemaError
            If the data set does not have this field.
        """
        fields = {"x": self.x, "u": self.u, "y": self.y}
        value = fields.get(field)
        if value is None:
            raise SchemaError(
                f"the data set has no field {field!r}: {near(field, [k for k, v in fields.items() if v is not None])}"
            )
        if len(value) == 0:
            return torch.zeros(value.size(1)), torch.ones(value.size(1))
        value = value.double()
        return value.mean(0).float(), value.std(0, correction=0).float()

    def weighted(self, weights: Callable[["EventDataset"], Any]) -> "EventDataset":
        """Return the same events with the weights, (B,), that a function returns for them."""
        with self.locating(self):
            return self.with_weights(weights(self))

    def with_weights(self, weights: Any) -> "EventDataset":
        """Return the same events with these weights, (B,)."""
        other = copy(self)
        other.weight = torch.as_tensor(np.asarray(weights), dtype=torch.float32)
        if other.weight.shape != (len(self),):
            raise ValueError(f"weights must be {len(self)} numbers, got shape {tuple(other.weight.shape)}")
        return other

    def mean_weight(self) -> float:
        """Return the mean weight of the events, 1 without weights."""
        return 1.0 if self.weight is None else float(self.weight.double().mean())

    def cat_szs(self) -> list[int]:
        """Return the cardinality of each category, its largest code plus one."""
        return (
            [] if self.cat is None else [int(c) + 1 for c in self.cat.amax(0)] if len(self) else [1] * self.cat.size(1)
        )


class _InMemory:
    """The batches of an epoch of events in memory."""

    def __init__(self, events: EventDataset, batches: EventBatches, num_workers: int) -> None:
        self.events, self.event_batches, self.num_workers = events, batches, num_workers

    def num_batches(self) -> int:
        return len(self.event_batches)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        numbers: Any = self.event_batches.batches(epoch)[start:]
        return made_by_workers(self.events.batch, numbers, self.num_workers)
