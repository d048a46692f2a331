"""The formats of an exported model: writing a file and running it."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from .event_function import JaggedEvents
from .interface import Interface

__all__ = ["FORMATS", "Run", "captured", "first_line", "need", "padded_inputs"]

#: A function of the inputs by name that returns the predictions.
Run = Callable[[Mapping[str, Tensor]], Tensor]


def need(name: str) -> Any:
    """Return an optional library, or raise an ImportError that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"export to ONNX needs {name.split('.')[0]}: pip install 'lumigraph[export]'") from error


def first_line(error: Exception) -> str:
    """Return the type of an error and the first line of its message: those of torch can fill pages."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


# ----------------------------------------------------------------------------------------------------------- capture


def captured(function: nn.Module, interface: Interface, batch: Batch) -> torch.export.ExportedProgram:
    """Return the graph of a function of padded events, for any number of events, slots and particles.

    Parameters
    ----------
    function
        A `PaddedEvents`.
    interface
        Its inputs and outputs.
    batch
        Some events; more than one of everything, since torch treats a size of 1 as a constant.
    """
    padded = replace(interface, form="padded")
    with _quietly():
        program = _program(function, padded, padded_inputs(interface, batch))
        if interface.form == "jagged" and interface.particle_feats:
            # capture the graph, not the model: a loop over a computed number of slots cannot be captured
            jagged = JaggedEvents(program.module(check_guards=False))
            program = _program(jagged, interface, interface.of_batch(batch))
    for node in program.graph.nodes:  # paths of the source are of no use to a reader
        node.meta.pop("stack_trace", None)
    return program


def padded_inputs(interface: Interface, batch: Batch) -> dict[str, Tensor]:
    """Return the inputs of a function of padded events for a Batch, including empty slots."""
    return replace(interface, form="padded").of_batch(batch, max(4, interface.max_particles or 0))


def _program(function: nn.Module, interface: Interface, example: dict[str, Tensor]) -> torch.export.ExportedProgram:
    dims = {name: torch.export.Dim(name) for name in ("events", "slots", "particles")}
    shapes = {
        name: {axis: dims[size] for axis, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in interface.inputs.items()
    }
    return torch.export.export(function, (), example, dynamic_shapes=shapes)


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings of torch about its own code, and about optional libraries not needed here."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")  # torchvision is missing
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings(
                "ignore", category=DeprecationWarning, module=r"(torch|onnxscript|onnx_ir|copyreg)\b"
            )
            yield
    finally:
        logger.setLevel(level)


# -------------------------------------------------------------------------------------------------------------- ONNX


def _write_onnx(program: torch.export.ExportedProgram, interface: Interface, path: Path) -> None:
    """Write a graph as an ONNX file with the description of its interface in its metadata."""
    onnx = need("onnx")
    need("onnxscript")
    with _quietly():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=list(interface.inputs), output_names=[interface.output],
            custom_translation_table=_translations(), verbose=False,
            optimize=False,  # it treats constants of 1e-30 as 0; onnxruntime optimises on loading
        )  # fmt: skip
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    graphs: list[Any] = [exported.model.graph, *exported.model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        node.metadata_props.clear()  # stack traces
    proto, description = exported.model_proto, interface.describe()
    _name_sizes(proto.graph, interface)
    proto.producer_name, proto.producer_version = "lumigraph", str(description["lumigraph"])
    onnx.helper.set_model_props(
        proto, {k: v if isinstance(v, str) else json.dumps(v) for k, v in description.items() if v is not None}
    )
    onnx.save(proto, path)


def _name_sizes(graph: Any, interface: Interface) -> None:
    """Name dynamic sizes, instead of the numbered symbols of torch."""
    shapes = {**interface.inputs, interface.output: ("events", len(interface.outputs))}
    for value in (*graph.input, *graph.output):
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if isinstance(size, str):
                dim.dim_param = size
    del graph.value_info[:]  # sizes of intermediate results, which a reader infers


def _open_onnx(path: Path) -> Run:
    """Return an ONNX file as a function, run by onnxruntime on the CPU."""
    onnxruntime = need("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return torch.from_numpy(np.asarray(found))

    return run


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return float64 versions of the functions that onnxruntime has only in float32."""
    op, onnx = need("onnxscript").opset18, need("onnx")

    def number(value: float, x: Any) -> Any:
        # a plain number would be float32
        return op.CastLike(op.Constant(value=onnx.helper.make_tensor("", onnx.TensorProto.DOUBLE, [], [value])), x)

    def asinh(x: Any) -> Any:
        root = op.Sqrt(op.Add(op.Mul(x, x), op.CastLike(1.0, x)))
        return op.Mul(op.Sign(x), op.Log(op.Add(op.Abs(x), root)))

    def atan2(y: Any, x: Any) -> Any:
        zero, one, pi = (number(value, x) for value in (0.0, 1.0, np.pi))
        longer, shorter = op.Max(op.Abs(x), op.Abs(y)), op.Min(op.Abs(x), op.Abs(y))
        slope = op.Div(shorter, op.Where(op.Equal(longer, zero), one, longer))
        for _ in range(2):  # the tangent of half the angle, twice: up to 0.2, where the series is short
            slope = op.Div(slope, op.Add(one, op.Sqrt(op.Add(one, op.Mul(slope, slope)))))
        square, series = op.Mul(slope, slope), zero
        for k in range(21, -1, -2):
            series = op.Sub(number(1.0 / k, x), op.Mul(square, series))
        angle = op.Mul(number(4.0, x), op.Mul(slope, series))
        angle = op.Where(op.Greater(op.Abs(y), op.Abs(x)), op.Sub(number(np.pi / 2, x), angle), angle)
        angle = op.Where(op.Less(x, zero), op.Sub(pi, angle), angle)
        return op.Where(op.Less(y, zero), op.Neg(angle), angle)

    return {torch.ops.aten.asinh.default: asinh, torch.ops.aten.atan2.default: atan2}


# ------------------------------------------------------------------------------------------------------ torch.export


def _write_program(program: torch.export.ExportedProgram, interface: Interface, path: Path) -> None:
    """Write a graph as a torch.export file, with the description of its interface as ``lumigraph.json`` in it."""
    with _quietly():
        torch.export.save(program, path, extra_files={"lumigraph.json": json.dumps(interface.describe())})


def _open_program(path: Path) -> Run:
    with _quietly():
        module = torch.export.load(path).module()

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return module(**inputs)

    return run


#: How the files of each suffix are written and opened.
FORMATS: dict[str, tuple[Callable[..., None], Callable[[Path], Run]]] = {
    ".onnx": (_write_onnx, _open_onnx),
    ".pt2": (_write_program, _open_program),
}
