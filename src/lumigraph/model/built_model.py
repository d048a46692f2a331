"""What a built model consists of: parts, weights, and the settings of its training."""

import copy
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..blocks import AbsBody, AbsHead, AbsTail, CatEmbHead
from ..events.checks import check_number
from ..events.schema import EventSchema
from ..training.losses import EventLoss
from ..training.optimiser import momentum_args, settings
from . import model_file as saving
from .description import ModelBuilder

__all__ = ["BuiltModel"]


class BuiltModel:
    """Head, body and tail as a builder makes them; `lumigraph.Model` trains and applies them.

    Parameters
    ----------
    model_builder
        What the model is made of.
    """

    def __init__(self, model_builder: ModelBuilder) -> None:
        if not isinstance(model_builder, ModelBuilder):
            raise TypeError(
                f"model_builder must be a ModelBuilder, got {model_builder!r}; Model.load reads a saved model"
            )
        # settings that change later must not reach other models of the same builder
        self.model_builder = copy.copy(model_builder)
        self.model = model_builder.build_model()
        self.model.eval()
        #: one list per quantity, one entry per epoch of the last training
        self.history: dict[str, list[float | int]] = {}

    @property
    def head(self) -> AbsHead:
        """The input side."""
        return self.model[0]  # type: ignore[return-value]

    @property
    def body(self) -> AbsBody:
        """The hidden layers."""
        return self.model[1]  # type: ignore[return-value]

    @property
    def tail(self) -> AbsTail:
        """The output side."""
        return self.model[2]  # type: ignore[return-value]

    @property
    def objective(self) -> str:
        """What is predicted: classification, multiclass or regression."""
        return self.model_builder.objective

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.model_builder.n_out

    def get_out_size(self) -> int:
        """Return the number of outputs."""
        return self.n_out

    @property
    def schema(self) -> EventSchema | None:
        """The columns that the model reads from files."""
        return self.model_builder.schema

    @property
    def loss(self) -> EventLoss:
        """What is minimised: a function of ``model``, inputs and targets (B, T) that gives one number per event."""
        return self.model_builder.get_loss()

    @property
    def opt(self) -> torch.optim.Optimizer:
        """A fresh optimiser with the settings that `fit` uses, for a training loop of one's own."""
        return self.model_builder.build_opt(self.model)

    @property
    def input_mask(self) -> list[int] | None:
        """Numbers of the continuous columns that are used, None for all."""
        return self.model_builder.input_mask

    def set_input_mask(self, mask: Sequence[int] | np.ndarray, cont_feats: Sequence[str] | None = None) -> None:
        """Say in which columns of the input the features are from now on, for a head of event features.

        Parameters
        ----------
        mask
            Number of the column of each feature, among the continuous ones.
        cont_feats
            Names of all continuous columns of the input; those known so far if not given.

        Raises
        ------
        TypeError
            If the head is no `CatEmbHead`.
        ValueError
            If a column has another name than its feature.
        """
        if not isinstance(self.head, CatEmbHead):
            raise TypeError(f"only a CatEmbHead takes an input mask, the head is a {type(self.head).__name__}")
        builder = self.model_builder
        columns = list(builder.input_feats if cont_feats is None else cont_feats)
        numbers = np.ravel(mask).tolist()
        for name, i in zip(builder.cont_feats, numbers, strict=False):
            if isinstance(i, int) and 0 <= i < len(columns) and columns[i] != name:
                raise ValueError(
                    f"mask says that the feature {name!r} is in column {i}, but that is {columns[i]!r}: cont_feats=... "
                    "names all continuous columns of the input"
                )
        self.head.set_input_mask(numbers, len(columns))
        builder.input_mask, builder.input_feats = numbers, columns

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all parameters."""
        return self.model.parameters()

    def __getitem__(self, key: int | str) -> nn.Module:
        """Return head, body or tail, by number or name."""
        parts = ("head", "body", "tail")
        if isinstance(key, str) and key not in parts:
            raise KeyError(f"a model has head, body and tail, no {key!r}")
        return self.model[parts.index(key) if isinstance(key, str) else key]

    def get_param_count(self, trainable: bool = True) -> int:
        """Return the number of parameters: those that are trained, or all of them."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad or not trainable)

    def freeze_layers(self) -> None:
        """Stop the training of all parameters."""
        self.model.requires_grad_(False)

    def unfreeze_layers(self) -> None:
        """Resume the training of all parameters."""
        self.model.requires_grad_(True)

    def get_weights(self) -> dict[str, Tensor]:
        """Return a copy of all weights, for `set_weights`."""
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights of `get_weights`; those of another model are a ValueError."""
        saving.load_state("weights", self.model, weights)

    def get_lr(self) -> float:
        """Return the learning rate of the next training."""
        return float(settings(self.model_builder.get_opt_args())["lr"])

    def set_lr(self, lr: float | int) -> None:
        """Set the learning rate of the next training."""
        self.model_builder.set_lr(lr)

    def get_mom(self) -> float:
        """Return the momentum of the next training: of Adam the first beta."""
        (value,) = momentum_args(self.model_builder.get_opt_args()).values()
        return float(value[0] if isinstance(value, tuple) else value)

    def set_mom(self, mom: float | int) -> None:
        """Set the momentum of the next training: of Adam the first beta."""
        args, mom = self.model_builder.get_opt_args(), check_number("mom", mom)
        self.model_builder.opt_args = {**args, **momentum_args(args, mom)}

    def __repr__(self) -> str:
        parts = " -> ".join(type(part).__name__ for part in self.model)
        return f"{type(self).__name__}({self.objective}: {parts}, {self.get_param_count()} parameters)"
