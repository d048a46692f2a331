"""A model as a file for production: written, checked against the model, and only then put in place."""

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data import EventDataset, EventStream
from ..events.checks import check_number
from ..events.files import check_place, replacing
from ..model.prediction import need_events
from .comparison import compare
from .formats import FORMATS, Run, captured, first_line
from .interface import Form, Interface
from .quantisation import quantised
from .random_events import RandomEvents

__all__ = ["Exported", "export_model"]


@dataclass(frozen=True)
class Exported:
    """What was exported, and how far it is from the model; printed as a few lines.

    Parameters
    ----------
    path
        The file.
    inputs, output
        Names of the inputs with their shapes, and of the output.
    events
        Number of events on which file and model were compared, random ones and those that were given.
    deviation
        Largest difference of an output: of a probability, or of a regression relative to its largest value.
    tolerance
        What was allowed; None for a quantised model.
    merits
        Figures of merit on the events that were given: of the model, and of the file.
    sizes
        Bytes of the file; of a quantised one, before and after.
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
    model: Any,
    path: str | os.PathLike[str],
    *,
    form: Form = "padded",
    quantize: bool = False,
    events: EventDataset | EventStream | None = None,
    tolerance: float | int = 1e-5,
    overwrite: bool = False,
) -> Exported:
    """Write a model as an ONNX file or one of torch.export; see `lumigraph.Model.export`."""
    path = check_place(path, overwrite)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: the suffix says the format, {' or '.join(FORMATS)}, got {path.suffix!r}")
    if quantize and path.suffix != ".onnx":
        raise ValueError(f"quantize=True is for .onnx only, got {path.name}")
    if not 0 < check_number("tolerance", tolerance) < 1:
        raise ValueError(f"tolerance must be above 0 and below 1, got {tolerance}")
    if events is not None:
        need_events(events)
    face = Interface.of_model(model, form)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        run = _write(model, face, file)
        sizes = [file.stat().st_size]
        found = compare(model, face, run, None if quantize else events)
        found.check(float(tolerance))
        if quantize:
            file = quantised(file)
            sizes.append(file.stat().st_size)
            found = compare(model, face, FORMATS[".onnx"][1](file), events)
            found.check_sane()
        with replacing(path) as temporary:
            shutil.copyfile(file, temporary)
    return Exported(
        path, face.inputs, face.output, len(found.model), found.deviation, None if quantize else float(tolerance),
        tuple(sizes), found.merits,
    )  # fmt: skip


def _write(model: Any, face: Interface, file: Path) -> Run:
    """Write a file, open it again, and return it as a function."""
    write, open_file = FORMATS[file.suffix]
    some = RandomEvents(model, face).batch(torch.tensor([min(n, face.max_particles or n) for n in (3, 0, 1, 2)]))
    try:
        write(captured(model, face, some), face, file)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(
            f"{type(model.head).__name__}, body or tail cannot be captured by torch.export: {first_line(error)}"
        ) from error
    try:
        return open_file(file)
    except Exception as error:
        hint = ""
        if face.dtype != torch.float32:
            hint = "; onnxruntime lacks kernels beyond float32: export a model of float32, model.model.float()"
        raise ValueError(f"the exported model cannot be opened again: {first_line(error)}{hint}") from error
