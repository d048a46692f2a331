"""Description of a model: the same settings in Python, in YAML and in a model file."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from ..blocks import (
    AbsMatrixHead,
    CatEmbedder,
    CatEmbHead,
    ClassRegMulti,
    FullyConnected,
    MultiHead,
    lookup_act,
    lookup_normal_init,
)
from ..blocks.registry import to_object, to_plain
from ..blocks.tail import check_objective
from ..events.checks import check_counts, check_number
from ..events.errors import near
from ..events.schema import EventSchema, different_names
from ..nn.lookups import LookupAct, LookupInit
from ..nn.scaling import Scaling
from ..training.losses import event_loss
from ..training.optimiser import optimiser_args
from ..training.scaling import ScalingMethod

__all__ = ["Description"]

#: A block: its class or a function that builds it, or ``{block: NAME, args: {...}}`` as in a file.
Part: TypeAlias = Callable[..., Any] | Mapping[str, Any]
_PARTS = ("head", "body", "tail")


@dataclass(eq=False, repr=False)
class Description:
    """Settings of a model and its training. In a file, a block is written as {block: NAME, args: {...}}.

    Parameters
    ----------
    objective
        ``classification`` (a probability per output), ``multiclass`` or ``regression``.
    n_out
        Number of outputs; by default the number of targets, for ``multiclass`` the largest label plus one.
    cont_feats
        Names of all continuous inputs, including those of particles; by default those of the schema.
    model_args
        Further arguments of the parts: ``{"head": {...}, "body": {...}, "tail": {...}}``.
    opt_args
        Optimiser and its arguments: ``opt`` is a class of ``torch.optim`` or its name, such as ``adam``, ``adamw`` or
        ``sgd``; the rest are its arguments, such as ``lr``. Without ``opt`` it is Adam, or AdamW with a
        ``weight_decay``. Without any arguments it is AdamW. What `lumigraph.training.TrainConfig` also sets must agree.
    cat_embedder
        The categories; or arguments of `CatEmbedder`, such as ``{"max_emb_sz": 10}``; names and cardinalities are then
        those of the events.
    cont_subsample_rate
        Fraction of the continuous features to use, drawn at random, as for the members of an ensemble; all by default.
        Inputs keep all columns; the head selects its own (``input_mask``). For `CatEmbHead` only.
    guaranteed_feats
        Features that are always used.
    loss
        ``auto``: binary cross-entropy, cross-entropy or squared error, by objective. Otherwise the name of
        a loss of ``torch.nn``, such as ``L1Loss``; or a function of predictions and targets that returns a loss per
        event (torch losses are called with ``reduction='none'``), its class or a partial.
    head
        Input side; a head for particles gets ``vecs`` and ``feats_per_vec`` from the schema, if there is one.
    body
        Hidden layers.
    tail
        Output side.
    lookup_init
        Function that returns the initialisation for the name of an activation, or its name in ``lumigraph.blocks``.
    lookup_act
        Function that returns an activation by name, or its name in ``lumigraph.blocks``.
    pretrain_file
        File with weights to start from: a saved model, or a saved state_dict.
    freeze_head
        Whether the head starts untrainable.
    freeze_body
        Whether the body starts untrainable.
    freeze_tail
        Whether the tail starts untrainable.
    schema
        Columns that the model reads from files.
    input_mask
        Indices of the features to use, instead of a random choice.
    seed
        Seed of the random choice of features.
    scaling
        ``standard``, ``robust`` or ``none``: how features are shifted and scaled by statistics of the training events;
        see `lumigraph.training.scaling.ScalingFit`.
    transforms
        ``log`` or ``symlog``, by feature.
    clip
        Limits (low, high) by feature, or one limit for all scaled features.
    input_feats
        All continuous columns of the input; ``cont_feats`` are then those used.
    scales
        Scalings of ``u`` and ``x``, measured on training events.

    Raises
    ------
    ValueError
        If the objective, a part of ``model_args``, a loss or an optimiser is unknown, or features cannot be selected.
    TypeError
        If a part or the optimiser does not accept an argument.
    """

    objective: str
    n_out: int | None
    cont_feats: Sequence[str] | None
    model_args: Mapping[str, Mapping[str, Any] | None] | None = None
    opt_args: Mapping[str, Any] | None = None
    cat_embedder: CatEmbedder | Mapping[str, Any] | None = None
    cont_subsample_rate: float | int | None = None
    guaranteed_feats: Sequence[str] | None = None
    loss: str | Mapping[str, Any] | Callable[..., Any] = "auto"
    head: Part = CatEmbHead
    body: Part = FullyConnected
    tail: Part = ClassRegMulti
    lookup_init: str | Mapping[str, Any] | LookupInit = lookup_normal_init
    lookup_act: str | Mapping[str, Any] | LookupAct = lookup_act
    pretrain_file: str | Path | None = None
    freeze_head: bool = False
    freeze_body: bool = False
    freeze_tail: bool = False
    schema: EventSchema | Mapping[str, Any] | None = None
    input_mask: Sequence[int] | np.ndarray | None = None
    seed: int = 0
    scaling: ScalingMethod = "standard"
    transforms: Mapping[str, str] | None = None
    clip: Mapping[str, Sequence[float | int]] | float | int | None = None
    input_feats: Sequence[str] | None = None
    scales: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objective = check_objective(self.objective)
        self.schema = EventSchema.from_dict(self.schema) if isinstance(self.schema, Mapping) else self.schema
        if not isinstance(self.schema, EventSchema | None):
            raise TypeError(f"schema must be an EventSchema, got {self.schema!r}: EventSchema.from_dict makes one")
        self._set_parts()
        self._set_columns()
        self.opt_args = optimiser_args(_mapping("opt_args", self.opt_args))
        self.loss = to_object(self.loss)
        event_loss(self.objective, self.loss)
        for name in ("lookup_init", "lookup_act"):
            lookup = getattr(self, name)
            setattr(self, name, to_object({"block": lookup} if isinstance(lookup, str) else lookup))
        self.scales = {name: _scaling(scaling) for name, scaling in self.scales.items()}
        if self.n_out is None and self.schema is not None and self.objective != "multiclass":
            self.n_out = len(self.schema.targets)

    def _set_parts(self) -> None:
        """Set the parts and their arguments, also from plain data, and complete them from the schema."""
        args: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for part, given in _mapping("model_args", self.model_args).items():
            if part.lower() not in args:
                raise ValueError(f"model_args has no part {part!r}: {near(part, args)}")
            args[part.lower()] = dict(to_object(_mapping(f"model_args[{part!r}]", given)))
        for part in _PARTS:
            block = getattr(self, part)
            if isinstance(block, Mapping) and "block" in block:
                found = to_object(block)
                args[part] = {**getattr(found, "keywords", {}), **args[part]}
                setattr(self, part, getattr(found, "func", found))
            _check_arguments(part, getattr(self, part), args[part])
        if self.body is FullyConnected:
            args["body"] = {"depth": 2, "width": 100, **args["body"]}
        if isinstance(self.schema, EventSchema) and self.schema.objects:
            args["head"] = _with_particles(self.head, args["head"], self.schema)
        self.model_args = args

    def _set_columns(self) -> None:
        """Select the continuous features among the columns, and set the categories."""
        if self.input_feats is None:
            known: Sequence[str] = []
            if isinstance(self.schema, EventSchema):  # a head for event features alone ignores particles
                known = self.schema.event_feats if _of_events(self.head) else self.schema.cont_feats
            self.input_feats = different_names("cont_feats", known if self.cont_feats is None else self.cont_feats)
        names = list(self.input_feats)
        mask = self.input_mask
        if mask is None and self.cont_subsample_rate is not None:
            mask = _drawn(names, self.cont_subsample_rate, self.guaranteed_feats or [], self.seed)
        self.input_mask = None if mask is None else _checked_mask(self.head, mask, names)
        self.cont_feats = names if self.input_mask is None else [names[i] for i in self.input_mask]
        embedder = self.cat_embedder
        if isinstance(embedder, Mapping):
            known = list(inspect.signature(CatEmbedder).parameters)[0 if "cat_szs" in embedder else 2 :]
            for name in embedder:
                if name not in known:
                    raise TypeError(f"cat_embedder has no argument {name!r}: {near(name, known)}")
            self.cat_embedder = CatEmbedder(**embedder) if "cat_szs" in embedder else dict(embedder)
        elif not isinstance(embedder, CatEmbedder | None):
            raise TypeError(f"cat_embedder must be a CatEmbedder or its arguments by name, got {embedder!r}")

    def plain(self) -> dict[str, Any]:
        """Return all fields as plain data, from which `Description` can be rebuilt.

        Raises
        ------
        TypeError
            If a part is neither plain data nor a block of lumigraph.
        """
        return {each.name: to_plain(getattr(self, each.name)) for each in fields(self)}

    @property
    def flat_names(self) -> list[str]:
        """Columns of a flat table: all continuous ones, followed by the categories."""
        categories = self.cat_embedder.cat_names if isinstance(self.cat_embedder, CatEmbedder) else []
        return [*(self.input_feats or []), *categories]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, empty without a schema."""
        return tuple(self.schema.targets) if isinstance(self.schema, EventSchema) else ()


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return arguments by name, empty for None, or raise a TypeError that names them."""
    value = {} if value is None else value
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise TypeError(f"{name} must map names to values, got {value!r}")
    return value


def _check_arguments(part: str, block: Any, args: Mapping[str, Any]) -> None:
    """Raise a TypeError if a part of a model is not a block, or does not accept an argument."""
    if isinstance(block, nn.Module) or not callable(block):
        raise TypeError(
            f"the {part} must be a class of blocks, a function that builds one, or {{block: NAME, args: {{...}}}}, got "
            f"{block!r}"
        )
    parameters = inspect.signature(block).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return  # the block checks its arguments itself
    for name in args:
        if name not in parameters:
            raise TypeError(
                f"the {part} {getattr(block, '__name__', block)} has no argument {name!r}: {near(name, parameters)}"
            )


def _of_events(head: Any) -> bool:
    return isinstance(head, type) and issubclass(head, CatEmbHead)


def _with_particles(head: Any, args: Mapping[str, Any], schema: EventSchema) -> dict[str, Any]:
    """Add the particles of the schema to the arguments of a head that needs them."""
    names = {"vecs": list(schema.slot_names), "feats_per_vec": list(schema.feats_per_vec)}
    if isinstance(head, type) and issubclass(head, AbsMatrixHead):
        return {**names, **args}
    if isinstance(head, type) and issubclass(head, MultiHead) and args.get("matrix_head") is not None:
        matrix_head = args["matrix_head"]
        if not callable(matrix_head):
            raise TypeError(
                f"matrix_head must be a head for particles or a partial of one, got {matrix_head!r}; in a file "
                "it is written as {block: InteractionNet, args: {...}}"
            )
        given = matrix_head.keywords if isinstance(matrix_head, partial) else args
        missing = {k: v for k, v in names.items() if k not in given}
        return {**args, "matrix_head": partial(matrix_head, **missing) if missing else matrix_head}
    return dict(args)


def _drawn(feats: Sequence[str], rate: float | int, guaranteed: Sequence[str], seed: int) -> list[int]:
    """Draw a fraction of the features, including the guaranteed ones, in their order."""
    check_counts(0, seed=seed)
    if not 0 < check_number("cont_subsample_rate", rate) <= 1:
        raise ValueError(f"cont_subsample_rate must be above 0 and at most 1, got {rate}")
    for name in different_names("guaranteed_feats", guaranteed):
        if name not in feats:
            raise ValueError(f"guaranteed_feats must be continuous features, got {name!r}: {near(name, feats)}")
    others = [i for i, name in enumerate(feats) if name not in guaranteed]
    wanted = max(1, round(rate * len(feats))) - (len(feats) - len(others))
    drawn = np.random.default_rng(seed).permutation(others)[: max(0, wanted)].tolist()
    return sorted({*range(len(feats))} - {*others} | {*drawn})


def _checked_mask(head: Any, mask: Sequence[int] | np.ndarray, feats: Sequence[str]) -> list[int]:
    """Return the indices of the features to use, or raise a ValueError that says why they cannot be selected."""
    if not _of_events(head):
        raise ValueError(
            "features can be selected only for head=CatEmbHead: leave columns of particles out of feats_per_vec instead"
        )
    numbers = np.ravel(mask).tolist()
    if any(not isinstance(i, int) or not 0 <= i < len(feats) for i in numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(f"input_mask must hold distinct integers from 0 to {len(feats) - 1}, got {numbers}")
    return numbers


def _scaling(given: Any) -> Scaling:
    """Return a scaling, also from the plain data of a file."""
    if isinstance(given, Scaling):
        return given
    tensors = ("mean", "std", "low", "high")
    args: dict[str, Any] = {k: torch.tensor(v) if k in tensors and v is not None else v for k, v in given.items()}
    return Scaling(**args)
