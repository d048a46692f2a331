"""Weights of an ONNX file in 8 bits."""

import logging
from pathlib import Path

from .formats import need

__all__ = ["quantised"]


def quantised(file: Path) -> Path:
    """Write a copy of an ONNX file whose matrices are int8, and return its path.

    Weights are rounded once, with a scale for each column of a matrix; their inputs are rounded for every batch
    (dynamic quantisation). Computations in float64, such as boosts, are unchanged.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    out = file.with_name(f"int8_{file.name}")
    graph = onnx.shape_inference.infer_shapes(onnx.load(file)).graph
    double = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.DOUBLE}
    double |= {v.name for v in graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE}
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends preparing the file, which has no effect on these graphs
    try:
        quantization.quantize_dynamic(
            file, out, weight_type=quantization.QuantType.QInt8, per_channel=True,
            nodes_to_exclude=[node.name for node in graph.node if double & set(node.input)],
        )  # fmt: skip
    finally:
        logger.setLevel(level)
    model = onnx.load(out)
    for graph_or_function in (model.graph, *model.functions):
        # inferred sizes can share a name although they differ: onnxruntime would put them into the same memory
        del graph_or_function.value_info[:]
    onnx.save(model, out)
    return out
