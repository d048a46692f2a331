"""Events from files: named columns, data sets, loaders, and the sample that is shipped."""

from .batching import EventBatches, balanced_weights
from .dataset import EventDataset, Paths, table_to_tensor
from .expressions import FUNCTIONS, Expression
from .loader import EventLoader
from .readers import EventFile, column_names, expand_paths, open_events, read_columns
from .samples import SAMPLE_SCHEMA, load_sample, sample_path
from .selection import numbered_as
from .stream import EventStream
from .writers import ColumnWriter, check_writable, write_columns

__all__ = [
    "FUNCTIONS",
    "SAMPLE_SCHEMA",
    "ColumnWriter",
    "EventBatches",
    "EventDataset",
    "EventFile",
    "EventLoader",
    "EventStream",
    "Expression",
    "Paths",
    "balanced_weights",
    "check_writable",
    "column_names",
    "expand_paths",
    "load_sample",
    "numbered_as",
    "open_events",
    "read_columns",
    "sample_path",
    "table_to_tensor",
    "write_columns",
]
