"""Models built from their description."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..blocks import AbsBody, AbsHead, AbsTail, CatEmbedder, CatEmbHead
from ..data import Events
from ..events.checks import check_number
from ..events.errors import SchemaError
from ..events.schema import EventSchema
from ..nn.scaling import Scaling
from ..training.config import TrainConfig
from ..training.losses import EventLoss, event_loss
from ..training.optimiser import build_optimiser, optimiser_args, optimiser_of_training
from . import model_file
from .description import Description
from .measuring import measured, scaling_fit

__all__ = ["ModelBuilder"]


class ModelBuilder(Description):
    """Describe a model and build it.

    Parameters
    ----------
    objective, n_out, cont_feats, **description
        See `lumigraph.model.description.Description`.

    Examples
    --------
    >>> builder = ModelBuilder("classification", 1, ["ht", "met"], model_args={"body": {"depth": 2, "width": 8}})
    >>> builder.build_model()(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """

    # the types of the fields after `Description.__post_init__`
    n_out: int
    cont_feats: list[str]
    input_feats: list[str]
    input_mask: list[int] | None
    model_args: dict[str, dict[str, Any]]
    opt_args: dict[str, Any]
    cat_embedder: CatEmbedder | Any  # a mapping until its names and cardinalities are known
    schema: EventSchema | None
    scales: dict[str, Scaling]

    @classmethod
    def from_schema(
        cls, schema: EventSchema, objective: str = "classification", n_out: int | None = None, **description: Any
    ) -> "ModelBuilder":
        """Describe a model for events of a schema, and check it by building its parts from the schema alone.

        `lumigraph.model.measuring.measured` adds later what can only be measured on events.

        Raises
        ------
        SchemaError
            If the schema has no targets, or lacks a feature named by a setting.
        ValueError, TypeError
            If a part cannot be built.
        """
        if not schema.targets:
            raise SchemaError("the data set has no targets: name them in the schema (targets)")
        builder = cls(objective, n_out, None, schema=schema, **description)
        builder.check()
        return builder

    @classmethod
    def from_dataset(
        cls,
        fy: Events,
        objective: str = "classification",
        n_out: int | None = None,
        *,
        all_events: Events | Sequence[Events] = (),
        **description: Any,
    ) -> "ModelBuilder":
        """Describe a model for training events, and take categories, scales and number of outputs from them.

        Parameters
        ----------
        fy
            Training events, read once.
        objective, n_out, **description
            See `lumigraph.model.description.Description`. Features, and the target of a regression, are shifted and
            scaled by weighted statistics of the training events.
        all_events
            Further events whose categories the model must know, such as those for validation and test.
        """
        if not isinstance(fy, Events):
            raise TypeError(
                f"fy must be an EventDataset or an EventStream, got {type(fy).__name__}: EventDataset.from_file "
                "reads one"
            )
        builder = cls.from_schema(fy.schema, objective, n_out, **description)
        return measured(builder, fy, [all_events] if isinstance(all_events, Events) else all_events)

    def check(self) -> None:
        """Raise an error if a part cannot be built, with small stand-ins for what is measured on events."""
        trial = copy.copy(self)
        trial.n_out = 2 if self.n_out is None else self.n_out
        if self.schema is not None:
            trial.scales = scaling_fit(self).scaling()
            if self.schema.cat_feats and not isinstance(self.cat_embedder, CatEmbedder):
                names, widths = self.schema.cat_feats, dict(self.cat_embedder or {})
                trial.cat_embedder = CatEmbedder(names, [2] * len(names), **{**widths, "emb_load_path": None})
        if self.pretrain_file is not None:
            model_file.read_weights(self.pretrain_file)
            trial.pretrain_file = None
        with torch.random.fork_rng(devices=[]):
            trial.build_model()
            build_optimiser(nn.Linear(1, 1), self.get_opt_args())

    def get_head(self) -> AbsHead:
        """Build the head."""
        head = self._part("head")(
            cont_feats=self.cont_feats,
            cat_embedder=self.cat_embedder,
            lookup_init=self.lookup_init,
            freeze=self.freeze_head,
            **self.model_args["head"],
        )
        if self.input_mask is not None:
            cast(CatEmbHead, head).set_input_mask(self.input_mask, len(self.input_feats))
        head.set_scaling(**self.scales)
        return head

    def get_body(self, n_in: int, feat_map: Mapping[str, Sequence[int]]) -> AbsBody:
        """Build the body that follows a head."""
        return self._part("body")(
            n_in=n_in,
            feat_map=feat_map,
            lookup_init=self.lookup_init,
            lookup_act=self.lookup_act,
            freeze=self.freeze_body,
            **self.model_args["body"],
        )

    def get_tail(self, n_in: int) -> AbsTail:
        """Build the tail that follows a body."""
        return self._part("tail")(
            n_in=n_in,
            n_out=self.n_out,
            objective=self.objective,
            lookup_init=self.lookup_init,
            freeze=self.freeze_tail,
            **self.model_args["tail"],
        )

    def _part(self, name: str) -> Any:
        return getattr(self, name)

    def get_out_size(self) -> int:
        """Return the number of outputs."""
        return self.n_out

    def build_model(self) -> nn.Sequential:
        """Build head, body and tail as one sequence, with the weights of ``pretrain_file`` if there is one."""
        if self.n_out is None:
            raise ValueError("n_out must be a number of outputs, got None: give it, or use ModelBuilder.from_dataset")
        head = self.get_head()
        body = self.get_body(head.get_out_size(), head.feat_map)
        model = nn.Sequential(head, body, self.get_tail(body.get_out_size()))
        if self.pretrain_file is not None:
            self.load_pretrained(model)
        return model

    def load_pretrained(self, model: nn.Module) -> None:
        """Load the weights of ``pretrain_file``: a model saved by `lumigraph.Model.save`, or a saved state_dict.

        Only plain data is read; no code is ever run.

        Raises
        ------
        ValueError
            If the file holds something else, or its weights do not fit.
        """
        if self.pretrain_file is None:
            raise ValueError("there is no pretrain_file to load weights from: name one in ModelBuilder")
        model_file.load_state(self.pretrain_file, model, model_file.read_weights(self.pretrain_file))

    def get_opt_args(self) -> dict[str, Any]:
        """Return the optimiser and its arguments, with the defaults of `TrainConfig`."""
        return optimiser_of_training(self.opt_args, TrainConfig())

    def set_lr(self, lr: float | int) -> None:
        """Set the learning rate of optimisers built from now on."""
        self.opt_args = {**self.get_opt_args(), "lr": check_number("lr", lr)}

    def build_opt(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build an optimiser of the trainable parameters."""
        return build_optimiser(model, self.get_opt_args())

    def get_loss(self) -> EventLoss:
        """Return the loss: a function of a model, its inputs and targets (B, T) that returns one number per event."""
        return event_loss(self.objective, self.loss)

    def get_model(self) -> tuple[nn.Sequential, torch.optim.Optimizer, EventLoss, list[int] | None]:
        """Build what a custom training loop needs: model, optimiser, loss and the columns used.

        Examples
        --------
        >>> model, opt, loss, _ = ModelBuilder("regression", 1, ["ht"], opt_args={"lr": 0.01}).get_model()
        >>> loss(model, torch.zeros(3, 1), torch.ones(3, 1)).mean().backward()
        >>> opt.step()
        """
        model = self.build_model()
        return model, self.build_opt(model), self.get_loss(), self.input_mask

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
        """Return a copy of a builder with the settings given here.

        Parameters
        ----------
        model_builder
            A builder, a model, or the path of a saved model.
        pretrain_file, freeze_head, freeze_body, freeze_tail
            As in `ModelBuilder`; never taken from the other builder.
        loss, opt_args
            As in `ModelBuilder`; by default those of the other builder.

        Raises
        ------
        TypeError
            If ``model_builder`` is something else.
        """
        if isinstance(model_builder, str | os.PathLike):
            known: Any = cls(**model_file.read_description(model_builder))
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
