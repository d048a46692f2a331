"""Models of head, body and tail: built, trained, applied, saved and loaded."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from ..blocks import AbsBody, AbsHead, AbsTail, CatEmbHead
from ..data import EventDataset, Events, EventStream, Paths
from ..events.checks import check_counts, check_number
from ..events.errors import near
from ..events.schema import EventSchema
from ..training.losses import EventLoss
from ..training.optimiser import momentum_args
from . import evaluation, model_file, prediction
from .builder import ModelBuilder
from .importance import ImportanceTable, permutation_importance

if TYPE_CHECKING:
    from ..export import Exported
    from ..training.config import TrainConfig

__all__ = ["Model"]


class _OnClassOrModel:
    """A method of both the class and its objects, which receives the one it is called on."""

    def __init__(self, function: Callable[..., "Model"]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, model: "Model | None", owner: type["Model"]) -> Callable[..., "Model"]:
        return MethodType(self.function, owner if model is None else model)


class Model:
    """A model of head, body and tail that can be trained, applied, saved and loaded.

    Parameters
    ----------
    model_builder
        Description of the model. The model keeps a copy: models of one builder do not change each other.

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
        if not isinstance(model_builder, ModelBuilder):
            raise TypeError(
                f"model_builder must be a ModelBuilder, got {model_builder!r}; Model.load reads a saved model"
            )
        # later changes of settings must not affect other models of the same builder
        self.model_builder = copy.copy(model_builder)
        self.model = model_builder.build_model()
        self.model.eval()
        #: one list per quantity, one entry per epoch of the last training
        self.history: dict[str, list[float | int]] = {}

    # -------------------------------------------------------------------------------------------- parts and settings

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

    def __getitem__(self, key: int | str) -> nn.Module:
        """Return head, body or tail, by number or name."""
        parts = ("head", "body", "tail")
        if isinstance(key, str) and key not in parts:
            raise KeyError(f"part must be head, body or tail, got {key!r}")
        return self.model[parts.index(key) if isinstance(key, str) else key]

    @property
    def objective(self) -> str:
        """Kind of prediction: classification, multiclass or regression."""
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
        """The loss: a function of ``model``, inputs and targets (B, T) that returns one number per event."""
        return self.model_builder.get_loss()

    @property
    def opt(self) -> torch.optim.Optimizer:
        """A new optimiser with the settings of `fit`, for a custom training loop."""
        return self.model_builder.build_opt(self.model)

    @property
    def input_mask(self) -> list[int] | None:
        """Indices of the continuous columns used, None for all."""
        return self.model_builder.input_mask

    def set_input_mask(self, mask: Sequence[int] | np.ndarray, cont_feats: Sequence[str] | None = None) -> None:
        """Set the columns of the input that hold the features, for a head of event features.

        Parameters
        ----------
        mask
            Index of the column of each feature among the continuous ones.
        cont_feats
            Names of all continuous columns of the input; by default unchanged.

        Raises
        ------
        TypeError
            If the head is not a `CatEmbHead`.
        ValueError
            If the name of a column differs from that of its feature.
        """
        if not isinstance(self.head, CatEmbHead):
            raise TypeError(f"head must be a CatEmbHead to take an input mask, got {type(self.head).__name__}")
        builder = self.model_builder
        columns = list(builder.input_feats if cont_feats is None else cont_feats)
        numbers = np.ravel(mask).tolist()
        for name, i in zip(builder.cont_feats, numbers, strict=False):
            if isinstance(i, int) and 0 <= i < len(columns) and columns[i] != name:
                raise ValueError(
                    f"column {i} must be the feature {name!r} according to mask, got {columns[i]!r}: name all "
                    "continuous columns of the input in cont_feats=..."
                )
        self.head.set_input_mask(numbers, len(columns))
        builder.input_mask, builder.input_feats = numbers, columns

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all parameters."""
        return self.model.parameters()

    def get_param_count(self, trainable: bool = True) -> int:
        """Return the number of parameters: the trainable ones, or all."""
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
        """Load weights of `get_weights`; weights that do not fit raise a ValueError."""
        model_file.load_state("weights", self.model, weights)

    def get_lr(self) -> float:
        """Return the learning rate of the next training."""
        return float(self.model_builder.get_opt_args()["lr"])

    def set_lr(self, lr: float | int) -> None:
        """Set the learning rate of the next training."""
        self.model_builder.set_lr(lr)

    def get_mom(self) -> float:
        """Return the momentum of the next training; for Adam, the first beta."""
        (value,) = momentum_args(self.model_builder.get_opt_args()).values()
        return float(value[0] if isinstance(value, tuple) else value)

    def set_mom(self, mom: float | int) -> None:
        """Set the momentum of the next training; for Adam, the first beta."""
        args, mom = self.model_builder.get_opt_args(), check_number("mom", mom)
        self.model_builder.opt_args = {**args, **momentum_args(args, mom)}

    def __repr__(self) -> str:
        parts = " -> ".join(type(part).__name__ for part in self.model)
        return f"{type(self).__name__}({self.objective}: {parts}, {self.get_param_count()} parameters)"

    # ------------------------------------------------------------------------------------------------------- training

    def fit(
        self,
        n_epochs: int,
        fy: Events,
        bs: int = 256,
        *,
        val: Events | None = None,
        loading: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
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
            Validation events; without them, the last weights are kept.
        loading
            Further arguments of `EventDataset.loader` or `EventStream.loader` for the training events, such as
            ``{"pairs_per_batch": 100_000, "bucketed": True}`` or ``{"num_workers": 2}``.
        config
            Settings of the training.
        **options
            Fields of `lumigraph.training.TrainConfig` to set, such as ``lr=1e-3``, ``patience=5``, ``seed=1``.
        folder, resume, overwrite, logger, callbacks
            As in `lumigraph.training.fit`.

        Returns
        -------
        Model
            This model; ``history`` holds its training curves.

        Raises
        ------
        ValueError
            If there are no events, targets do not fit the objective, ``opt_args`` of the builder contradict the
            learning rate or the decay, the checkpoint is of another training, or a loss becomes infinite or NaN.
        FileExistsError
            If ``folder`` already holds a training and neither ``resume`` nor ``overwrite`` is set.
        """
        from ..training import fit
        from ..training.config import TrainConfig

        known = [f.name for f in fields(TrainConfig)]
        for name in options:
            if name not in known:
                raise TypeError(f"fit has no option {name!r}: {near(name, known)}")
        config = replace(config or TrainConfig(), n_epochs=n_epochs, **options)
        fy = prediction.with_targets(fy, self.model_builder)
        val = None if val is None else prediction.with_targets(val, self.model_builder)
        losses, loading = self.loss, {"shuffle": True, "seed": config.seed, **(loading or {})}
        limits = {
            name: loading[name] for name in ("particles_per_batch", "pairs_per_batch", "num_workers") if name in loading
        }

        def batch_loss(module: nn.Module, batch: Batch) -> Tensor:
            return losses(module, batch, batch.y)

        self.history = fit(
            self.model,
            batch_loss,
            fy.loader(bs, **loading),
            None if val is None else val.loader(max(bs, 1024), **limits),
            config=config,
            mean_weight=fy.mean_weight(),
            opt_args=self.model_builder.opt_args,
            folder=folder,
            resume=resume,
            overwrite=overwrite,
            logger=logger,
            callbacks=callbacks,
        )
        return self

    # ---------------------------------------------------------------------------------------- predictions and metrics

    def predict(self, inputs: Any, as_np: bool = True, bs: int = 2048) -> np.ndarray | Tensor:
        """Return the predictions, (B, n_out): probabilities for a classification, values for a regression.

        Parameters
        ----------
        inputs
            A data set, a stream, a Batch, a flat table (tensor, array or DataFrame; continuous columns, then
            categories), a tuple (flat, matrix), or the path of a ROOT, Parquet, HDF5 or CSV file.
        as_np
            Whether to return a NumPy array instead of a tensor.
        bs
            Events per pass.

        Raises
        ------
        SchemaError
            If a file lacks a column of the model's schema.
        """
        check_counts(bs=bs)
        out = prediction.predictions(self.model, self.model_builder, self._events(inputs, labelled=False), bs)
        return out.numpy() if as_np else out

    def predict_to_file(
        self,
        files: Paths,
        out: str | os.PathLike[str],
        *,
        columns: Literal["ids", "all"] = "ids",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write the predictions on files of any size to a file; see `lumigraph.model.prediction.predict_to_file`."""
        return prediction.predict_to_file(
            self.model, self.model_builder, files, out, columns=columns, overwrite=overwrite
        )

    def score_columns(self, events: EventDataset) -> dict[str, np.ndarray]:
        """Return the predictions on a data set as named columns, after the columns that identify its events.

        The names are ``score`` for a classification with one output, ``score_{target}`` with several,
        ``score_{class number}`` for ``multiclass``, ``{target}_pred`` for a regression. Events without identifiers get
        their number in their table or file, ``row``.
        """
        prediction.need_events(events)
        ids = dict(events.ids) or {"row": events.numbers}
        scores = np.asarray(self.predict(events))
        return {**ids, **prediction.named_scores(scores, self.objective, events.schema.targets)}

    def evaluate(self, inputs: Any, targets: Any = None, weights: Any = None, bs: int = 2048) -> float:
        """Return the weighted mean of the loss over events, as LUMIN does; `metrics` gives more.

        Parameters
        ----------
        inputs
            A data set or a stream (or the path of a file) with targets and weights; or any input of `predict`.
        targets, weights
            Targets (B,) or (B, T) and weights (B,) for the other inputs.
        bs
            Events per pass.

        Raises
        ------
        ValueError
            If there are no events, weights do not have a positive sum, or there are fewer targets than events.
        """
        check_counts(bs=bs)
        return evaluation.mean_loss(self.model, self.model_builder, self._events(inputs), targets, weights, bs)

    def metrics(self, inputs: Any) -> dict[str, Any]:
        """Return loss and figures of merit on a data set, or a file with targets, as ``lumigraph metrics`` prints them.

        For one output of a classification: AUC and background rejection at 30 % and 50 % signal efficiency; for
        ``multiclass``: accuracy; for a regression: bias and resolution of each target. Each has its uncertainty.
        """
        return evaluation.figures_of_merit(self.model, self.model_builder, self._events(inputs))

    def get_feat_importance(self, fy: Any, n_repeats: int = 5, seed: int = 0, **options: Any) -> ImportanceTable:
        """Return the relative rise of the loss when each feature is shuffled over the events.

        Parameters
        ----------
        fy
            A data set, a stream or a file with targets that the model was not trained on; read into memory.
        n_repeats, seed, **options
            As in `lumigraph.model.importance.permutation_importance`, which also has other metrics (``metric=auc``) and
            whole objects (``by="object"``).
        """
        return permutation_importance(
            self.model, self.model_builder, self._events(fy), n_repeats=n_repeats, seed=seed, **options
        )

    def _events(self, inputs: Any, labelled: bool = True) -> Any:
        if isinstance(inputs, str | os.PathLike):
            return EventStream(inputs, prediction.need_schema(self.model_builder), labelled=labelled)
        return inputs

    # ---------------------------------------------------------------------------------------------- saving and loading

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the model in one file: its description, schema and weights, as plain data.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is not set; it is left as it is.
        """
        return model_file.write(path, self.model_builder, self.model.state_dict(), self.history, overwrite=overwrite)

    def export(self, path: str | os.PathLike[str], *, events: Any = None, **options: Any) -> "Exported":
        """Write the model as one function of plain tensors, for programs that have neither lumigraph nor Python.

        Parameters
        ----------
        path
            File to write, ``.onnx`` or ``.pt2``.
        events, **options
            As in `lumigraph.export.export_model`; ``events`` may also be the path of a file.
        """
        from ..export import export_model

        return export_model(self.model, self.model_builder, path, events=self._events(events), **options)

    @_OnClassOrModel
    def load(
        target: "Model | type[Model]", path: str | os.PathLike[str], model_builder: ModelBuilder | None = None
    ) -> "Model":
        """Load a saved model. The file is read as plain data: no code in it is ever run.

        ``Model.load(path)`` returns a new model; ``model.load(path)`` turns that model into the saved one.

        Parameters
        ----------
        path
            File written by `save`.
        model_builder
            Description of the model, needed for custom parts that are not in lumigraph. For ``model.load(path)`` it
            defaults to that of the model.

        Raises
        ------
        ValueError
            If the file does not hold a model, or does not fit the builder.
        """
        content = model_file.read(path)
        if model_builder is None and isinstance(target, Model) and content["builder"] is None:
            model_builder = target.model_builder
        if model_builder is None:
            model_builder = ModelBuilder(**model_file.read_description(path, content))
        cls = target if isinstance(target, type) else type(target)
        model = cls(model_builder)
        model_file.load_state(path, model.model, content["state"])
        model.history = content["history"]
        if isinstance(target, type):
            return model
        vars(target).update(vars(model))
        return target

    @classmethod
    def from_save(cls, path: str | os.PathLike[str], model_builder: ModelBuilder | None = None) -> "Model":
        """Load a saved model: LUMIN's name for `load`."""
        return cls.load(path, model_builder)
