"""Events from files: named columns, data sets, loaders, and the sample that is shipped."""

from .batching import EventBatches, balanced_weights
from .dataset import EventDataset, table_to_tensor
from .expressions import FUNCTIONS, Expression
from .loader import EventLoader
from .readers import column_names, read_columns
from .samples import SAMPLE_SCHEMA, load_sample, sample_path
from .selection import numbered_as
from .stream import EventStream
from .writers import check_writable, write_columns

__all__ = [
    "FUNCTIONS",
    "SAMPLE_SCHEMA",
    "EventBatches",
    "EventDataset",
    "EventLoader",
    "EventStream",
    "Expression",
    "balanced_weights",
    "check_writable",
    "column_names",
    "load_sample",
    "numbered_as",
    "read_columns",
    "sample_path",
    "table_to_tensor",
    "write_columns",
]
