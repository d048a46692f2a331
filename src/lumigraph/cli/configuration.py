"""Configuration of a training in addition to `lumigraph.training.TrainConfig`: its events and its model."""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from functools import partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..blocks.registry import to_plain
from ..data import EventDataset, EventStream, reweighted, sample_path
from ..events.errors import near
from ..events.schema import EventSchema
from ..model import Description, ModelBuilder

__all__ = ["FROM_EVENTS", "DataConfig", "ModelConfig", "builder_of", "events_of"]

#: fields of a description set by the events or their schema
FROM_EVENTS = ("cont_feats", "schema", "input_feats", "scales")


@dataclass
class DataConfig:
    """Events to train on.

    Parameters
    ----------
    event_schema
        Which columns are particles, event features, categories, targets, weight and identifiers.
    file
        ROOT, Parquet, HDF5 or CSV file, or several, also with * and ?; ``sample`` stands for the events included in
        lumigraph.
    val_file
        Files of the validation events, if separate.
    test_file
        Files of the test events, if separate; give both this and val_file, or neither for a split.
    split
        Fractions of training, validation and test events.
    split_seed
        Seed of the split.
    in_memory
        Whether to read all events into memory; otherwise they are streamed from the files in every epoch.
    batch_size
        Events per batch.
    loading
        Further arguments of the loader of training events, such as pairs_per_batch, bucketed, num_workers, buffer_size.
    reweight
        Reweight one class of the training events to the spectrum of another: feats, source, target and num_bins; see
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

    def __post_init__(self) -> None:
        reader = EventDataset if self.in_memory else EventStream
        _check_names("data.loading", self.loading, reader.loader)
        _check_names("data.reweight", self.reweight or {}, reweighted)


def _check_names(entry: str, given: Mapping[str, Any], function: Any) -> None:
    known = [name for name in inspect.signature(function).parameters if name not in ("self", "events", "batch_size")]
    for name in given:
        if name not in known:
            raise TypeError(f"{entry} has no entry {name!r}: {near(name, known)}")


def _type_in_a_file(hint: Any) -> Any:
    """Return the types of a field of a description that a file can hold."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    simple = (str, int, float, bool, NoneType)
    plain = tuple(k for k in kinds if k in simple or get_origin(k) in (Literal, Sequence, Mapping))
    return Union[plain]  # noqa: UP007


def _fields_in_a_file() -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of each field of a description that a file can hold; only the head is required."""
    hints = get_type_hints(Description)
    defaults = {"objective": "classification", "n_out": None}
    for each in fields(Description):
        if each.name not in FROM_EVENTS:
            default = defaults.get(each.name, None if each.default is MISSING else to_plain(each.default))
            kind, made = _type_in_a_file(hints[each.name]), partial(copy.copy, default)
            yield each.name, kind, field() if each.name == "head" else field(default_factory=made)


if TYPE_CHECKING:
    ModelConfig = Description
else:
    ModelConfig = make_dataclass(
        "ModelConfig",
        _fields_in_a_file(),
        kw_only=True,
        namespace={"__doc__": Description.__doc__, "__module__": __name__},
    )


def events_of(data: DataConfig) -> Sequence[Any]:
    """Return training, validation and test events."""
    read = EventDataset.from_file if data.in_memory else EventStream
    files = [sample_path() if data.file == "sample" else data.file, data.val_file, data.test_file]
    given = [file for file in files if file is not None]
    if len(given) == 2:
        raise ValueError(
            "data.val_file and data.test_file must be given together, got one: give both, or neither to split data.file"
        )
    parts = [read(file, data.event_schema) for file in given]
    for file, part in zip(given, parts, strict=True):
        if data.in_memory and not len(part):  # a stream raises its own error
            raise ValueError(f"{file}: there are no events after the selection, so none to learn from")
    return parts if len(parts) == 3 else parts[0].split(data.split, seed=data.split_seed)


def builder_of(model: ModelConfig, schema: EventSchema) -> ModelBuilder:
    """Return a checked builder of the model, not yet completed by measurements on events."""
    return ModelBuilder.from_schema(schema, **vars(model))
