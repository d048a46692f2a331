"""Models of head, body and tail: built, trained, applied, saved and loaded."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from . import metrics as _metrics
from . import saving
from .blocks import AbsBody, AbsHead, AbsTail
from .builder import ModelBuilder
from .data import EventDataset, table_to_tensor
from .losses import event_loss
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

    def get_param_count(self, trainable: bool = True) -> int:
        """Return the number of parameters: those that are trained, or all of them."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad or not trainable)

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
            fields of `lumigraph.training.TrainConfig`, such as ``lr=1e-3``, ``patience=5``, ``seed=1``.
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
        self._check_targets(fy)
        if val is not None:
            self._check_targets(val)
        losses = event_loss(self.objective, self.model_builder.loss)
        self.history = fit(
            self.model,
            lambda model, batch: losses(model, batch, batch.y),
            fy.loader(bs, shuffle=True, seed=config.seed),
            None if val is None else val.loader(max(bs, 1024)),
            config=config,
            mean_weight=1.0 if fy.weight is None else float(fy.weight.double().mean()),
            folder=folder,
            resume=resume,
            logger=logger,
            callbacks=callbacks,
        )
        return self

    def _check_targets(self, fy: EventDataset) -> None:
        if fy.y is None:
            raise SchemaError("the data set has no targets: name them in the schema (targets)")
        columns = 1 if self.objective == "multiclass" else self.n_out
        if fy.y.size(1) != columns:
            raise SchemaError(
                f"the data set has {fy.y.size(1)} targets {list(fy.schema.targets)}, the model needs {columns}"
            )
        if self.objective != "regression":
            largest = self.n_out - 1 if self.objective == "multiclass" else 1
            bad = (fy.y < 0) | (fy.y > largest) | (fy.y != fy.y.round())
            if bool(bad.any()):
                raise SchemaError(
                    f"target {float(fy.y[bad][0]):g} is no label of a {self.objective}: labels are whole numbers from "
                    f"0 to {largest}"
                )

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
            for chunk in self._chunks(inputs, bs):
                with _events_counted_from(sum(map(len, parts))):
                    parts.append(self.model(chunk))
        self.model.train(training)
        out = torch.cat(parts) if parts else torch.empty(0, self.n_out)
        out = (out.exp() if self.objective == "multiclass" else out).cpu()
        return out.numpy() if as_np else out

    def _chunks(self, inputs: Any, bs: int) -> Iterator[Any]:
        """Yield parts of any form of input, of so many events each."""
        parameter = next(self.model.parameters(), torch.empty(0))
        device, dtype = parameter.device, parameter.dtype
        if isinstance(inputs, EventDataset):
            for start in range(0, len(inputs), bs):
                yield inputs.batch(range(start, min(start + bs, len(inputs)))).to(device)
        elif isinstance(inputs, Data):
            yield inputs.to(device)
        elif isinstance(inputs, tuple | list):
            flat = None if inputs[0] is None else table_to_tensor(inputs[0]).to(device, dtype)
            matrix = table_to_tensor(inputs[1]).to(device, dtype)
            if flat is not None and len(flat) != len(matrix):
                raise ValueError(f"the flat part has {len(flat)} events, but the matrix has {len(matrix)}")
            for start in range(0, len(matrix), bs):
                yield (None if flat is None else flat[start : start + bs], matrix[start : start + bs])
        else:
            table = table_to_tensor(inputs, self._flat_names()).to(device, dtype)
            for start in range(0, len(table), bs):
                yield table[start : start + bs]

    def _flat_names(self) -> list[str]:
        embedder = self.model_builder.cat_embedder
        return self.model_builder.cont_feats + ([] if embedder is None else embedder.cat_names)

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
        out = np.asarray(self.predict(events))
        targets = events.schema.targets if len(events.schema.targets) == self.n_out else range(self.n_out)
        names = [f"{t}_pred" if self.objective == "regression" else f"score_{t}" for t in targets]
        if self.objective == "multiclass":
            names = [f"score_{i}" for i in range(self.n_out)]
        elif self.objective == "classification" and self.n_out == 1:
            names = ["score"]
        return {**ids, **{name: out[:, i] for i, name in enumerate(names)}}

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
        if isinstance(inputs, str | os.PathLike):
            inputs = EventDataset.from_file(inputs, self._need_schema())
        if isinstance(inputs, EventDataset):
            self._check_targets(inputs)
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
            for chunk in self._chunks(inputs, bs):
                size = _num_events(chunk)
                step = slice(start, start + size)
                if len(y[step]) != size:
                    raise ValueError(f"there are more events than the {len(y)} targets")
                with _events_counted_from(start):
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
        if isinstance(inputs, str | os.PathLike):
            inputs = EventDataset.from_file(inputs, self._need_schema())
        found: dict[str, Any] = {"events": len(inputs), "loss": self.evaluate(inputs)}
        y = inputs.y.numpy()
        w = None if inputs.weight is None else inputs.weight.numpy()
        out = np.asarray(self.predict(inputs))
        if self.objective == "multiclass":
            found["accuracy"] = _metrics.accuracy(y[:, 0], out, w)
        for i in range(self.n_out if self.objective != "multiclass" else 0):
            suffix = f" {inputs.schema.targets[i]}" if self.n_out > 1 else ""
            if self.objective == "regression":
                found[f"bias{suffix}"], found[f"resolution{suffix}"] = _metrics.resolution(y[:, i], out[:, i], w)
            else:
                found[f"auc{suffix}"] = _metrics.auc(y[:, i], out[:, i], w)
                for efficiency in (0.3, 0.5):
                    rejection = _metrics.background_rejection(y[:, i], out[:, i], efficiency, w)
                    found[f"rejection at {efficiency:.0%}{suffix}"] = rejection
        return found

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


@contextmanager
def _events_counted_from(start: int) -> Iterator[None]:
    """Let an error about an event of a chunk name its number in the whole input."""
    try:
        yield
    except ValueError as error:
        shifted = re.sub(r"^event (\d+)", lambda found: f"event {start + int(found[1])}", str(error))
        raise ValueError(shifted) from None


def _num_events(chunk: Any) -> int:
    if isinstance(chunk, Data):
        return int(chunk.num_graphs)
    return len(chunk[1]) if isinstance(chunk, tuple) else len(chunk)
