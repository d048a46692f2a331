"""Inputs of a model in parts of a given number of events, and its outputs by name."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ..blocks.block import evaluating
from ..blocks.heads.abs_head import pair
from ..data import ColumnWriter, EventDataset, Events, EventStream, Paths, check_writable, split_path, table_to_tensor
from ..events.errors import EventError, SchemaError, located
from ..events.particles import check_matrix
from ..events.schema import EventSchema
from .builder import ModelBuilder

__all__ = [
    "as_targets",
    "chunks",
    "named_scores",
    "need_events",
    "need_schema",
    "num_events",
    "predict_to_file",
    "predictions",
    "scored_parts",
    "with_targets",
]


def chunks(inputs: Any, batch_size: int, module: nn.Module, names: Sequence[str]) -> Iterator[Any]:
    """Yield parts of a given number of events, on the device of a module and in its precision.

    Parameters
    ----------
    inputs
        A Batch (not divided), a tuple (flat, matrix) or a flat table.
    batch_size
        Events per part.
    module
        The module that takes the parts.
    names
        Columns of a flat table, to find them in a DataFrame.

    Examples
    --------
    >>> [len(part) for part in chunks(torch.zeros(5, 2), 2, nn.Linear(2, 1), ["ht", "met"])]
    [2, 2, 1]
    """
    parameter = next(module.parameters(), torch.empty(0))
    device, dtype = parameter.device, parameter.dtype
    if isinstance(inputs, Data):
        yield inputs.to(device)
    elif isinstance(inputs, tuple | list):
        first, second = pair(inputs)
        flat = None if first is None else table_to_tensor(first).to(device, dtype)
        matrix = table_to_tensor(second).to(device, dtype)
        check_matrix(matrix, "of the shape with three axes, events first")
        if flat is not None and len(flat) != len(matrix):
            raise ValueError(f"the flat part must have {len(matrix)} events, as the matrix has, got {len(flat)}")
        for start in range(0, len(matrix), batch_size):
            step = slice(start, start + batch_size)
            yield (None if flat is None else flat[step], matrix[step])
    else:
        table = table_to_tensor(inputs, names).to(device, dtype)
        if table.dim() != 2:
            raise ValueError(f"a flat table must have the shape (events, columns), got {tuple(table.shape)}")
        for start in range(0, len(table), batch_size):
            yield table[start : start + batch_size]


def num_events(part: Any) -> int:
    """Return the number of events of a part."""
    if isinstance(part, Data):
        return int(part.num_graphs)
    return len(part[1]) if isinstance(part, tuple) else len(part)


def scored_parts(
    module: nn.Module,
    description: ModelBuilder,
    events: Events,
    batch_size: int = 2048,
    locating: Callable[[EventDataset], AbstractContextManager[None]] | None = None,
) -> Iterator[tuple[EventDataset, Tensor]]:
    """Yield events in parts of a given number, with their predictions, (B, n_out), on the CPU.

    Parameters
    ----------
    module, description
        Head, body and tail, and what they are made of.
    events
        The events.
    batch_size
        Events per part.
    locating
        Context that adds the place of an event to an error about it; by default that of the events.
    """
    device = next(module.parameters(), torch.empty(0)).device
    for part in events.chunks(batch_size):
        with evaluating(module), (locating or events.locating)(part):
            out = module(part.batch().to(device)).cpu()
        yield part, out.exp() if description.objective == "multiclass" else out


def predictions(module: nn.Module, description: ModelBuilder, inputs: Any, batch_size: int = 2048) -> Tensor:
    """Return the predictions for all inputs, (B, n_out), on the CPU; see `lumigraph.Model.predict`."""
    if isinstance(inputs, Events):
        outs = [out for _, out in scored_parts(module, description, inputs, batch_size)]
        return torch.cat(outs) if outs else torch.empty(0, description.n_out)
    outs = []
    with evaluating(module):
        for chunk in chunks(inputs, batch_size, module, description.flat_names):
            with located(events=sum(map(len, outs))):
                outs.append(module(chunk))
    out = torch.cat(outs).cpu() if outs else torch.empty(0, description.n_out)
    return out.exp() if description.objective == "multiclass" else out


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
    module: nn.Module,
    description: ModelBuilder,
    files: Paths,
    out: str | os.PathLike[str],
    *,
    columns: Literal["ids", "all"] = "ids",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the predictions on files of any size to a file, chunk by chunk, in the order of the input.

    Parameters
    ----------
    module, description
        Head, body and tail, and what they are made of.
    files
        One file or several, also with ``*`` and ``?``; they need no labels or weights.
    out
        File to write, ROOT, Parquet, HDF5 or CSV by its suffix.
    columns
        Columns to write with the predictions: ``ids``, the identifiers of the schema, or without them the number of the
        event (``row``); or ``all`` columns of the input.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    dict
        ``events``, the number of events written; ``columns``, the names of the columns; ``left_out``, those of the
        input without numbers if ``columns`` is ``all``.

    Raises
    ------
    SchemaError
        If the input cannot be read or lacks a column. Predictions made before that are kept in a file
        beside ``out``, named in the message.
    FileExistsError
        If ``out`` exists and ``overwrite`` is not set; it is left as it is.

    Notes
    -----
    Every event of the input is written; predictions for events that the schema does not select are NaN.
    """
    if columns not in ("ids", "all"):
        raise ValueError(
            f"columns must be 'ids' (what identifies an event) or 'all' (the whole input), got {columns!r}"
        )
    schema = need_schema(description)
    check_writable(out, overwrite)
    stream = EventStream(files, schema, labelled=False)
    if os.path.exists(out) and any(os.path.samefile(split_path(path)[0], out) for path in stream.files):
        raise ValueError(f"{os.fspath(out)} is one of the input files and would be lost: write to another file")
    written, found = 0, {}
    with ColumnWriter(out, overwrite=overwrite) as writer:
        for table in stream.tables(None if columns == "all" else schema.ids):
            found = dict(table.columns) or {"row": table.numbers}
            outs = [o for _, o in scored_parts(module, description, table.events, locating=stream.locating)]
            all_outs = torch.cat(outs or [torch.empty(0, description.n_out)]).numpy()
            for name, values in named_scores(all_outs, description.objective, schema.targets).items():
                if name in found:
                    raise SchemaError(
                        f"the input already has a column {name!r}: write the scores alone, columns='ids'",
                        column=name,
                        file=table.path,
                    )
                found[name] = np.full(len(table.numbers), np.nan, dtype=values.dtype)
                found[name][table.events.numbers - table.numbers[:1]] = values
            try:
                writer.append(found)
            except SchemaError as error:  # what is written is not at fault, but a file that is not like the others
                error.file = table.path
                raise
            written += len(table.numbers)
    return {"events": written, "columns": list(found), "left_out": stream.without_numbers if columns == "all" else []}


def need_schema(description: ModelBuilder) -> EventSchema:
    """Return the schema of a model, or raise a SchemaError if it has none."""
    if description.schema is None:
        raise SchemaError(
            "the model has no schema, so it cannot read files: build it with ModelBuilder(..., schema=...)"
        )
    return description.schema


def with_targets(events: Events, description: ModelBuilder) -> Events:
    """Return events whose targets fit a model, or raise an error; labels in files are checked when read."""
    need_events(events)
    targets, columns = events.schema.targets, _num_targets(description)
    if not targets:
        raise SchemaError("the data set has no targets: name them in the schema (targets)")
    if len(targets) != columns:
        raise SchemaError(f"the data set must have as many targets as the model, {columns}, got {list(targets)}")
    return events.checked(partial(_check_labels_of, description))


def as_targets(targets: Any, description: ModelBuilder) -> Tensor:
    """Return targets (B, T) from a table or a vector, or raise an error if they do not fit a model."""
    y = table_to_tensor(targets).to(torch.get_default_dtype())
    y = y.unsqueeze(1) if y.dim() == 1 else y
    columns = _num_targets(description)
    if y.dim() != 2 or y.size(1) != columns:
        raise ValueError(f"targets must have the shape (events, {columns}), got {tuple(y.shape)}")
    _check_labels(y, description)
    return y


def _num_targets(description: ModelBuilder) -> int:
    return 1 if description.objective == "multiclass" else description.n_out


def _check_labels_of(description: ModelBuilder, part: EventDataset) -> None:
    if part.y is None:
        raise SchemaError("the events have no targets: name them in the schema (targets), and read them")
    _check_labels(part.y, description, part.schema.targets)


def _check_labels(y: Tensor, description: ModelBuilder, names: Sequence[str] = ()) -> None:
    """Raise an EventError unless each target (B, T) is a valid label, or a number for a regression."""
    objective = description.objective
    largest = description.n_out - 1 if objective == "multiclass" else 1
    bad = y.isnan() if objective == "regression" else ~((y >= 0) & (y <= largest) & (y == y.round()))
    if bool(bad.any()):
        what = "number" if objective == "regression" else f"label of a {objective}"
        hint = "" if objective == "regression" else f": labels are integers from 0 to {largest}"
        event, column = bad.nonzero()[0].tolist()
        name = names[column] if names else None
        place = f" in column {name!r}" if name else ""
        raise EventError(f"target {float(y[event, column]):g} is not a {what}{place}{hint}", event=event, column=name)


def need_events(events: Any) -> None:
    """Raise a TypeError unless events are a data set or a stream."""
    if not isinstance(events, Events):
        raise TypeError(
            f"events must be an EventDataset or an EventStream, got {type(events).__name__}: EventDataset.from_file "
            "reads one"
        )
