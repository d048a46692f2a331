"""What goes into a model, in parts of so many events, and what comes out, by name."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ..blocks.block import evaluating
from ..blocks.heads.abs_head import pair
from ..data import ColumnWriter, EventDataset, EventStream, check_writable, numbered_as, split_path, table_to_tensor
from ..events.checks import check_counts
from ..events.errors import SchemaError
from ..events.particles import check_matrix

__all__ = [
    "as_targets",
    "chunks",
    "named_scores",
    "need_events",
    "num_events",
    "outputs",
    "predict_to_file",
    "with_targets",
]


def chunks(inputs: Any, bs: int, model: nn.Module, names: Sequence[str]) -> Iterator[Any]:
    """Yield parts of so many events each, on the device of a model and in its precision.

    Parameters
    ----------
    inputs
        A data set or a stream, a Batch (as it is), a tuple (flat, matrix) or a flat table.
    bs
        Events per part.
    model
        Model that will take them.
    names
        Columns of a flat table, by which they are found in a DataFrame.

    Examples
    --------
    >>> [len(part) for part in chunks(torch.zeros(5, 2), 2, nn.Linear(2, 1), ["ht", "met"])]
    [2, 2, 1]
    """
    check_counts(bs=bs)
    parameter = next(model.parameters(), torch.empty(0))
    device, dtype = parameter.device, parameter.dtype
    if isinstance(inputs, EventDataset | EventStream):
        for part in inputs.chunks(bs):
            yield part.batch().to(device)
    elif isinstance(inputs, Data):
        yield inputs.to(device)
    elif isinstance(inputs, tuple | list):
        first, second = pair(inputs)
        flat = None if first is None else table_to_tensor(first).to(device, dtype)
        matrix = table_to_tensor(second).to(device, dtype)
        check_matrix(matrix, "of the shape with three axes, events first")
        if flat is not None and len(flat) != len(matrix):
            raise ValueError(f"the flat part has {len(flat)} events, but the matrix has {len(matrix)}")
        for start in range(0, len(matrix), bs):
            yield (None if flat is None else flat[start : start + bs], matrix[start : start + bs])
    else:
        table = table_to_tensor(inputs, names).to(device, dtype)
        if table.dim() != 2:
            raise ValueError(f"a flat table must have the shape (events, columns), got {tuple(table.shape)}")
        for start in range(0, len(table), bs):
            yield table[start : start + bs]


def outputs(inputs: Any, bs: int, model: nn.Module, names: Sequence[str]) -> Tensor | None:
    """Return what a model gives for all events, or None if there are none; arguments as of `chunks`."""
    check_counts(bs=bs)
    parts: list[Tensor] = []
    if isinstance(inputs, EventStream):
        for events in inputs.chunks(bs):
            with inputs.locating(events):
                found = outputs(events, bs, model, names)
            parts += [] if found is None else [found]
        return torch.cat(parts) if parts else None
    with evaluating(model):
        for chunk in chunks(inputs, bs, model, names):
            with numbered_as(sum(map(len, parts))):
                parts.append(model(chunk))
    return torch.cat(parts).cpu() if parts else None


def num_events(part: Any) -> int:
    """Return the number of events of a part."""
    if isinstance(part, Data):
        return int(part.num_graphs)
    return len(part[1]) if isinstance(part, tuple) else len(part)


def named_scores(out: np.ndarray, objective: str, targets: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the outputs of a model (B, n_out) by name; see `lumigraph.Model.score_columns`.

    Examples
    --------
    >>> list(named_scores(np.zeros((1, 2)), "regression", ["mass", "pt"]))
    ['mass_pred', 'pt_pred']
    """
    n_out = out.shape[1]
    known = targets if len(targets) == n_out else range(n_out)
    names = [f"{target}_pred" if objective == "regression" else f"score_{target}" for target in known]
    if objective == "multiclass":
        names = [f"score_{i}" for i in range(n_out)]
    elif objective == "classification" and n_out == 1:
        names = ["score"]
    return {name: out[:, i] for i, name in enumerate(names)}


def predict_to_file(
    model: Any, files: Any, out: str | os.PathLike[str], *, columns: str = "ids", overwrite: bool = False
) -> dict[str, Any]:
    """Write the scores of a model to a file; see `lumigraph.Model.predict_to_file`."""
    if columns not in ("ids", "all"):
        raise ValueError(
            f"columns must be 'ids' (what identifies an event) or 'all' (the whole input), got {columns!r}"
        )
    check_writable(out, overwrite)
    stream = EventStream(files, model.schema, labelled=False)
    if os.path.exists(out) and any(os.path.samefile(split_path(path)[0], out) for path in stream.files):
        raise ValueError(f"{os.fspath(out)} is among the files that are read, and would be lost: write to another one")
    written, found = 0, {}
    with ColumnWriter(out, overwrite=overwrite) as writer:
        for table in stream.tables(None if columns == "all" else stream.schema.ids):
            found = dict(table.columns) or {"row": table.numbers}
            with stream.locating(table.events):
                predictions = model.predict(table.events)
            scores = named_scores(predictions, model.objective, stream.schema.targets)
            for name, values in scores.items():
                if name in found:
                    raise SchemaError(
                        f"{table.path}: the input has a column {name!r} already: write the scores alone, columns='ids'"
                    )
                found[name] = np.full(len(table.numbers), np.nan, dtype=values.dtype)
                found[name][table.events.numbers - table.numbers[:1]] = values
            try:
                writer.append(found)
            except SchemaError as error:  # one file is not like the others
                raise SchemaError(f"{table.path}: {error}") from None
            written += len(table.numbers)
    return {"events": written, "columns": list(found), "left_out": stream.without_numbers if columns == "all" else []}


def with_targets(events: Any, objective: str, n_out: int) -> Any:
    """Return events whose targets are what a model of so many outputs learns, or raise an error.

    The labels of a stream are checked as they are read.
    """
    need_events(events)
    targets = events.schema.targets
    if not targets or (isinstance(events, EventDataset) and events.y is None):
        raise SchemaError("the data set has no targets: name them in the schema (targets)")
    columns = _num_targets(objective, n_out)
    if len(targets) != columns:
        raise SchemaError(f"the data set has {len(targets)} targets {list(targets)}, the model needs {columns}")
    if isinstance(events, EventDataset):
        _check_labels(events.y, objective, n_out, targets)
        return events
    return events.checked(lambda part: _check_labels(part.y, objective, n_out, targets))


def as_targets(targets: Any, objective: str, n_out: int) -> Tensor:
    """Return targets (B, T) from a table or a vector, or raise an error if a model does not learn such."""
    y = table_to_tensor(targets).to(torch.get_default_dtype())
    y = y.unsqueeze(1) if y.dim() == 1 else y
    columns = _num_targets(objective, n_out)
    if y.dim() != 2 or y.size(1) != columns:
        raise ValueError(f"targets must have the shape (events, {columns}), got {tuple(y.shape)}")
    _check_labels(y, objective, n_out)
    return y


def _num_targets(objective: str, n_out: int) -> int:
    return 1 if objective == "multiclass" else n_out


def _check_labels(y: Any, objective: str, n_out: int, names: Sequence[str] = ()) -> None:
    """Raise a SchemaError unless each target (B, T) is a label that the model can learn, or a number."""
    largest = n_out - 1 if objective == "multiclass" else 1
    bad = y.isnan() if objective == "regression" else ~((y >= 0) & (y <= largest) & (y == y.round()))
    if bool(bad.any()):
        what = "number" if objective == "regression" else f"label of a {objective}"
        hint = "" if objective == "regression" else f": labels are whole numbers from 0 to {largest}"
        event, column = bad.nonzero()[0].tolist()
        name = f" in column {names[column]!r}" if names else ""
        raise SchemaError(f"event {event}: target {float(y[event, column]):g} is no {what}{name}{hint}")


def need_events(events: Any) -> None:
    """Raise a TypeError unless events are a data set or a stream."""
    if not isinstance(events, EventDataset | EventStream):
        raise TypeError(
            f"events must be an EventDataset or an EventStream, got {type(events).__name__}: EventDataset.from_file "
            "reads one"
        )
