"""Numbers of events, with or without lists: the form in which columns are computed, selected and written."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...events.errors import SchemaError

__all__ = ["NUMBERS", "Jagged", "is_plain", "offsets_of", "rows_of", "sharing"]

#: names of the types of numbers
NUMBERS = {"bool", "float16", "float32", "float64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


@dataclass(frozen=True, eq=False)
class Jagged:
    """Numbers of B events: one number per event, or one list per event.

    Parameters
    ----------
    values
        The numbers of all events, (N,), or rows of numbers, (N, ...).
    offsets
        The beginnings of the events' lists, and the end of the last one, (B+1,), from 0 to N. None: one number per
        event.

    Examples
    --------
    >>> import awkward as ak
    >>> jets = Jagged.of("Jet_px", ak.Array([[1.0, 2.0, 3.0], [], [4.0]]))
    >>> jets.lengths, jets.event
    (array([3, 0, 1]), array([0, 0, 0, 2]))
    >>> jets.select(np.array([2, 0])).to_awkward().to_list()
    [[4.0], [1.0, 2.0, 3.0]]
    """

    values: np.ndarray
    offsets: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, column: Any) -> "Jagged":
        """Return the numbers of a column (an awkward or NumPy array, or a list), missing ones as NaN.

        Raises
        ------
        SchemaError
            If the column holds something other than a number or a list of numbers per event.
        """
        import awkward as ak

        if isinstance(column, cls):
            return column
        array: Any = ak.Array(list(column)) if isinstance(column, list | tuple) else column
        values: Any = np.empty(0, object)
        offsets = None
        if not isinstance(array, ak.Array):
            values = array if np.ma.isMaskedArray(array) else np.asarray(array)
            if values.ndim == 2:
                values, offsets = values.ravel(), np.arange(len(values) + 1) * values.shape[1]
        elif array.ndim == 2 and is_plain(array.layout):  # fast path for the usual case
            offsets = array.layout.offsets.data
            values = array.layout.content.data[offsets[0] : offsets[-1]]
            offsets = (offsets - offsets[0] if offsets[0] else offsets).astype(np.int64, copy=False)
        else:
            if array.ndim == 2:
                offsets = offsets_of(ak.to_numpy(ak.fill_none(ak.num(array), 0)))
                array = ak.flatten(array)
            with suppress(TypeError, ValueError):  # lists of lists, numbers mixed with text
                values = ak.to_numpy(array, allow_missing=True)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            found = array.type if isinstance(array, ak.Array) else f"{values.ndim} axes of {values.dtype}"
            raise SchemaError(
                f"column {name!r} must hold a number or a list of numbers per event, got {found}", column=name
            )
        if np.ma.is_masked(values):
            values = values.astype(np.promote_types(values.dtype, np.float32)).filled(np.nan)
        return cls(np.asarray(values), offsets)

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> "Jagged":
        """Return lists of these lengths, (B,)."""
        return cls(values, offsets_of(lengths))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, present: np.ndarray) -> "Jagged":
        """Return the present cells of a matrix (B, slots) as lists."""
        return cls.from_lengths(matrix[present], present.sum(axis=1))

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The count of numbers of each event, (B,)."""
        return np.ones(len(self.values), np.int64) if self.offsets is None else np.diff(self.offsets)

    @property
    def event(self) -> np.ndarray:
        """The event of each number, (N,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def floats(self) -> np.ndarray:
        """The numbers, as float64 unless they are float32."""
        return self.values if self.values.dtype == np.float32 else self.values.astype(np.float64, copy=False)

    def has_lists_of(self, other: "Jagged") -> bool:
        """Tell whether each event has as many numbers in both."""
        if self.offsets is None or other.offsets is None:
            return self.offsets is other.offsets and len(self) == len(other)
        return self.offsets is other.offsets or np.array_equal(self.offsets, other.offsets)

    def between(self, start: int, stop: int) -> "Jagged":
        """Return the events ``start`` to ``stop``, without copying their numbers."""
        if self.offsets is None:
            return Jagged(self.values[start:stop])
        offsets = self.offsets[start : stop + 1]
        return Jagged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def select(self, events: np.ndarray) -> "Jagged":
        """Return the events with these indices, in their order."""
        if self.offsets is None:
            return Jagged(self.values[events])
        rows, offsets = rows_of(self.offsets[:-1][events], self.lengths[events])
        return Jagged(self.values[rows], offsets)

    def keep(self, wanted: np.ndarray) -> "Jagged":
        """Return the numbers for which a mask (N,) is true, in the lists of their events."""
        kept = offsets_of(wanted)
        return Jagged(self.values[wanted], kept if self.offsets is None else kept[self.offsets])

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return lists as a matrix (B, slots) of one slot or more, and a mask of its present cells."""
        lengths = self.lengths
        present = np.arange(max(lengths.max(initial=0), 1)) < lengths[:, None]
        matrix = np.full(present.shape, np.nan if self.values.dtype.kind == "f" else 0, dtype=self.values.dtype)
        matrix[present] = self.values
        return matrix, present

    def to_awkward(self) -> Any:
        """Return an awkward array over the same memory."""
        import awkward as ak

        numbers = ak.contents.NumpyArray(self.values)
        if self.offsets is None:
            return ak.Array(numbers)
        index = ak.index.Index32 if self.offsets.dtype == np.int32 else ak.index.Index64
        return ak.Array(ak.contents.ListOffsetArray(index(self.offsets), numbers))


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return the beginnings of lists of these lengths (B,), and the end of the last one, (B+1,).

    Examples
    --------
    >>> offsets_of(np.array([2, 0, 1]))
    array([0, 2, 2, 3])
    """
    offsets: np.ndarray = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def rows_of(begins: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of ``lengths`` rows from each beginning on, and their offsets as lists.

    Examples
    --------
    >>> rows_of(np.array([5, 0]), np.array([2, 1]))
    (array([5, 6, 0]), array([0, 2, 3]))
    """
    offsets = offsets_of(lengths)
    return np.arange(int(offsets[-1])) + np.repeat(begins - offsets[:-1], lengths), offsets


def sharing(columns: Mapping[str, Jagged]) -> dict[str, Jagged]:
    """Return the columns, those with lists of the same lengths sharing their offsets."""
    known: list[Jagged] = []
    for column in columns.values():
        if not any(map(column.has_lists_of, known)):
            known.append(column)
    return {
        name: Jagged(column.values, next(other.offsets for other in known if column.has_lists_of(other)))
        for name, column in columns.items()
    }


def is_plain(layout: Any) -> bool:
    """Tell whether numbers or lists are valid and have the simplest layout, which has a fast path."""
    if layout.is_list and not layout.is_regular and hasattr(layout, "offsets"):
        offsets, content = layout.offsets.data, layout.content
        if layout.parameters or offsets[0] < 0 or offsets[-1] > content.length or np.any(offsets[1:] < offsets[:-1]):
            return False
        layout = content
    return bool(
        layout.is_numpy and layout.data.ndim == 1 and not layout.parameters
        and layout.dtype.name in NUMBERS and layout.dtype.name != "bool"
    )  # fmt: skip
