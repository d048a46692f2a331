"""Events from files: named columns, data sets, loaders, and the sample that is shipped."""

from .batching import EventBatches, balanced_weights
from .dataset import EventDataset, Paths
from .event_file import EventFile, split_path
from .expressions import FUNCTIONS, Expression
from .inspection import FileReport, inspect_file
from .loader import EventLoader
from .readers import column_names, expand_paths, open_events, read_columns
from .reweighting import SpectrumWeights, quantile_edges, reweighted
from .samples import SAMPLE_SCHEMA, load_sample, sample_path
from .selection import numbered_as
from .stream import EventStream
from .suggestion import suggested_schema
from .table_tensors import table_to_tensor
from .tables import memory_columns
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
    "FileReport",
    "Paths",
    "SpectrumWeights",
    "balanced_weights",
    "check_writable",
    "column_names",
    "expand_paths",
    "inspect_file",
    "load_sample",
    "memory_columns",
    "numbered_as",
    "open_events",
    "quantile_edges",
    "read_columns",
    "reweighted",
    "sample_path",
    "split_path",
    "suggested_schema",
    "table_to_tensor",
    "write_columns",
]
