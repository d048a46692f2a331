"""lumigraph: graph deep learning for particle physics; the particles of an event are the nodes of a graph."""

from . import blocks, kinematics, nn
from .adapters import from_columns, from_flat, from_jagged, from_rows, to_columns, to_flat, to_jagged, to_rows
from .blocks import (
    AbsConv1dHead,
    AbsEndcap,
    AutoExtractLorentzBoostNet,
    CatEmbedder,
    CatEmbHead,
    ClassRegMulti,
    FullyConnected,
    InteractionNet,
    LorentzBoostNet,
    MultiBlock,
    MultiHead,
    RecurrentHead,
)
from .data import EventDataset, EventStream, load_sample
from .graph import CompleteGraph
from .memory import keep_pages
from .model import Model, ModelBuilder
from .schema import EventSchema, SchemaError
from .version import __version__

__all__ = [
    "AbsConv1dHead",
    "AbsEndcap",
    "AutoExtractLorentzBoostNet",
    "CatEmbHead",
    "CatEmbedder",
    "ClassRegMulti",
    "CompleteGraph",
    "EventDataset",
    "EventSchema",
    "EventStream",
    "FullyConnected",
    "InteractionNet",
    "LorentzBoostNet",
    "Model",
    "ModelBuilder",
    "MultiBlock",
    "MultiHead",
    "RecurrentHead",
    "SchemaError",
    "__version__",
    "blocks",
    "from_columns",
    "from_flat",
    "from_jagged",
    "from_rows",
    "keep_pages",
    "kinematics",
    "load_sample",
    "nn",
    "to_columns",
    "to_flat",
    "to_jagged",
    "to_rows",
]
