"""What a model is made of: head, body and tail with their arguments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import (
    AbsBody,
    AbsHead,
    AbsMatrixHead,
    AbsTail,
    CatEmbedder,
    CatEmbHead,
    ClassRegMulti,
    FullyConnected,
    MultiHead,
    lookup_act,
    lookup_normal_init,
)
from .blocks.tail import check_objective
from .data import EventDataset
from .nn.lookups import LookupAct, LookupInit
from .schema import EventSchema, SchemaError, near

__all__ = ["ModelBuilder"]


class ModelBuilder:
    """Say what a model is made of, and build it.

    Parameters
    ----------
    objective
        ``classification`` (a probability per output), ``multiclass`` or ``regression``.
    n_out
        Number of outputs.
    cont_feats
        Names of all continuous inputs, those of particles included.
    model_args
        Further arguments of the parts: ``{"head": {...}, "body": {...}, "tail": {...}}``.
    cat_embedder
        The categories.
    loss
        ``auto``: binary cross-entropy, cross-entropy or squared error, by objective. Otherwise a function of
        predictions and targets that gives a loss per event (a torch loss is asked for it, ``reduction='none'``), its
        class or a partial.
    head, body, tail
        Classes of the parts.
    lookup_init, lookup_act
        Functions that give initialisation and activation by name.
    freeze_head, freeze_body, freeze_tail
        Whether a part starts untrainable.
    schema
        Columns that the model reads from files.

    Raises
    ------
    ValueError
        If the objective or a part of ``model_args`` is unknown.

    Examples
    --------
    >>> builder = ModelBuilder("classification", 1, ["ht", "met"], model_args={"body": {"depth": 2, "width": 8}})
    >>> builder.build_model()(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """

    def __init__(
        self,
        objective: str,
        n_out: int,
        cont_feats: Sequence[str],
        model_args: Mapping[str, Mapping[str, Any]] | None = None,
        cat_embedder: CatEmbedder | None = None,
        loss: Any = "auto",
        head: Callable[..., AbsHead] = CatEmbHead,
        body: Callable[..., AbsBody] = FullyConnected,
        tail: Callable[..., AbsTail] = ClassRegMulti,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        freeze_head: bool = False,
        freeze_body: bool = False,
        freeze_tail: bool = False,
        schema: EventSchema | None = None,
    ) -> None:
        self.objective = check_objective(objective)
        self.n_out, self.cont_feats = n_out, list(cont_feats)
        self.model_args: dict[str, dict[str, Any]] = {"head": {}, "body": {}, "tail": {}}
        for part, args in (model_args or {}).items():
            if part.lower() not in self.model_args:
                raise ValueError(f"model_args has no part {part!r}: {near(part, self.model_args)}")
            self.model_args[part.lower()] = dict(args or {})
        if body is FullyConnected:
            self.model_args["body"] = {"depth": 2, "width": 100, **self.model_args["body"]}
        for part, block in (("head", head), ("body", body), ("tail", tail)):
            _check_arguments(part, block, self.model_args[part])
        self.cat_embedder = cat_embedder
        self.loss = loss
        self.head, self.body, self.tail = head, body, tail
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.freeze_head, self.freeze_body, self.freeze_tail = freeze_head, freeze_body, freeze_tail
        self.schema = schema
        #: mean and standard deviation of u and x on training events, for heads that standardise their input
        self.scaling: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def from_dataset(
        cls,
        fy: EventDataset,
        objective: str = "classification",
        n_out: int | None = None,
        model_args: Mapping[str, Mapping[str, Any]] | None = None,
        head: Callable[..., AbsHead] = CatEmbHead,
        tail: Callable[..., AbsTail] = ClassRegMulti,
        standardise: bool = True,
        all_events: EventDataset | None = None,
        **kargs: Any,
    ) -> "ModelBuilder":
        """Take names, categories, scales and number of outputs from training events.

        Parameters
        ----------
        fy
            Training events.
        objective, model_args, head, tail, **kargs
            As in `ModelBuilder`. A head for particles gets ``vecs`` and ``feats_per_vec`` from the schema.
        n_out
            Number of outputs; by default the number of targets, for ``multiclass`` one more than the largest label.
        standardise
            Whether features, and the target of a regression, are standardised with the moments of these events.
        all_events
            Events from which the cardinalities of the categories are taken; the training events if not given.
        """
        schema = fy.schema
        args = {part: dict(a or {}) for part, a in (model_args or {}).items()}
        args["head"] = _with_particles(head, args.get("head", {}), schema)
        if fy.y is None:
            raise SchemaError("the data set has no targets: name them in the schema (targets)")
        if n_out is None:
            n_out = int(fy.y.max()) + 1 if check_objective(objective) == "multiclass" else fy.y.size(1)
        if check_objective(objective) == "regression" and standardise and tail is ClassRegMulti:
            given = args.setdefault("tail", {})
            if not {"y_range", "y_mean", "bias_init"} & set(given):
                mean, std = fy.moments("y")
                given |= {"y_mean": mean.tolist(), "y_std": torch.where(std > 0, std, 1.0).tolist()}
        embedder = CatEmbedder.from_fy(fy if all_events is None else all_events) if schema.cat_feats else None
        kargs.setdefault("cat_embedder", embedder)
        # a head for event features alone leaves the particles of the data set aside
        flat = isinstance(head, type) and issubclass(head, CatEmbHead)
        cont_feats = schema.event_feats if flat else schema.cont_feats
        builder = cls(objective, n_out, cont_feats, model_args=args, head=head, tail=tail, schema=schema, **kargs)
        if standardise:
            builder.scaling = {field: fy.moments(field) for field in ("u", "x") if getattr(fy, field) is not None}
        return builder

    def get_head(self) -> AbsHead:
        """Build the head."""
        head = self.head(
            cont_feats=self.cont_feats,
            cat_embedder=self.cat_embedder,
            lookup_init=self.lookup_init,
            freeze=self.freeze_head,
            **self.model_args["head"],
        )
        head.set_scaling(**self.scaling)
        return head

    def get_body(self, n_in: int, feat_map: Mapping[str, Sequence[int]]) -> AbsBody:
        """Build the body behind a head."""
        return self.body(
            n_in=n_in,
            feat_map=feat_map,
            lookup_init=self.lookup_init,
            lookup_act=self.lookup_act,
            freeze=self.freeze_body,
            **self.model_args["body"],
        )

    def get_tail(self, n_in: int) -> AbsTail:
        """Build the tail behind a body."""
        return self.tail(
            n_in=n_in,
            n_out=self.n_out,
            objective=self.objective,
            lookup_init=self.lookup_init,
            freeze=self.freeze_tail,
            **self.model_args["tail"],
        )

    def build_model(self) -> nn.Sequential:
        """Build head, body and tail as one sequence."""
        head = self.get_head()
        body = self.get_body(head.get_out_size(), head.feat_map)
        return nn.Sequential(head, body, self.get_tail(body.get_out_size()))


def _check_arguments(part: str, block: Callable[..., Any], args: Mapping[str, Any]) -> None:
    parameters = inspect.signature(block).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return  # the block itself knows better
    for name in args:
        if name not in parameters:
            raise TypeError(
                f"the {part} {getattr(block, '__name__', block)} has no argument {name!r}: {near(name, parameters)}"
            )


def _with_particles(head: Callable[..., Any], args: Mapping[str, Any], schema: EventSchema) -> dict[str, Any]:
    """Add the particles of the schema to the arguments of a head that needs them."""
    if not schema.objects:
        return dict(args)
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
        return {**args, "matrix_head": partial(matrix_head, **missing)}
    return dict(args)
