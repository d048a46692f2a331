"""Write named columns to ROOT, Parquet, HDF5 and CSV files, which read back as the same columns."""

import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from ...events.errors import SchemaError, located
from ...events.files import check_place
from ..columns.jagged import Jagged
from .appending import AppendedFile, Chunk, checked_chunk, cut, joined, num_bytes, num_events
from .readers import format_of
from .write_arrow import CsvFile, ParquetFile
from .write_hdf5 import Hdf5File
from .write_root import RootFile

__all__ = ["ColumnWriter", "check_writable", "write_columns"]

_FILES: dict[str, Callable[[Path], AppendedFile]] = {
    "Parquet": ParquetFile,
    "ROOT": RootFile,
    "HDF5": Hdf5File,
    "CSV": CsvFile,
}

# A basket or row group: large enough not to spend the reading on seeks, small enough to hold many in memory.
_GROUP_EVENTS = 100_000
_GROUP_BYTES = 32 << 20


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Check that a file can be written, without touching anything: a cheap check before long work.

    Parameters
    ----------
    path
        The file for :func:`write_columns`, which makes missing folders.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is False.
    SchemaError
        If the suffix is not of a known format.
    IsADirectoryError, NotADirectoryError, PermissionError
        If the path is a folder, or its folder cannot be made or written to.

    Examples
    --------
    >>> check_writable("events.xls")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lumigraph.events.errors.SchemaError: events.xls: the suffix must be one of .parquet, .pq, ...
    """
    format_of(str(path))
    return check_place(path, overwrite)


def write_columns(path: str | os.PathLike[str], columns: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write columns to a file, all or nothing, in the format of its suffix.

    Parameters
    ----------
    path
        ``.root``, ``.parquet``, ``.pq``, ``.h5``, ``.hdf5``, ``.csv`` or ``.csv.gz``.
    columns
        Names and values, one entry per event each: numbers, or lists of numbers (awkward arrays, NumPy arrays or
        anything that ``ak.Array`` takes).
    overwrite
        Whether an existing file may be replaced. It is kept as it was if writing fails.

    Returns
    -------
    pathlib.Path
        The path written.

    Raises
    ------
    SchemaError
        If there is no column, one is not numeric, columns differ in their number of events or the lists of a
        collection in length, or the format cannot hold them.
    FileExistsError
        If the file exists and ``overwrite`` is False; this is checked first.

    Notes
    -----
    **Read back** by name, the columns have the same values and, with these exceptions, the same types. Booleans are
    written as int8 and, in ROOT and CSV, float16 as float32.

    **ROOT.** Tree ``Events``. The jagged columns of a collection share the counter ``nJet`` (int32); a column of that
    name must hold the same numbers.

    **HDF5.** A jagged column has shape (events, slots) and is padded with NaN (integers: 0) after the
    particles counted by ``nJet``. Data and metadata have checksums.

    **CSV.** A jagged column ``Jet_px`` becomes ``Jet0_px, Jet1_px, ...`` with empty cells for absent particles. It
    cannot keep number types other than int64 and float64 (and uint64, of integers above 2**63 - 1), nor a particle that
    is NaN in every column, which raises an error.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.readers import read_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_columns(f"{folder}/events.parquet", {"ht": [50.0, 0.0], "Jet_px": [[20.0, 30.0], []]})
    ...     read_columns(path)
    {'ht': <Array [50, 0] type='2 * float64'>, 'Jet_px': <Array [[20, 30], []] type='2 * var * float64'>}
    """
    with ColumnWriter(path, overwrite=overwrite) as writer:
        writer._keeps_part = False
        writer.append(columns)
    return writer.path


class ColumnWriter:
    """Write columns to a file chunk by chunk, in the format of its suffix, in bounded memory.

    The file is created, or replaced, when the block ends. If the block ends in an exception, the events appended so
    far are kept next to it, as ``scores.partial.root`` for ``scores.root``, and a note on the exception gives their
    number.

    Parameters
    ----------
    path
        As in :func:`write_columns`.
    overwrite
        Whether an existing file may be replaced. It is kept as it was if the block ends in an exception.

    Raises
    ------
    SchemaError
        If the suffix is not of a known format; at the end of the block, if nothing was appended.
    FileExistsError
        If the file exists and ``overwrite`` is False.

    Notes
    -----
    **Chunks** may be of any size: small ones are gathered into row groups or baskets of 32 MiB or 100,000 events, large
    ones are cut. The sizes of the chunks do not change what is read back: the same as from :func:`write_columns`.

    **CSV.** Chunks are kept in a Parquet file until the end of the block, when the longest list is known.

    **Killed** without an exception, a process leaves a hidden file with a random name, which cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from lumigraph.data.files.readers import read_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ColumnWriter(f"{folder}/scores.root") as writer:
    ...         writer.append({"event": [0, 1], "score": [0.25, 0.5]})
    ...         writer.append({"event": [2], "score": [1.0]})
    ...     read_columns(writer.path)
    {'event': <Array [0, 1, 2] type='3 * int64'>, 'score': <Array [0.25, 0.5, 1] type='3 * float64'>}
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = check_writable(path, overwrite)
        self.num_events = 0  # appended so far
        self._overwrite = overwrite
        suffix, kind = format_of(str(self.path))
        self._suffix = self.path.name[-len(suffix) :]
        self._temporary = self.path.parent / f".{uuid.uuid4().hex}{suffix}"
        self._file = _FILES[kind](self._temporary)
        self._types: dict[str, str] = {}
        self._pending: list[Chunk] = []
        self._written = 0  # events in the file
        self._is_open = self._is_used = self._is_broken = self._is_closed = False
        self._keeps_part = True

    def __enter__(self) -> "ColumnWriter":
        if self._is_used:
            raise ValueError(f"the writer of {self.path} has been used: make another one")
        self._is_open = self._is_used = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        try:
            if error is None:
                self._finish()
        except BaseException as failure:
            error = failure
            raise
        finally:
            if error is not None:
                self._rescue(error)
            self._file.discard()

    def append(self, columns: Mapping[str, Any]) -> None:
        """Append events.

        Parameters
        ----------
        columns
            Names and values as in :func:`write_columns`; each chunk must have the same names and number types.

        Raises
        ------
        SchemaError
            If :func:`write_columns` would not take the columns, or they differ from those of the first chunk. Nothing
            of the chunk is then written, and another one may be appended.
        ValueError
            If called outside the ``with`` block, or after a failure to write.
        """
        if not self._is_open or self._is_broken:
            state = "could not be written to before" if self._is_broken else "can be written in a with block only"
            raise ValueError(f"{self.path} {state}: make another writer")
        with located(str(self.path), events=self.num_events):
            chunk, types = checked_chunk(columns, self._types)
            self._file.check(chunk)
        self._types = types
        if self._pending or num_bytes(chunk) < _GROUP_BYTES:  # the caller may reuse the memory
            chunk = {name: Jagged(column.values.copy(), column.offsets) for name, column in chunk.items()}
        self._pending.append(chunk)
        if sum(map(num_bytes, self._pending)) >= _GROUP_BYTES or sum(map(num_events, self._pending)) >= _GROUP_EVENTS:
            self._flush()
        self.num_events += num_events(chunk)

    def _flush(self) -> None:
        """Write what has been gathered."""
        if not self._pending:
            return
        chunk, self._pending = joined(self._pending), []
        size = num_events(chunk)
        groups = max(-(-size // _GROUP_EVENTS), -(-num_bytes(chunk) // _GROUP_BYTES), 1)
        step = max(-(-size // groups), 1)
        self._is_broken = True  # until this succeeds
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            for start in range(0, max(size, 1), step):
                part = cut(chunk, start, start + step)
                self._file.write(part)
                self._written += num_events(part)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"it cannot be written: {error}", file=str(self.path)) from error
        self._is_broken = False

    def _close(self) -> None:
        if not self._is_closed:
            self._file.close(self._written)
            self._is_closed = True

    def _finish(self) -> None:
        if not self._types:
            raise SchemaError("nothing was appended: append at least one chunk", file=str(self.path))
        if self._is_broken:
            raise OSError(f"{self.path} could not be written to before: see the earlier exception")
        self._flush()
        self._close()
        check_writable(self.path, self._overwrite)  # it may have been created meanwhile
        os.replace(self._temporary, self.path)

    def _rescue(self, error: BaseException) -> None:
        """Keep the appended events under another name, and add a note about it."""
        if not self.num_events or not self._keeps_part:
            return
        note = f"none of the {self.num_events} events appended before could be kept"
        with suppress(Exception):
            if not self._is_broken:
                with suppress(Exception):  # the file so far is still good
                    self._flush()
            if self._written:
                self._close()
                # a file name may have 255 bytes
                stem = os.fsdecode(os.fsencode(self.path.name.removesuffix(self._suffix))[:200])
                names = (f"{stem}.partial{number or ''}{self._suffix}" for number in count())
                kept = next(path for path in map(self.path.with_name, names) if not path.exists())
                os.replace(self._temporary, kept)
                note = f"the first {self._written} events are kept in {kept}"
        error.add_note(note)
