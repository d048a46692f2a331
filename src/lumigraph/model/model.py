"""Models of head, body and tail: built, trained, applied, saved and loaded."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from ..data import EventDataset, EventStream, Paths
from ..events.errors import SchemaError, near
from ..events.schema import EventSchema
from . import evaluation
from . import model_file as saving
from .built_model import BuiltModel
from .description import ModelBuilder
from .importance import ImportanceTable, permutation_importance
from .prediction import as_targets, named_scores, need_events, outputs, predict_to_file, with_targets

if TYPE_CHECKING:
    from ..export import Exported
    from ..training.config import TrainConfig

__all__ = ["Model", "ModelBuilder"]


class _OnClassOrModel:
    """A method that is called on the class or on a model, and gets whichever it was."""

    def __init__(self, function: Callable[..., "Model"]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, model: Any, owner: Any) -> Callable[..., "Model"]:
        return MethodType(self.function, owner if model is None else model)


class Model(BuiltModel):
    """A model of head, body and tail that can be trained, applied, saved and loaded.

    Parameters
    ----------
    model_builder
        What the model is made of. The model keeps a copy: models of one builder do not change each other.

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

    # ------------------------------------------------------------------------------------------------- training

    def fit(
        self,
        n_epochs: int,
        fy: EventDataset | EventStream,
        bs: int = 256,
        *,
        val: EventDataset | EventStream | None = None,
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
            Validation events; without them the last weights are kept.
        loading
            Further arguments of `EventDataset.loader` or `EventStream.loader` for the training events, such as
            ``{"max_pairs": 100_000, "bucketed": True}`` or ``{"num_workers": 2}``.
        folder
            Where checkpoints and ``history.csv`` are kept; nowhere if not given.
        resume
            Whether to go on from the last checkpoint in ``folder``, if there is one, with the same settings.
        overwrite
            Whether to replace the training that ``folder`` holds, unless it is resumed.
        config
            How to train; or
        **options
            fields of `lumigraph.training.TrainConfig`, such as ``lr=1e-3``, ``patience=5``, ``seed=1``. An ``lr`` or
            ``weight_decay`` given here comes before ``opt_args`` of the builder. Where the builder has ``opt_args``,
            ``config`` gives the learning rate if these do not, and no decay.
        logger, callbacks
            Lightning loggers and callbacks.

        Returns
        -------
        Model
            This model; ``history`` holds its training curves.

        Raises
        ------
        ValueError
            If there are no events, targets do not fit the objective, the checkpoint is of another training, or a loss
            becomes infinite or NaN.
        FileExistsError
            If ``folder`` holds a training already and neither ``resume`` nor ``overwrite`` is set.
        """
        from ..training import fit
        from ..training.config import TrainConfig

        known = [f.name for f in fields(TrainConfig)]
        for name in options:
            if name not in known:
                raise TypeError(f"fit has no option {name!r}: {near(name, known)}")
        builder = self.model_builder
        told = {name: options[name] for name in ("lr", "weight_decay") if name in options}
        if config is not None and "lr" not in builder.opt_args:
            told = {"lr": config.lr, **told}
        config = replace(config or TrainConfig(), n_epochs=n_epochs, **options)
        fy = with_targets(fy, self.objective, self.n_out)
        if val is not None:
            val = with_targets(val, self.objective, self.n_out)
        losses, loading = self.loss, {"shuffle": True, "seed": config.seed, **(loading or {})}
        limits = {name: loading[name] for name in ("max_particles", "max_pairs", "num_workers") if name in loading}

        def batch_loss(model: torch.nn.Module, batch: Batch) -> Tensor:
            return losses(model, batch, batch.y)

        self.history = fit(
            self.model,
            batch_loss,
            fy.loader(bs, **loading),
            None if val is None else val.loader(max(bs, 1024), **limits),
            config=config,
            mean_weight=fy.mean_weight(),
            optimiser=partial(builder.build_opt, **told) if builder.opt_args else None,
            folder=folder,
            resume=resume,
            overwrite=overwrite,
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
            A data set, a stream, a Batch, a flat table (tensor, array or DataFrame, categories behind the continuous
            columns), a tuple (flat, matrix), or the path of a ROOT, Parquet, HDF5 or CSV file.
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
            inputs = EventStream(inputs, self._need_schema(), labelled=False)
        out = outputs(inputs, bs, self.model, self._flat_names())
        out = torch.empty(0, self.n_out) if out is None else out
        out = out.exp() if self.objective == "multiclass" else out
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

    def predict_to_file(
        self,
        files: Paths,
        out: str | os.PathLike[str],
        *,
        columns: Literal["ids", "all"] = "ids",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write the predictions on files of any size to a file, chunk by chunk, in the order of the input.

        Parameters
        ----------
        files
            One file or several, also with ``*`` and ``?``; labels and weights are not needed.
        out
            File to write, ROOT, Parquet, HDF5 or CSV by its suffix.
        columns
            What stands beside the predictions: ``ids``, the identifiers of the schema or else the number of the event
            (``row``); or ``all`` columns of the input.
        overwrite
            Whether an existing file may be replaced.

        Returns
        -------
        dict
            ``events``, the number of events written; ``columns``, the names of the columns; ``left_out``, those of the
            input that hold no numbers, where all were asked for.

        Raises
        ------
        SchemaError
            If the input cannot be read or lacks a column. What was predicted before is kept, in a file beside
            ``out`` that the message names.
        FileExistsError
            If ``out`` exists and ``overwrite`` is not set; it is left as it is.

        Notes
        -----
        Each event of the input is written; the predictions for one that the schema does not select are NaN.
        """
        self._need_schema()
        return predict_to_file(self, files, out, columns=columns, overwrite=overwrite)

    def score_columns(self, events: EventDataset) -> dict[str, np.ndarray]:
        """Return the predictions on a data set as named columns behind the columns that identify its events.

        A classification with one output gives ``score``, with several ``score_{target}``, ``multiclass``
        ``score_{class number}``, a regression ``{target}_pred``. Events without identifiers get their number in the
        table or file that they are from, ``row``.
        """
        need_events(events)
        ids = dict(events.ids) or {"row": events.numbers}
        return {**ids, **named_scores(np.asarray(self.predict(events)), self.objective, events.schema.targets)}

    def evaluate(self, inputs: Any, targets: Any = None, weights: Any = None, bs: int = 2048) -> float:
        """Return the weighted mean of the loss over events.

        Parameters
        ----------
        inputs
            A data set or a stream (or the path of a file) with targets and weights; or any input of `predict`, with
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
        if isinstance(inputs, EventDataset | EventStream) and targets is None and weights is None:
            parts = evaluation.parts_of_events(with_targets(inputs, self.objective, self.n_out), bs, self.model)
        else:
            if isinstance(inputs, EventDataset):
                targets = inputs.y if targets is None else targets
                weights = inputs.weight if weights is None else weights
            y = as_targets(targets, self.objective, self.n_out)
            parts = evaluation.parts_of(inputs, y, weights, bs, self.model, self._flat_names())
        source = f"{inputs.name}: " if isinstance(inputs, EventStream) else ""
        return evaluation.mean_loss(self.model, self.loss, parts, source)

    def metrics(self, inputs: Any) -> dict[str, Any]:
        """Return loss and figures of merit on a data set, or a file with targets.

        For one output of a classification: AUC and background rejection at 30 % and 50 % signal efficiency; for
        ``multiclass``: accuracy; for a regression: bias and resolution of each target. Each with its uncertainty.
        """
        return evaluation.figures_of_merit(self, self._events(inputs))

    def get_feat_importance(self, fy: Any, n_repeats: int = 5, seed: int = 0) -> ImportanceTable:
        """Return by how much the loss rises, relative to what it is, when a feature is shuffled over the events.

        Parameters
        ----------
        fy
            A data set, a stream or a file with targets that the model was not trained on; read into memory.
        n_repeats
            How often each feature is shuffled; the uncertainty is that of the mean over the repeats.
        seed
            Seed of the shuffling.

        Returns
        -------
        ImportanceTable
            Event features, categories and features of particles by name, the most important first; see
            `lumigraph.model.importance.permutation_importance`, which has other metrics, and whole objects, as well.
        """
        return permutation_importance(self, self._events(fy), n_repeats=n_repeats, seed=seed)

    def _events(self, inputs: Any) -> Any:
        if isinstance(inputs, str | os.PathLike):
            return EventStream(inputs, self._need_schema())
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

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        form: Literal["padded", "flat"] = "padded",
        quantize: bool = False,
        events: Any = None,
        tolerance: float | int = 1e-5,
        overwrite: bool = False,
    ) -> "Exported":
        """Write the model as one function of plain tensors, for programs that have neither lumigraph nor Python.

        Everything goes with it, from the columns of the data (scaling, embeddings) to probabilities. The file is
        checked before it is put in place: it is opened again and compared with the model on random events, with 0, 1, 2
        and many particles, in batches of other sizes than the one that was captured.

        Parameters
        ----------
        path
            File to write: ``.onnx`` for onnxruntime and others, ``.pt2`` for torch.export, AOTInductor and libtorch.
        form
            How particles come. ``padded``: ``rows`` (events, slots, features) and ``mask`` (events, slots), in any
            number of slots. ``flat``: ``values`` (particles, features), event after event, and ``lengths`` (events,);
            the i-th particle of an event is then in slot i.
        quantize
            Whether to round matrices to int8, for ``.onnx``. The difference is reported, not limited by ``tolerance``.
        events
            A data set, a stream or a file with targets, on which model and exported file are compared as well; the
            figures of merit of both are reported.
        tolerance
            Largest difference of a probability, or of a regression relative to its largest value. Where rounding
            alone moves the model by more, which is found by computing it in float64, four times that much is allowed.
        overwrite
            Whether an existing file may be replaced.

        Returns
        -------
        Exported
            The file, what goes in and comes out, the largest difference and the sizes; printed as a few lines.

        Raises
        ------
        ValueError
            If the file does not agree with the model, or a block cannot be captured. Nothing is left behind.
        FileExistsError
            If ``path`` exists and ``overwrite`` is not set; it is left as it is.
        ImportError
            If onnx, onnxscript or onnxruntime is missing, for ``.onnx``.

        Notes
        -----
        Besides, there are ``u`` (events, G) and ``cat`` (events, C, int64) if the model has event features or
        categories. The output is (events, n_out), as of `predict`. The metadata of the file (in a ``.pt2``,
        ``lumigraph.json``) name all columns in their order, the schema and the units. What stands in a slot that the
        mask leaves out has no influence. An event that `predict` refuses (with a NaN, an unknown category, more
        particles than slots, E < abs(p)) gets NaN. Features are float32, or what the model is converted to.

        Memory is taken for all pairs of slots, also of empty ones: hand over events of similar multiplicity together.
        """
        from ..export import export_model

        return export_model(
            self, path, form=form, quantize=quantize, events=self._events(events), tolerance=tolerance,
            overwrite=overwrite,
        )  # fmt: skip

    @_OnClassOrModel
    def load(target: Any, path: str | os.PathLike[str], model_builder: ModelBuilder | None = None) -> "Model":
        """Load a saved model. The file is read as plain data: no code in it is ever run.

        ``Model.load(path)`` returns a new model, ``model.load(path)`` turns that model into the saved one.

        Parameters
        ----------
        path
            File written by `save`.
        model_builder
            What the model is made of, for a model with parts that lumigraph does not have itself. A model that is
            loaded into has it already.

        Raises
        ------
        ValueError
            If the file holds no model, or does not fit the builder.
        """
        content = saving.read(path)
        known = None if isinstance(target, type) else target
        if model_builder is None and known is not None and content["builder"] is None:
            model_builder = known.model_builder
        cls = target if known is None else type(known)
        model = cls(ModelBuilder.from_content(path, content) if model_builder is None else model_builder)
        saving.load_state(path, model.model, content["state"])
        model.history = content["history"]
        if known is None:
            return model
        vars(known).update(vars(model))
        return known

    @classmethod
    def from_save(cls, path: str | os.PathLike[str], model_builder: ModelBuilder | None = None) -> "Model":
        """Load a saved model: LUMIN's name of `load`."""
        return cls.load(path, model_builder)
