"""Events from files: named columns, data sets, loaders, and the shipped sample."""

from .columns.expressions import FUNCTIONS, Expression
from .columns.table_tensors import table_to_tensor
from .files.event_file import EventFile, split_path
from .files.memory_tables import memory_columns
from .files.readers import column_names, expand_paths, open_events, read_columns
from .files.writers import ColumnWriter, check_writable, write_columns
from .inspection import FileReport, inspect_file
from .inspection.suggestion import suggested_schema
from .loading.batching import EventBatches, balanced_weights
from .loading.chunked_files import Paths
from .loading.dataset import EventDataset
from .loading.events import Events
from .loading.loader import EventLoader
from .loading.reweighting import SpectrumWeights, quantile_edges, reweighted
from .loading.stream import EventStream
from .samples import SAMPLE_SCHEMA, load_sample, sample_path

__all__ = [
    "FUNCTIONS",
    "SAMPLE_SCHEMA",
    "ColumnWriter",
    "EventBatches",
    "EventDataset",
    "EventFile",
    "EventLoader",
    "EventStream",
    "Events",
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
