"""Events from files: named columns, data sets, loaders, and the sample that is shipped."""

from .dataset import EventDataset, EventSampler, table_to_tensor
from .readers import column_names, read_columns
from .samples import SAMPLE_SCHEMA, load_sample, sample_path
from .writers import check_writable, write_columns

__all__ = [
    "SAMPLE_SCHEMA",
    "EventDataset",
    "EventSampler",
    "check_writable",
    "column_names",
    "load_sample",
    "read_columns",
    "sample_path",
    "table_to_tensor",
    "write_columns",
]
