"""What a model is made of: head, body and tail with their arguments."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ..blocks import (
    AbsBody,
    AbsHead,
    AbsTail,
    CatEmbedder,
    CatEmbHead,
    ClassRegMulti,
    FullyConnected,
    lookup_act,
    lookup_normal_init,
)
from ..blocks.tail import check_objective
from ..data import EventDataset, EventStream, numbered_as
from ..events.checks import check_number
from ..events.errors import SchemaError, near
from ..events.schema import EventSchema, different_names
from ..nn.lookups import LookupAct, LookupInit
from ..nn.scaling import Scaling
from ..training.config import TrainConfig
from ..training.losses import EventLoss, event_loss
from ..training.optimiser import build_optimiser, optimiser_args
from ..training.scaling import ScalingFit, ScalingMethod
from . import model_file as saving
from .arguments import as_mapping, check_arguments, check_mask, draw_features, with_particles

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
    opt_args
        Optimiser and its arguments: ``opt`` is a class of ``torch.optim`` or its name, such as ``adam``, ``adamw`` or
        ``sgd``, the rest are its own, such as ``lr``. Without ``opt`` it is Adam, with a ``weight_decay`` AdamW.
        Without any arguments it is what `lumigraph.training.TrainConfig` says.
    cat_embedder
        The categories.
    cont_subsample_rate
        Fraction of the continuous features to use, drawn at random, as for the members of an ensemble; all if not
        given. Inputs keep all their columns, the head takes its own (``input_mask``). For `CatEmbHead` only.
    guaranteed_feats
        Features that are used in any case.
    loss
        ``auto``: binary cross-entropy, cross-entropy or squared error, by objective. Otherwise a function of
        predictions and targets that gives a loss per event (a torch loss is asked for it, ``reduction='none'``), its
        class or a partial.
    head, body, tail
        Classes of the parts.
    lookup_init, lookup_act
        Functions that give initialisation and activation by name.
    pretrain_file
        File with weights to start from, see `load_pretrained`.
    freeze_head, freeze_body, freeze_tail
        Whether a part starts untrainable.
    schema
        Columns that the model reads from files.
    input_mask
        Numbers of the features to use, instead of a random choice.
    seed
        Seed of the random choice.

    Raises
    ------
    ValueError
        If the objective, a part of ``model_args`` or an optimiser is unknown, or features cannot be chosen.
    TypeError
        If a part or the optimiser does not know an argument.

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
        cont_feats: Sequence[str] | None,
        model_args: Mapping[str, Mapping[str, Any]] | None = None,
        opt_args: Mapping[str, Any] | None = None,
        cat_embedder: CatEmbedder | None = None,
        cont_subsample_rate: float | int | None = None,
        guaranteed_feats: Sequence[str] | None = None,
        loss: Any = "auto",
        head: Callable[..., AbsHead] = CatEmbHead,
        body: Callable[..., AbsBody] = FullyConnected,
        tail: Callable[..., AbsTail] = ClassRegMulti,
        lookup_init: LookupInit = lookup_normal_init,
        lookup_act: LookupAct = lookup_act,
        pretrain_file: str | Path | None = None,
        freeze_head: bool = False,
        freeze_body: bool = False,
        freeze_tail: bool = False,
        schema: EventSchema | None = None,
        input_mask: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        self.objective = check_objective(objective)
        self.n_out = n_out
        #: names of all continuous columns of the input; ``cont_feats`` are those that are used
        self.input_feats = different_names("cont_feats", [] if cont_feats is None else cont_feats)
        if input_mask is None and cont_subsample_rate is not None:
            input_mask = draw_features(self.input_feats, cont_subsample_rate, guaranteed_feats or [], seed)
        self.input_mask = None if input_mask is None else check_mask(head, input_mask, self.input_feats)
        chosen = range(len(self.input_feats)) if self.input_mask is None else self.input_mask
        self.cont_feats = [self.input_feats[i] for i in chosen]
        self.opt_args = optimiser_args(as_mapping("opt_args", opt_args))
        self.pretrain_file = pretrain_file
        self.model_args: dict[str, dict[str, Any]] = {"head": {}, "body": {}, "tail": {}}
        for part, args in as_mapping("model_args", model_args).items():
            if part.lower() not in self.model_args:
                raise ValueError(f"model_args has no part {part!r}: {near(part, self.model_args)}")
            self.model_args[part.lower()] = dict(as_mapping(f"model_args[{part!r}]", args))
        if body is FullyConnected:
            self.model_args["body"] = {"depth": 2, "width": 100, **self.model_args["body"]}
        for part, block in (("head", head), ("body", body), ("tail", tail)):
            check_arguments(part, block, self.model_args[part])
        self.cat_embedder = cat_embedder
        self.loss = loss
        self.head, self.body, self.tail = head, body, tail
        self.lookup_init, self.lookup_act = lookup_init, lookup_act
        self.freeze_head, self.freeze_body, self.freeze_tail = freeze_head, freeze_body, freeze_tail
        if not isinstance(schema, EventSchema | None):
            raise TypeError(f"schema must be an EventSchema, got {schema!r}: EventSchema.from_dict makes one")
        self.schema = schema
        #: what is done to u and x, as measured on training events, for heads that scale their input
        self.scaling: dict[str, Scaling] = {}

    @classmethod
    def from_dataset(
        cls,
        fy: EventDataset | EventStream,
        objective: str = "classification",
        n_out: int | None = None,
        model_args: Mapping[str, Mapping[str, Any]] | None = None,
        head: Callable[..., AbsHead] = CatEmbHead,
        tail: Callable[..., AbsTail] = ClassRegMulti,
        standardise: bool = True,
        all_events: EventDataset | EventStream | None = None,
        scaling: ScalingMethod = "standard",
        transforms: Mapping[str, str] | None = None,
        clip: Mapping[str, Sequence[float | int]] | float | int | None = None,
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
            Whether features, and the target of a regression, are shifted and scaled by what these events, counted with
            their weights, say. Without it features are only transformed and clipped, if that is asked for.
        all_events
            Events from which the cardinalities of the categories are taken; the training events if not given.
        scaling, transforms, clip
            What is done to features, see `lumigraph.training.scaling.ScalingFit`; it is saved in the model.
        """
        if not isinstance(fy, EventDataset | EventStream):
            raise TypeError(
                f"fy must be an EventDataset or an EventStream, got {type(fy).__name__}: EventDataset.from_file "
                "reads one"
            )
        schema = fy.schema
        args = {part: dict(a or {}) for part, a in (model_args or {}).items()}
        args["head"] = with_particles(head, args.get("head", {}), schema)
        if not schema.targets:
            raise SchemaError("the data set has no targets: name them in the schema (targets)")
        count_classes = n_out is None and check_objective(objective) == "multiclass"
        fitted = _scales_targets(check_objective(objective), tail, args) and standardise
        fit = ScalingFit(
            schema, scaling=scaling if standardise else "none", transforms=transforms, clip=clip, targets=fitted
        )
        classes = _measure(fy, fit if fitted or not fit.idle else None, count_classes)
        if n_out is None:
            n_out = classes if count_classes else len(schema.targets)
        if fitted:
            args.setdefault("tail", {}).update(
                zip(("y_mean", "y_std"), (t.tolist() for t in fit.targets()), strict=True)
            )
        embedder = CatEmbedder.from_fy(fy if all_events is None else all_events) if schema.cat_feats else None
        kargs.setdefault("cat_embedder", embedder)
        # a head for event features alone leaves the particles of the data set aside
        flat = isinstance(head, type) and issubclass(head, CatEmbHead)
        cont_feats = schema.event_feats if flat else schema.cont_feats
        builder = cls(objective, n_out, cont_feats, model_args=args, head=head, tail=tail, schema=schema, **kargs)
        builder.scaling = fit.scaling()
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
        if self.input_mask is not None:
            cast(CatEmbHead, head).set_input_mask(self.input_mask, len(self.input_feats))
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

    def get_out_size(self) -> int:
        """Return the number of outputs."""
        return self.n_out

    def build_model(self) -> nn.Sequential:
        """Build head, body and tail as one sequence, with the weights of ``pretrain_file`` if there is one."""
        head = self.get_head()
        body = self.get_body(head.get_out_size(), head.feat_map)
        model = nn.Sequential(head, body, self.get_tail(body.get_out_size()))
        if self.pretrain_file is not None:
            self.load_pretrained(model)
        return model

    def load_pretrained(self, model: nn.Module) -> None:
        """Load the weights of ``pretrain_file``: a model saved by `lumigraph.Model.save`, or a saved state_dict.

        Only plain data is read, no code is ever run.

        Raises
        ------
        ValueError
            If the file holds something else, or its weights do not fit.
        """
        if self.pretrain_file is None:
            raise ValueError("there is no pretrain_file to load weights from: name one in ModelBuilder")
        saving.load_state(self.pretrain_file, model, saving.read_weights(self.pretrain_file))

    def get_opt_args(self) -> dict[str, Any]:
        """Return the optimiser and its arguments, or what `lumigraph.training.TrainConfig` says if none are given."""
        default = {"opt": "adamw", "lr": TrainConfig.lr, "weight_decay": TrainConfig.weight_decay}
        return dict(self.opt_args or default)

    def set_lr(self, lr: float | int) -> None:
        """Set the learning rate of optimisers that are built from now on."""
        self.opt_args = {**self.get_opt_args(), "lr": check_number("lr", lr)}

    def build_opt(self, model: nn.Module, **changes: Any) -> torch.optim.Optimizer:
        """Build an optimiser of the parameters that are trained, with some arguments changed."""
        return build_optimiser(model, {**self.get_opt_args(), **changes})

    def get_loss(self) -> EventLoss:
        """Return the loss: a function of a model, its inputs and targets (B, T) that gives one number per event."""
        return event_loss(self.objective, self.loss)

    def get_model(self) -> tuple[nn.Sequential, torch.optim.Optimizer, EventLoss, list[int] | None]:
        """Build what a training loop of one's own needs: model, optimiser, loss and the columns that are used.

        Examples
        --------
        >>> model, opt, loss, _ = ModelBuilder("regression", 1, ["ht"], opt_args={"lr": 0.01}).get_model()
        >>> loss(model, torch.zeros(3, 1), torch.ones(3, 1)).mean().backward()
        >>> opt.step()
        """
        model = self.build_model()
        return model, self.build_opt(model), self.get_loss(), self.input_mask

    @classmethod
    def from_content(cls, path: str | os.PathLike[str], content: Mapping[str, Any]) -> "ModelBuilder":
        """Return the builder of a saved model, from the content of its file as ``saving.read`` gives it."""
        builder = cls(**saving.builder_args(path, content))
        builder.scaling = saving.scaling_of(content)
        return builder

    @classmethod
    def from_model_builder(
        cls,
        model_builder: Any,
        pretrain_file: str | Path | None = None,
        freeze_head: bool = False,
        freeze_body: bool = False,
        freeze_tail: bool = False,
        loss: Any = None,
        opt_args: Mapping[str, Any] | None = None,
    ) -> "ModelBuilder":
        """Return a builder like another one, with what is given here instead.

        Parameters
        ----------
        model_builder
            A builder, a model, or the path of a saved model.
        pretrain_file, freeze_head, freeze_body, freeze_tail
            As in `ModelBuilder`; these are never taken from the other one.
        loss, opt_args
            As in `ModelBuilder`; those of the other one if not given.

        Raises
        ------
        TypeError
            If ``model_builder`` is something else.
        """
        if isinstance(model_builder, str | os.PathLike):
            known: Any = cls.from_content(model_builder, saving.read(model_builder))
        else:
            known = getattr(model_builder, "model_builder", model_builder)
        if not isinstance(known, ModelBuilder):
            raise TypeError(
                "model_builder must be a ModelBuilder, a Model or the path of a saved model, "
                f"got {type(model_builder).__name__}"
            )
        new = copy.copy(known)
        new.model_args = {part: dict(args) for part, args in known.model_args.items()}
        new.pretrain_file = pretrain_file
        new.freeze_head, new.freeze_body, new.freeze_tail = freeze_head, freeze_body, freeze_tail
        new.loss = known.loss if loss is None else loss
        new.opt_args = dict(known.opt_args) if opt_args is None else optimiser_args(opt_args)
        return new


def _scales_targets(objective: str, tail: Any, args: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a tail can learn standardised targets, and is not told itself what becomes of them."""
    told = {"y_range", "y_mean", "bias_init"} & set(args.get("tail", {}))
    return objective == "regression" and tail is ClassRegMulti and not told


def _measure(fy: EventDataset | EventStream, fit: ScalingFit | None, count_classes: bool) -> int:
    """Show the events to a fit, in one pass, and return the number of classes, 0 if it is not asked for."""
    classes = seen = 0
    for part in fy.chunks() if fit is not None or count_classes else ():
        if part.y is None:
            raise SchemaError("the events were read without their targets (labelled=False): a model learns from them")
        if count_classes:
            classes = max(classes, int(part.y.max()) + 1)
        if fit is not None:
            # it counts the events that it has seen; whoever looks for one needs its number in its file
            with fy.locating(part) if isinstance(fy, EventStream) else nullcontext(), numbered_as(-seen):
                fit.update(part)
        seen += len(part)
    return classes
