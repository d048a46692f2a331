"""Read event files into named columns: ROOT, Parquet, HDF5 and CSV give the same `dict` of awkward arrays.

A column holds one entry per event: a number, or a list of numbers (*jagged*, one number per particle). The columns
``Jet_px`` and ``Jet_py`` belong to the collection ``Jet`` (everything before the last ``_``), whose lists have the
same lengths in an event. Formats without lists keep them padded: the slots of an event that hold no particle are
found per collection, and dropped.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from ..schema import SchemaError, near
from .read_arrow import PARQUET
from .read_csv import CSV
from .read_hdf5 import HDF5
from .read_root import ROOT
from .tables import Columns, Format, Source, checked_columns, first_line, not_a_column

__all__ = ["EventFile", "column_names", "expand_paths", "format_of", "open_events", "read_columns"]

_FORMATS = {
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".root": ROOT,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".csv": CSV,
    ".csv.gz": CSV,
}


def column_names(path: str | os.PathLike[str]) -> list[str]:
    """List the columns that can be read from a file, from its metadata alone (CSV has none: it is read through).

    Parameters
    ----------
    path
        As in :func:`read_columns`.

    Returns
    -------
    list of str
        The numeric columns. A CSV file with numbered columns lists ``Jet0_px``, ``Jet1_px`` and also ``Jet_px``.

    Raises
    ------
    SchemaError
        If the file is not what its suffix says, or is empty, truncated or corrupt.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     column_names(write_columns(f"{folder}/events.csv", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]}))
    ['ht', 'Jet0_px', 'Jet1_px', 'Jet_px']
    """
    with open_events(path) as file:
        return file.names


def read_columns(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Columns:
    """Read columns of a file, each an awkward array with one entry per event.

    Parameters
    ----------
    path
        ``.root``, ``.parquet``, ``.pq``, ``.h5``, ``.hdf5``, ``.csv`` or ``.csv.gz``; a tree of a ROOT file is
        given as ``file.root:Tree`` (default: the only one, or ``Events``).
    columns
        Names, in the order wanted. None: all numeric columns, each once: without the flat columns that make up
        jagged ones in CSV, and without the counters that :func:`~lumigraph.data.writers.write_columns` added.

    Returns
    -------
    dict of ak.Array
        Arrays of type ``n * number`` or ``n * var * number``, in the number type of the file; booleans as int8.

    Raises
    ------
    SchemaError
        If the file is empty, truncated, corrupt or not what its suffix says; if a column is missing, is not
        numeric, is nested twice or has nulls where there is no NaN; if columns do not have the same number of
        events, or the lists of a collection not the same lengths.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    **Padded columns.** In HDF5 a dataset of shape (events, slots) is jagged. With a counter (``nJet`` for the
    collection ``Jet``) the first so many slots are particles; without one, a slot is absent where every
    floating-point column of its collection is NaN. In CSV the columns ``Jet0_px, Jet1_px, ...``, numbered from 0,
    make up ``Jet_px``, and a slot is absent where all cells of the object are empty or NaN. A NaN in a part of a
    particle stays.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.root", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     read_columns(f"{path}:Events", ["Jet_px", "nJet"])
    {'Jet_px': <Array [[20, 30], []] type='2 * var * float64'>, 'nJet': <Array [2, 0] type='2 * int32'>}
    """
    if isinstance(columns, str):
        raise TypeError(f"columns must be a sequence of names, got the string {columns!r}; write [{columns!r}]")
    with open_events(path) as file:
        return file.read_all(columns)


def format_of(path: str) -> tuple[str, str]:
    """Return the suffix of a path and the format that it stands for."""
    for suffix, format_ in sorted(_FORMATS.items(), key=lambda item: -len(item[0])):
        if path.lower().endswith(suffix):
            return suffix, format_.kind
    raise SchemaError(f"{path}: the suffix must say the format, one of {', '.join(_FORMATS)}")


def expand_paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """List the files that paths and patterns name, in the order given, sorted within a pattern.

    Parameters
    ----------
    paths
        One or several; ``*``, ``?``, ``[...]`` and ``**`` match as in a shell, also before ``:Tree``. What exists as
        it is written is no pattern.

    Raises
    ------
    SchemaError
        If nothing is given, a pattern matches nothing, or a file is named twice.

    Examples
    --------
    >>> expand_paths("events.root:Tree")
    ['events.root:Tree']
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise SchemaError("no file is given; give one path or pattern, or several")
    found: dict[str, None] = {}
    for path in map(os.fspath, given):
        name, tree = _split(path)
        matches = [name]
        if glob.has_magic(name) and not os.path.exists(name):
            matches = sorted(match for match in glob.glob(name, recursive=True) if not os.path.isdir(match))
            if not matches:
                raise SchemaError(f"{path}: no file matches; check the folder and the pattern")
        for match in matches:
            full = f"{match}:{tree}" if tree else match
            if full in found:
                raise SchemaError(f"{full} is named twice; its events would be, too")
            found[full] = None
    return list(found)


def open_events(path: str | os.PathLike[str]) -> "EventFile":
    """Open a file of events, to read it part by part.

    Parameters
    ----------
    path
        As in :func:`read_columns`.

    Raises
    ------
    SchemaError, FileNotFoundError
        As in :func:`read_columns`.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.writers import write_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.parquet", {"ht": [5.0, 6.0, 7.0], "Jet_px": [[2.0, 3.0], [], [4.0]]})
    ...     with open_events(path) as file:
    ...         print(file.num_events, file.names, file.groups)
    ...         print(file.read(["Jet_px"], 1, 3))
    3 ['ht', 'Jet_px'] [0 3]
    {'Jet_px': <Array [[], [4]] type='2 * var * float64'>}
    """
    return EventFile(path)


class EventFile:
    """An open file of events, made by :func:`open_events`: ranges of events of the columns asked for.

    Attributes
    ----------
    path : str
        The file, with its tree if one was given.
    names : list of str
        The numeric columns, as :func:`column_names` gives them.
    types : dict of str
        The type of each column, numeric or not, in the file's own words.
    num_events : int
        The number of events.
    groups : ndarray
        The events at which the file's own parts begin, from 0, and at the end ``num_events`` (int64): row groups,
        clusters, rows of chunks, folds, blocks of lines. Whole groups are read fastest.
    sequential : bool
        Whether a part of a group can only be read from the beginning of the group on.

    Notes
    -----
    **Ranges** may be read in any order. Formats that can only be decoded from the beginning of a group on (Parquet,
    CSV, baskets of ROOT) go on where a range ended if the next one begins there, with the same columns; up to 8 such
    places are kept, so that 8 groups can be read by turns.

    **Processes.** The file may be pickled, or used in a process that was forked: it is opened again there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._name, self._tree = _split(self.path)
        self._format = _FORMATS[format_of(self._name)[0]]
        self._closed = False
        self._source: Source | None = None
        source = self._opened()
        catalogue = source.catalogue
        self.names = [name for name, column in catalogue.items() if column.numeric]
        self.types = {name: str(column.type) for name, column in catalogue.items()}
        self.num_events = int(source.num_events)
        self.groups = source.groups
        self.sequential = self._format.kind in ("Parquet", "CSV", "ROOT")

    def read(self, names: Sequence[str], start: int = 0, stop: int | None = None) -> Columns:
        """Read events ``start`` to ``stop`` (default: the end) of columns.

        Parameters
        ----------
        names
            The columns, in the order wanted.
        start, stop
            The first event, and the one behind the last.

        Returns
        -------
        dict of ak.Array
            As :func:`read_columns` gives, apart from the range.

        Raises
        ------
        SchemaError
            As in :func:`read_columns`; the events in messages are numbered as in the file.
        ValueError
            If the file has no such events, or has been closed.
        """
        stop = self.num_events if stop is None else stop
        if not 0 <= start <= stop <= self.num_events:
            raise ValueError(f"{self.path} has {self.num_events} events; got the range {start} to {stop}")
        return self._read(names, start, stop)

    def read_all(self, names: Sequence[str] | None = None) -> Columns:
        """Read columns as :func:`read_columns` does."""
        catalogue = self._opened().catalogue
        if names is None:
            names = [name for name, column in catalogue.items() if column.numeric and not column.implied]
        return self._read(names, 0, None)

    def close(self) -> None:
        """Close the file; closing it twice does no harm."""
        source, self._source, self._closed = self._source, None, True
        if source is not None:
            source.close()

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_source": None}

    def __repr__(self) -> str:
        return f"EventFile({self.path!r}, {self.num_events} events, {len(self.names)} columns)"

    def _read(self, names: Sequence[str], start: int, stop: int | None) -> Columns:
        catalogue = self._opened().catalogue
        with _explained(self._name, self._format):
            for name in names:
                if name not in catalogue:
                    raise SchemaError(f"there is no column {name!r}; {near(name, catalogue)}")
                if not catalogue[name].numeric:
                    raise not_a_column(name, catalogue[name].type)
            if not names:
                return {}
            read = self._opened().read(list(dict.fromkeys(names)), start, stop)
            return checked_columns({name: read[name] for name in names}, start)

    def _opened(self) -> Source:
        """Return the file as this process has opened it."""
        if self._closed:
            raise ValueError(f"{self.path} has been closed; open it again")
        if self._source is not None and self._process != os.getpid():
            with suppress(Exception):  # what it shares with the process that this one was forked from
                self._source.close()
            self._source = None
        if self._source is None:
            self._process = os.getpid()
            self._source = _opened(self._name, self._tree, self._format)
        return self._source


def _split(path: str) -> tuple[str, str]:
    """Split ``file.root:Tree``."""
    if (parts := re.fullmatch(r"(.+\.root):(.+)", path, re.IGNORECASE)) and not os.path.exists(path):
        return parts[1], parts[2]
    return path, ""


def _opened(name: str, tree: str, format_: Format) -> Source:
    if os.path.isdir(name):
        raise SchemaError(f"{name} is a directory; give one {format_.kind} file")
    with open(name, "rb") as file:
        if not file.read(1):
            raise SchemaError(f"{name} is empty (0 bytes); write the {format_.kind} file again")
    with _explained(name, format_):
        return format_.open(name, tree)


@contextmanager
def _explained(name: str, format_: Format) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a SchemaError that names it."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error.__cause__
    except Exception as error:  # a corrupt file can make the libraries raise anything
        with open(name, "rb") as file:
            head = file.read(len(format_.magic))
        if head != format_.magic and not isinstance(error, MemoryError):
            raise SchemaError(f"{name} is no {format_.kind} file, it begins with {head!r}; name it as it is") from error
        raise SchemaError(
            f"{name} cannot be read as {format_.kind}: it is truncated or corrupt, get or write it again "
            f"({type(error).__name__}: {first_line(str(error))})"
        ) from error
