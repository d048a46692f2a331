"""lumigraph: graph deep learning for particle physics; the particles of an event are the nodes of a graph."""

from typing import TYPE_CHECKING, Any

from . import blocks, kinematics, nn
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
from .data.loading.memory import keep_pages
from .events.adapters import from_columns, from_flat, from_jagged, from_rows, to_columns, to_flat, to_jagged, to_rows
from .events.errors import SchemaError
from .events.graph import CompleteGraph
from .events.schema import EventSchema
from .model import Model, ModelBuilder
from .version import __version__

if TYPE_CHECKING:
    from .plotting import show

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
    "show",
    "to_columns",
    "to_flat",
    "to_jagged",
    "to_rows",
]


def __getattr__(name: str) -> Any:
    """Import what draws when it is used: `import lumigraph` alone loads no plotting library."""
    if name == "show":
        from .plotting import show

        return show
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
