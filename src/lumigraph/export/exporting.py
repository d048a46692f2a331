"""A model as a file for production: written, compared with the model, and only then moved into place."""

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data import Events
from ..events.checks import check_number
from ..events.files import check_place, replacing
from ..model.builder import ModelBuilder
from ..model.prediction import need_events
from .comparison import compare
from .event_function import PaddedEvents
from .formats import FORMATS, Run, captured, first_line, padded_inputs
from .interface import Form, Interface
from .quantisation import quantised
from .random_events import RandomEvents

__all__ = ["Exported", "export_model"]


@dataclass(frozen=True)
class Exported:
    """An exported file and its deviation from the model; printed as a few lines.

    Parameters
    ----------
    path
        The file.
    inputs, output
        Names of the inputs with their shapes, and of the output.
    events
        Number of events on which file and model were compared, both random and given.
    deviation
        Largest difference of an output: of a probability, or of a regression relative to its largest value.
    tolerance
        Largest deviation allowed; None for a quantised model.
    merits
        Figures of merit on the given events, of the model and of the file.
    sizes
        Size of the file in bytes; if quantised, before and after.
    """

    path: Path
    inputs: dict[str, tuple[str | int, ...]]
    output: str
    events: int
    deviation: float
    tolerance: float | None
    sizes: tuple[int, ...]
    merits: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in self.inputs.items())
        allowed = (
            "not limited, as it is quantised"
            if self.tolerance is None
            else f"allowed {self.tolerance:.0e}, or rounding"
        )
        lines = [
            f"{self.path}: {shapes} -> {self.output}",
            f"largest deviation from the model on {self.events} events: {self.deviation:.1e} ({allowed})",
            f"size: {' -> '.join(f'{size:,} bytes' for size in self.sizes)}",
        ]
        return "\n".join([*lines, *(f"{name}: {a} -> {b}" for name, (a, b) in self.merits.items())])


def export_model(
    module: nn.Sequential,
    description: ModelBuilder,
    path: str | os.PathLike[str],
    *,
    form: Form = "padded",
    quantize: bool = False,
    events: Events | None = None,
    tolerance: float | int = 1e-5,
    overwrite: bool = False,
) -> Exported:
    """Write a model as one function of plain tensors, for programs that have neither lumigraph nor Python.

    The function includes all steps from the columns of the data (scaling, embeddings) to probabilities. The file is
    checked before it is moved into place: it is reopened and compared with the model on random events with 0, 1, 2
    and many particles, in batches of sizes other than the captured one.

    Parameters
    ----------
    module, description
        Head, body and tail, and their description: ``model`` and ``model_builder`` of a `lumigraph.Model`.
    path
        File to write: ``.onnx`` for onnxruntime and others, ``.pt2`` for torch.export, AOTInductor and libtorch.
    form
        Layout of particles. ``padded``: ``rows`` (events, slots, features) and ``mask`` (events, slots), with any
        number of slots. ``jagged``: ``values`` (particles, features), event after event, and ``lengths``
        (events,); the i-th particle of an event is then in slot i.
    quantize
        Whether to round matrices to int8, for ``.onnx``. The difference is reported, not limited by ``tolerance``.
    events
        A data set or a stream with targets, on which model and exported file are also compared; the figures of merit
        of both are reported.
    tolerance
        Largest difference of a probability, or of a regression relative to its largest value. If rounding
        alone, found by computing the model in float64, changes it by more, four times that change is allowed.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Exported
        The file, its inputs and output, the largest difference and the sizes; printed as a few lines.

    Raises
    ------
    ValueError
        If the file does not agree with the model, or a block cannot be captured. No file is left.
    FileExistsError
        If ``path`` exists and ``overwrite`` is not set; it is left as it is.
    ImportError
        If onnx, onnxscript or onnxruntime is missing, for ``.onnx``.

    Notes
    -----
    Further inputs are ``u`` (events, G) and ``cat`` (events, C, int64) if the model has event features or
    categories. The output is (events, n_out), as in `lumigraph.Model.predict`. The metadata of the file (in a ``.pt2``,
    ``lumigraph.json``) list all columns in order, the schema and the units. Values in masked slots have no influence.
    An event that the model refuses (with a NaN, an unknown category, more particles than slots, E < abs(p)) gets NaN.
    Features are float32, or the precision that the model is converted to.

    Memory is needed for all pairs of slots, including empty ones: batch events of similar multiplicity together.
    """
    path = check_place(path, overwrite)
    if path.suffix not in FORMATS:
        raise ValueError(f"the suffix of {path} must be {' or '.join(FORMATS)}, got {path.suffix!r}")
    if quantize and path.suffix != ".onnx":
        raise ValueError(f"the suffix must be .onnx for quantize=True, got {path.name}")
    if not 0 < check_number("tolerance", tolerance) < 1:
        raise ValueError(f"tolerance must be above 0 and below 1, got {tolerance}")
    if events is not None:
        need_events(events)
    face = Interface.of(module, description, form)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        run = _write(module, description, face, file)
        sizes = [file.stat().st_size]
        found = compare(module, description, face, run, None if quantize else events)
        found.check(float(tolerance))
        if quantize:
            file = quantised(file)
            sizes.append(file.stat().st_size)
            found = compare(module, description, face, FORMATS[".onnx"][1](file), events)
            found.check_sane()
        with replacing(path) as temporary:
            shutil.copyfile(file, temporary)
    return Exported(
        path, face.inputs, face.output, len(found.model), found.deviation, None if quantize else float(tolerance),
        tuple(sizes), found.merits,
    )  # fmt: skip


def _write(module: nn.Sequential, description: ModelBuilder, face: Interface, file: Path) -> Run:
    """Write a file, reopen it, and return it as a function."""
    write, open_file = FORMATS[file.suffix]
    random = RandomEvents(module[0], description.scales, face)
    some = random.batch(torch.tensor([min(n, face.max_particles or n) for n in (3, 0, 1, 2)]))
    function = PaddedEvents(module, face.objective)
    with torch.no_grad():  # raise errors of the model itself before its capture
        function(**padded_inputs(face, some))
    try:
        write(captured(function, face, some), face, file)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(
            f"{type(module[0]).__name__}, body or tail cannot be captured by torch.export: {first_line(error)}"
        ) from error
    try:
        return open_file(file)
    except Exception as error:
        hint = ""
        if face.dtype != torch.float32:
            hint = "; onnxruntime lacks kernels other than float32: export a float32 model, model.model.float()"
        raise ValueError(f"the exported model cannot be reopened: {first_line(error)}{hint}") from error
