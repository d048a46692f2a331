"""Open a file of events of any format, and read ranges of its events."""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from ...events.errors import SchemaError, located, near
from .layouts import Constituents, joined, with_constituents
from .read_arrow import PARQUET
from .read_csv import CSV
from .read_hdf5 import HDF5
from .read_root import ROOT
from .tables import Catalogue, Columns, Format, Source, checked_columns, first_line, not_a_column

__all__ = ["EventFile", "format_of", "split_path"]

_FORMATS = {
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".root": ROOT,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".csv": CSV,
    ".csv.gz": CSV,
}


def format_of(path: str) -> tuple[str, str]:
    """Return the suffix of a path and its format."""
    for suffix, format_ in sorted(_FORMATS.items(), key=lambda item: -len(item[0])):
        if path.lower().endswith(suffix):
            return suffix, format_.kind
    raise SchemaError(f"the suffix must be one of {', '.join(_FORMATS)}", file=path)


def split_path(path: str) -> tuple[str, str]:
    """Split ``file.root:Tree``."""
    if (parts := re.fullmatch(r"(.+\.root):(.+)", path, re.IGNORECASE)) and not os.path.exists(path):
        return parts[1], parts[2]
    return path, ""


class EventFile:
    """An open file of events, to read columns from, whole or in ranges of events.

    Made by :func:`~lumigraph.data.files.readers.open_events`.

    Attributes
    ----------
    path : str
        The file, with its tree if one was given.
    names : list of str
        The numeric columns, as :func:`~lumigraph.data.files.readers.column_names` gives them.
    columns : list of str
        Those that do not repeat others: without cells of jagged columns and added counters.
    types : dict of str
        The type of each column, numeric or not, as the file calls it.
    num_events : int
        The number of events.
    groups : ndarray
        The first event of each of the file's own parts, then ``num_events`` (int64): row groups, clusters, rows of
        chunks, folds, blocks of lines. Whole groups are read fastest.
    sequential : bool
        Whether reading a part of a group means decoding it from its beginning.

    Notes
    -----
    **Ranges** may be read in any order. Formats that must be decoded from the beginning of a group (Parquet, CSV,
    baskets of ROOT) continue where a range ended if the next one begins there, with the same columns; up to 8 such
    places are kept, so 8 groups can be read in turn.

    **Processes.** The file may be pickled, or used in a forked process: it is opened again there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._name, self._tree = split_path(self.path)
        self._format = _FORMATS[format_of(self._name)[0]]
        self._closed = False
        self._source: Source | None = None
        self._catalogue: Catalogue = {}
        self._process = 0
        source, catalogue = self._opened()
        self.names = [name for name, column in catalogue.items() if column.numeric]
        self.columns = [name for name in self.names if not catalogue[name].implied]
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
            The first event, and the one after the last.

        Returns
        -------
        dict of ak.Array
            As returned by :func:`~lumigraph.data.files.readers.read_columns`, apart from the range.

        Raises
        ------
        SchemaError
            As in `lumigraph.data.read_columns`; the events in messages are numbered as in the file.
        ValueError
            If the file does not have these events, or has been closed.
        """
        stop = self.num_events if stop is None else stop
        if not 0 <= start <= stop <= self.num_events:
            raise ValueError(f"{self.path}: the range must be within 0 to {self.num_events}, got {start} to {stop}")
        return self._read(names, start, stop)

    def read_all(self, names: Sequence[str] | None = None) -> Columns:
        """Read columns as :func:`~lumigraph.data.files.readers.read_columns` does."""
        return self._read(self.columns if names is None else names, 0, None)

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
        return self.__dict__ | {"_source": None, "_catalogue": {}}

    def __repr__(self) -> str:
        return f"EventFile({self.path!r}, {self.num_events} events, {len(self.names)} columns)"

    def _read(self, names: Sequence[str], start: int, stop: int | None) -> Columns:
        source, catalogue = self._opened()
        with _explained(self._name, self._format):
            for name in names:
                if name not in catalogue:
                    raise SchemaError(f"there is no column {name!r}: {near(name, catalogue)}", column=name)
                if not catalogue[name].numeric:
                    raise not_a_column(name, catalogue[name].type)
            if not names:
                return {}
            flat: dict[str, None] = {}
            for name in names:
                made = catalogue[name].source
                cells = made.cells if isinstance(made, Constituents) else [[name]]
                flat.update(dict.fromkeys(cell for component in cells for cell in component))
            try:
                columns = source.read(list(flat), start, stop)
            except (SchemaError, MemoryError):
                raise
            except Exception as error:  # a corrupt file can make the libraries raise anything
                end = self.num_events if stop is None else stop
                column = _unreadable(source, list(flat), start, stop)
                raise SchemaError(
                    f"{'the columns' if column is None else f'column {column!r}'} cannot be decoded in events {start} "
                    f"to {end}: the file is truncated or corrupt, get or write it again ({type(error).__name__}: "
                    f"{first_line(str(error))})",
                    column=column,
                ) from error
            with located(events=start):
                return checked_columns(joined(list(names), catalogue, columns))

    def _opened(self) -> tuple[Source, Catalogue]:
        """Return the file as this process has opened it, and its columns."""
        if self._closed:
            raise ValueError(f"{self.path} has been closed: open it again")
        if self._source is not None and self._process != os.getpid():
            with suppress(Exception):  # its state is shared with the parent process
                self._source.close()
            self._source = None
        if self._source is None:
            self._process = os.getpid()
            source = _source(self._name, self._tree, self._format)
            if source.num_events != self.__dict__.get("num_events", source.num_events):
                source.close()
                raise SchemaError(
                    f"it had {self.num_events} events when it was opened, and now has "
                    f"{source.num_events}: open it again",
                    file=self._name,
                )
            self._source = source
            self._catalogue = with_constituents(self._source.catalogue)
        return self._source, self._catalogue


def _source(name: str, tree: str, format_: Format) -> Source:
    """Open a file, or raise an error that says what is wrong with it."""
    if os.path.isdir(name):
        raise SchemaError(f"it is a directory: give one {format_.kind} file", file=name)
    with open(name, "rb") as file:
        if not file.read(1):
            raise SchemaError(f"it is empty (0 bytes): write the {format_.kind} file again", file=name)
    with _explained(name, format_):
        return format_.open(name, tree)


def _unreadable(source: Source, names: list[str], start: int, stop: int | None) -> str | None:
    """Return the column that cannot be read; None if each can be read alone."""
    for name in names:
        try:
            source.read([name], start, stop)
        except Exception:  # a corrupt file can make the libraries raise anything
            return name
    return None


@contextmanager
def _explained(name: str, format_: Format) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a SchemaError that names it."""
    try:
        with located(name):
            yield
    except SchemaError as error:
        if error.__cause__ is not None and not os.path.exists(name):  # it was deleted after it was opened
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        raise
    except MemoryError as error:
        raise SchemaError(
            f"it cannot be read as {format_.kind}: the columns do not fit into memory, or the file is corrupt "
            f"({first_line(str(error))}): read it part by part",
            file=name,
        ) from error
    except Exception as error:  # a corrupt file can make the libraries raise anything
        with open(name, "rb") as file:
            head = file.read(len(format_.magic))
        if head != format_.magic:
            raise SchemaError(
                f"it is not a {format_.kind} file, it begins with {head!r}: correct its suffix", file=name
            ) from error
        raise SchemaError(
            f"it cannot be read as {format_.kind}: it is truncated or corrupt, get or write it again "
            f"({type(error).__name__}: {first_line(str(error))})",
            file=name,
        ) from error
