"""What a training is configured with beside `lumigraph.training.TrainConfig`: its events and its model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..blocks import CatEmbedder
from ..blocks.registry import to_object
from ..data import EventDataset, EventStream, sample_path
from ..events.schema import EventSchema
from ..model import ModelBuilder

__all__ = ["DataConfig", "ModelConfig", "builder_of", "events_of"]


@dataclass
class DataConfig:
    """Events to train on.

    Parameters
    ----------
    event_schema
        Which columns are particles, event features, categories, targets, weight and identifiers.
    file
        ROOT, Parquet, HDF5 or CSV file, or several, also with * and ?; ``sample`` stands for the events that come with
        lumigraph.
    val_file
        Files of the validation events, and
    test_file
        of the test events, if they have files of their own; give both, or neither for a split.
    split
        Shares of training, validation and test events.
    split_seed
        Seed of the split.
    in_memory
        Whether to read all events into memory; otherwise they are streamed from the files in every epoch.
    batch_size
        Events per batch.
    loading
        Further arguments of the loader of training events, such as max_pairs, bucketed, num_workers, window_size.
    reweight
        Give one class of the training events the spectrum of another: feats, source, target and num_bins, see
        lumigraph.data.reweighted.
    """

    event_schema: EventSchema
    file: str | list[str] = "sample"
    val_file: str | list[str] | None = None
    test_file: str | list[str] | None = None
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    split_seed: int = 0
    in_memory: bool = True
    batch_size: int = 256
    loading: dict[str, Any] = field(default_factory=dict)
    reweight: dict[str, Any] | None = None


@dataclass
class ModelConfig:
    """What the model is made of.

    A block is written as ``{block: NAME, args: {...}}`` with its name in ``lumigraph.blocks``; a block among the
    arguments of another one in the same way.

    Parameters
    ----------
    head
        Input side.
    body
        Hidden layers.
    tail
        Output side.
    objective
        classification, multiclass or regression.
    n_out
        Number of outputs; found from the targets if not given.
    scaling
        standard, robust or none: how features are shifted and scaled.
    transforms
        log or symlog, by feature.
    clip
        Limits (low, high) by feature, or one limit for all features once they are scaled.
    """

    head: dict[str, Any]
    body: dict[str, Any] = field(default_factory=lambda: {"block": "FullyConnected"})
    tail: dict[str, Any] = field(default_factory=lambda: {"block": "ClassRegMulti"})
    objective: str = "classification"
    n_out: int | None = None
    scaling: str = "standard"
    transforms: dict[str, str] = field(default_factory=dict)
    clip: dict[str, tuple[float, float]] | float | None = None


def events_of(data: DataConfig) -> Sequence[Any]:
    """Return training, validation and test events."""
    read = EventDataset.from_file if data.in_memory else EventStream
    files = [sample_path() if data.file == "sample" else data.file, data.val_file, data.test_file]
    given = [file for file in files if file is not None]
    if len(given) == 2:
        raise ValueError("data.val_file and data.test_file go together: give both, or neither to split data.file")
    parts = [read(file, data.event_schema) for file in given]
    for file, part in zip(given, parts, strict=True):
        if data.in_memory and not len(part):  # a stream says so itself
            raise ValueError(f"{file}: there are no events that are selected, so there is nothing to learn from")
    return parts if len(parts) == 3 else parts[0].split(data.split, seed=data.split_seed)


def builder_of(model: ModelConfig, parts: Sequence[EventDataset | EventStream]) -> ModelBuilder:
    """Return what makes the model for training, validation and test events.

    Raises
    ------
    ValueError
        If a block is not written as one.
    """
    names = parts[0].schema.cat_feats
    sizes = [part.cat_szs() for part in parts] if names else []
    blocks = {part: to_object(getattr(model, part)) for part in ("head", "body", "tail")}
    for part, block in blocks.items():
        if not callable(block):
            raise ValueError(f"model.{part} is written as {{block: NAME, args: {{...}}}}, got the keys {list(block)}")
    return ModelBuilder.from_dataset(
        parts[0],
        model.objective,
        model.n_out,
        model_args={part: getattr(block, "keywords", {}) for part, block in blocks.items()},
        cat_embedder=CatEmbedder(names, [max(size) for size in zip(*sizes, strict=True)]) if names else None,
        scaling=model.scaling,  # type: ignore[arg-type]
        transforms=model.transforms,
        clip=model.clip,
        **{part: getattr(block, "func", block) for part, block in blocks.items()},
    )
