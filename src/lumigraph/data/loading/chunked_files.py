"""Files that are read chunk by chunk into the arrays of a schema."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy

import numpy as np

from ...events.checks import check_counts
from ...events.errors import EventError, SchemaError, located
from ...events.schema import EventSchema, cell_names
from ..columns.assembly import Arrays, assemble, sources
from ..files.event_file import EventFile
from ..files.readers import expand_paths
from ..files.tables import Columns, not_a_column
from .chunks import Chunk, OpenFiles, cut

__all__ = ["ChunkedFiles", "Paths"]

#: One file or several.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class ChunkedFiles:
    """The chunks of files, and the columns read from them; arguments as in `EventStream`.

    Raises
    ------
    SchemaError
        If a file cannot be read, or a column is missing or does not hold numbers.
    """

    def __init__(self, paths: Paths, schema: EventSchema, *, labelled: bool = True, chunk_size: int = 8192) -> None:
        check_counts(chunk_size=chunk_size)
        self.paths = expand_paths(paths)
        self.schema, self.labelled, self.chunk_size = schema, labelled, chunk_size
        self.chunks: list[Chunk] = []
        #: columns of the files that are not numeric, such as text
        self.without_numbers: list[str] = []
        self._files = OpenFiles(self.paths)
        self._firsts: list[int] = []  # number of the first event of each file
        self._names: list[list[str]] = []  # of the columns of each file
        self._columns: list[list[str]] = []  # those that are read
        first, group = 0, -1
        for i in range(len(self.paths)):
            file = self._files[i]
            self._columns.append(self._needed(file))
            self._names.append(self._names[-1] if self._names and self._names[-1] == file.names else file.names)
            self._firsts.append(first)
            others = (name for name, type_ in file.types.items() if type_ and name not in file.names)
            self.without_numbers = list(dict.fromkeys([*self.without_numbers, *others]))
            for start, stop, begins in cut(file.groups, chunk_size):
                begins = begins or not file.sequential
                group += begins
                self.chunks.append(Chunk(i, start, stop, first + start, group, begins))
            first += file.num_events
        self.chunks = self.chunks or [Chunk(0, 0, 0, 0, 0, True)]

    def _needed(self, file: EventFile) -> list[str]:
        """Return the columns to read from a file, the same as from the first file."""
        try:
            with located(file.path):
                _refuse_unusable(self.schema, file, self.labelled)
                columns = sources(self.schema, file.names, labelled=self.labelled)
        except SchemaError as error:
            if self._columns:
                error.add_note(f"{self.paths[0]} has all that the schema needs")
            raise
        first = self._columns[0] if self._columns else columns
        if columns and (different := {*columns} ^ {*first}):
            name = min(different)
            without, other = (self.paths[0], file.path) if name in columns else (file.path, self.paths[0])
            raise SchemaError(f"column {name!r} is missing, but {other} has it", column=name, file=without)
        return columns or file.names[:1]

    def of(self, schema: EventSchema) -> "ChunkedFiles":
        """Return the same files with fewer columns to read."""
        fewer = copy(self)
        fewer.schema = schema
        fewer._columns = [sources(schema, names, labelled=self.labelled) or names[:1] for names in self._names]
        return fewer

    def arrays(self, chunk: Chunk) -> Arrays:
        """Return the selected events of a chunk, numbered over all files."""
        return self._assembled(chunk, self._files[chunk.file].read(self._columns[chunk.file], chunk.start, chunk.stop))

    def table(self, chunk: Chunk, columns: Sequence[str] | None) -> tuple[Columns, Arrays]:
        """Return columns of a chunk as in its file (None: each once), and its selected events."""
        file, needed = self._files[chunk.file], self._columns[chunk.file]
        asked = file.columns if columns is None else [name for name in columns if name in file.names]
        found = file.read(list(dict.fromkeys([*asked, *needed])), chunk.start, chunk.stop)
        return {name: found[name] for name in asked}, self._assembled(chunk, {name: found[name] for name in needed})

    def _assembled(self, chunk: Chunk, columns: Columns) -> Arrays:
        with located(self.paths[chunk.file], events=chunk.start):
            arrays = assemble(columns, self.schema, labelled=self.labelled)
        return arrays._replace(numbers=arrays.numbers + chunk.first)

    @contextmanager
    def located(self, numbers: np.ndarray) -> Iterator[None]:
        """Let an error about one of these events, numbered over all files, name its file and its number there."""
        try:
            yield
        except SchemaError as error:
            if error.file is None and len(numbers):
                event = error.event if isinstance(error, EventError) else None
                number = int(numbers[event or 0])
                file = int(np.searchsorted(self._firsts, number, "right")) - 1
                error.file = self.paths[file]
                if isinstance(error, EventError) and event is not None:
                    error.event = number - self._firsts[file]
            raise


def _refuse_unusable(schema: EventSchema, file: EventFile, labelled: bool) -> None:
    """Raise a SchemaError if a column that a schema names is not numeric in a file."""
    labels = [*schema.targets, *([schema.weight] if schema.weight else [])] if labelled else []
    particles = cell_names(schema.objects, schema.feats_per_vec)
    for name in (*particles, *schema.event_feats, *schema.cat_feats, *labels, *schema.ids):
        if name in file.types and name not in file.names:
            raise not_a_column(name, file.types[name])
