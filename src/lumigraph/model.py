"""Models of head, body and tail: built, trained, applied, saved and loaded."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from . import evaluation, saving
from . import metrics as _metrics
from .blocks import AbsBody, AbsHead, AbsTail, CatEmbHead
from .builder import ModelBuilder
from .data import EventDataset, table_to_tensor
from .losses import event_loss
from .prediction import check_targets, chunks, events_counted_from, named_scores, num_events
from .schema import EventSchema, SchemaError, near

if TYPE_CHECKING:
    from .training import TrainConfig

__all__ = ["Model", "ModelBuilder"]


class Model:
    """A model of head, body and tail that can be trained, applied, saved and loaded.

    Parameters
    ----------
    model_builder
        What the model is made of.

    Examples
    --------
    >>> from functools import partial
    >>> from lumigraph.data import load_sample
    >>> from lumigraph.blocks import InteractionNet, MultiHead
    >>> train, val, test = load_sample().split((0.6, 0.2, 0.2), seed=0)
    >>> net = partial(InteractionNet, intfunc_depth=2, intfunc_width=32, intfunc_out_sz=16, outfunc_depth=2,
    ...               outfunc_width=32, outfunc_out_sz=16, agg_method="sum")
    >>> builder = ModelBuilder.from_dataset(train, head=MultiHead, model_args={"head": {"matrix_head": net}})
    >>> model = Model(builder)
    >>> model.predict(test.batch([0, 1, 2])).shape
    (3, 1)
    """

    def __init__(self, model_builder: ModelBuilder) -> None:
        self.model_builder = model_builder
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

    @property
    def schema(self) -> EventSchema | None:
        """The columns that the model reads from files."""
        return self.model_builder.schema

    @property
    def loss(self) -> Any:
        """What is minimised, see `ModelBuilder`."""
        return self.model_builder.loss

    @property
    def opt(self) -> torch.optim.Optimizer:
        """A fresh optimiser with the settings that `fit` uses, for a training loop of one's own."""
        return self.model_builder.build_opt(self.model)

    @property
    def input_mask(self) -> list[int] | None:
        """Numbers of the continuous columns that are used, None for all."""
        return self.model_builder.input_mask

    def set_input_mask(self, mask: Sequence[int]) -> None:
        """Say which columns of the input the features of a `CatEmbHead` are, see `CatEmbHead.set_input_mask`."""
        if not isinstance(self.head, CatEmbHead):
            raise TypeError(f"only a CatEmbHead takes an input mask, the head is a {type(self.head).__name__}")
        columns = self.model_builder.input_feats
        self.head.set_input_mask(mask, len(columns))
        self.model_builder.input_mask = [int(i) for i in mask]

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
        """Take over weights of `get_weights`."""
        self.model.load_state_dict(weights)

    def get_lr(self) -> float:
        """Return the learning rate of the next training."""
        return float(self.opt.param_groups[0]["lr"])

    def set_lr(self, lr: float | int) -> None:
        """Set the learning rate of the next training."""
        self.model_builder.set_lr(lr)

    def get_mom(self) -> float:
        """Return the momentum of the next training: of Adam the first beta."""
        group = self.opt.param_groups[0]
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    def set_mom(self, mom: float | int) -> None:
        """Set the momentum of the next training: of Adam the first beta."""
        group, args = self.opt.param_groups[0], self.model_builder.get_opt_args()
        changed = {"betas": (mom, *group["betas"][1:])} if "betas" in group else {"momentum": mom}
        self.model_builder.opt_args = {**args, **changed}

    def __repr__(self) -> str:
        parts = " -> ".join(type(part).__name__ for part in self.model)
        return f"{type(self).__name__}({self.objective}: {parts}, {self.get_param_count()} parameters)"

    # ------------------------------------------------------------------------------------------------- training

    def fit(
        self,
        n_epochs: int,
        fy: EventDataset,
        bs: int = 256,
        *,
        val: EventDataset | None = None,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = False,
        config: "TrainConfig | None" = None,
        logger: Any = False,
        callbacks: Sequence[Any] = (),
        **options: Any,
    ) -> "Model":
        """Train on the events of a data set, and keep the weights with the lowest validation loss.

        Parameters
        ----------
        n_epochs
            Passes over the events.
        fy
            Training events.
        bs
            Events per batch.
        val
            Validation events; without them the last weights are kept.
        folder
            Where checkpoints and ``history.csv`` are kept; nowhere if not given.
        resume
            Whether to go on from the last checkpoint in ``folder``, if there is one.
        config
            How to train; or
        **options
            fields of `lumigraph.training.TrainConfig`, such as ``lr=1e-3``, ``patience=5``, ``seed=1``. An ``lr`` or
            ``weight_decay`` given here comes before ``opt_args`` of the builder, and that before ``config``.
        logger, callbacks
            Lightning loggers and callbacks.

        Returns
        -------
        Model
            This model; ``history`` holds its training curves.

        Raises
        ------
        ValueError
            If there are no events, targets do not fit the objective, or the loss becomes NaN.
        FileExistsError
            If ``folder`` holds a training already and ``resume`` is not set.
        """
        from .training import TrainConfig, fit

        known = [f.name for f in fields(TrainConfig)]
        for name in options:
            if name not in known:
                raise TypeError(f"fit has no option {name!r}: {near(name, known)}")
        config = replace(config or TrainConfig(), n_epochs=n_epochs, **options)
        check_targets(fy, self.objective, self.n_out)
        if val is not None:
            check_targets(val, self.objective, self.n_out)
        losses = event_loss(self.objective, self.model_builder.loss)
        told = {name: options[name] for name in ("lr", "weight_decay") if name in options}
        builder = self.model_builder
        self.history = fit(
            self.model,
            lambda model, batch: losses(model, batch, batch.y),
            fy.loader(bs, shuffle=True, seed=config.seed),
            None if val is None else val.loader(max(bs, 1024)),
            config=config,
            mean_weight=1.0 if fy.weight is None else float(fy.weight.double().mean()),
            optimiser=partial(builder.build_opt, **told) if builder.opt_args else None,
            folder=folder,
            resume=resume,
            logger=logger,
            callbacks=callbacks,
        )
        return self

    # ----------------------------------------------------------------------------------------------- prediction

    def predict(self, inputs: Any, as_np: bool = True, bs: int = 2048) -> np.ndarray | Tensor:
        """Return the predictions, (B, n_out): probabilities of a classification, values of a regression.

        Parameters
        ----------
        inputs
            A data set, a Batch, a flat table (tensor, array or DataFrame, categories behind the continuous columns),
            a tuple (flat, matrix), or the path of a ROOT, Parquet, HDF5 or CSV file.
        as_np
            Whether to return a NumPy array, not a tensor.
        bs
            Events per pass.

        Raises
        ------
        SchemaError
            If a file does not hold the columns of the model's schema.
        """
        if isinstance(inputs, str | os.PathLike):
            inputs = EventDataset.from_file(inputs, self._need_schema(), labelled=False)
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            parts: list[Tensor] = []
            for chunk in chunks(inputs, bs, self.model, self._flat_names()):
                with events_counted_from(sum(map(len, parts))):
                    parts.append(self.model(chunk))
        self.model.train(training)
        out = torch.cat(parts) if parts else torch.empty(0, self.n_out)
        out = (out.exp() if self.objective == "multiclass" else out).cpu()
        return out.numpy() if as_np else out

    def _flat_names(self) -> list[str]:
        embedder = self.model_builder.cat_embedder
        return self.model_builder.input_feats + ([] if embedder is None else embedder.cat_names)

    def _need_schema(self) -> EventSchema:
        if self.schema is None:
            raise SchemaError(
                "the model has no schema, so it cannot read files: build it with ModelBuilder(..., schema=...)"
            )
        return self.schema

    def score_columns(self, events: EventDataset) -> dict[str, np.ndarray]:
        """Return the predictions on a data set as named columns behind the columns that identify its events.

        A classification with one output gives ``score``, with several ``score_{target}``, ``multiclass``
        ``score_{class number}``, a regression ``{target}_pred``. Events without identifiers get their number, ``row``.
        """
        ids = dict(events.ids) or {"row": np.arange(len(events))}
        return {**ids, **named_scores(np.asarray(self.predict(events)), self.objective, events.schema.targets)}

    def evaluate(self, inputs: Any, targets: Any = None, weights: Any = None, bs: int = 2048) -> float:
        """Return the weighted mean of the loss over events.

        Parameters
        ----------
        inputs
            A data set (or the path of a file) with targets and weights; or any input of `predict`, with
        targets, weights
            targets (B,) or (B, T) and weights (B,) beside it.
        bs
            Events per pass.

        Raises
        ------
        ValueError
            If there are no events, weights do not add up to more than 0, or there are fewer targets than events.
        """
        inputs = self._events(inputs)
        if isinstance(inputs, EventDataset):
            check_targets(inputs, self.objective, self.n_out)
            targets = inputs.y if targets is None else targets
            weights = inputs.weight if weights is None else weights
        y = table_to_tensor(targets).to(torch.get_default_dtype())
        y = y.unsqueeze(1) if y.dim() == 1 else y
        w = torch.ones(len(y)) if weights is None else table_to_tensor(weights).flatten()
        if not float(w.double().sum()) > 0:
            raise ValueError(f"nothing can be evaluated on {len(y)} events with a total weight of {float(w.sum()):g}")
        loss = event_loss(self.objective, self.model_builder.loss)
        total, start = 0.0, 0
        self.model.eval()
        with torch.no_grad():
            for chunk in chunks(inputs, bs, self.model, self._flat_names()):
                size = num_events(chunk)
                step = slice(start, start + size)
                if len(y[step]) != size:
                    raise ValueError(f"there are more events than the {len(y)} targets")
                with events_counted_from(start):
                    losses = loss(self.model, chunk, y[step]).cpu().double()
                total += float((losses * w[step]).sum())
                start += size
        if start != len(y):
            raise ValueError(f"there are {start} events, but {len(y)} targets")
        return total / float(w.double().sum())

    def metrics(self, inputs: Any) -> dict[str, Any]:
        """Return loss and figures of merit on a data set, or a file with targets.

        For one output of a classification: AUC and background rejection at 30 % and 50 % signal efficiency; for
        ``multiclass``: accuracy; for a regression: bias and resolution of each target. Each with its uncertainty.
        """
        return evaluation.figures_of_merit(self, self._events(inputs))

    def get_feat_importance(self, fy: Any, n_repeats: int = 5, seed: int = 0) -> dict[str, _metrics.Estimate]:
        """Return by how much the loss rises, relative to what it is, when a feature is shuffled over the events.

        Parameters
        ----------
        fy
            A data set or a file with targets, that the model was not trained on.
        n_repeats
            How often each feature is shuffled; the uncertainty is that of the mean over the repeats.
        seed
            Seed of the shuffling.

        Returns
        -------
        dict
            Event features, categories and features of particles by name, the most important first. A feature of
            particles is shuffled over the particles of all events.
        """
        return evaluation.feature_importance(self, self._events(fy), n_repeats, seed)

    def _events(self, inputs: Any) -> Any:
        if isinstance(inputs, str | os.PathLike):
            return EventDataset.from_file(inputs, self._need_schema())
        return inputs

    # ----------------------------------------------------------------------------------------- saving and loading

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the model in one file: what it is made of, its schema and its weights, as plain data.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is not set; it is left as it is.
        """
        return saving.write(path, self.model_builder, self.model.state_dict(), self.history, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model_builder: ModelBuilder | None = None) -> "Model":
        """Load a saved model. The file is read as plain data: no code in it is ever run.

        Parameters
        ----------
        path
            File written by `save`.
        model_builder
            What the model is made of, for a model with parts that lumigraph does not have itself.

        Raises
        ------
        ValueError
            If the file holds no model, or does not fit the builder.
        """
        content = saving.read(path)
        model = cls(saving.builder_of(path, content) if model_builder is None else model_builder)
        saving.load_state(path, model.model, content["state"])
        model.history = content["history"]
        return model

    @classmethod
    def from_save(cls, path: str | os.PathLike[str], model_builder: ModelBuilder | None = None) -> "Model":
        """Load a saved model: LUMIN's name of `load`."""
        return cls.load(path, model_builder)
