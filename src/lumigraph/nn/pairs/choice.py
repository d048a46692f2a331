"""The choice of how a layer sums its effects, made only here."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from ...events.graph import CompleteGraph
from ..mlp import Layers
from . import blocks, compiled, triton
from .sums import Engine, PairLayer, take_apart

__all__ = ["ENGINES", "Choice", "Path", "choose"]

Path = Literal["edges", "triton", "compiled", "blocks"]

ENGINES: dict[Path, Engine] = {"triton": triton, "compiled": compiled, "blocks": blocks}


class Choice(NamedTuple):
    """How effects are summed, and the layers that the engine computes."""

    path: Path
    layers: tuple[PairLayer, ...] = ()


def choose(
    conv: MessagePassing,
    known: type[MessagePassing],
    function: Layers,
    x: Tensor,
    edges: CompleteGraph | Tensor,
    p4: Tensor | None = None,
) -> Choice:
    """Choose how the effects of a layer are summed.

    ``edges``: over a list of edges, by PyG's ``propagate``. For an ``edge_index``, and for a
    `lumigraph.CompleteGraph` if something needs to see all effects: batch normalisation and dropout in training,
    activations or layers of unknown types, hooks, a subclass's own message, explainers, captured graphs, transforms of
    torch.func, derivatives with respect to the four-momenta of pairs.

    Otherwise pair by pair, without a list of pairs: ``triton``, one kernel on a GPU; ``compiled``, one kernel on a CPU,
    for float32 and float64; ``blocks``, plain torch on any device, if there is no kernel, and on a GPU for pair
    features.

    Parameters
    ----------
    conv
        The layer.
    known
        The class whose ``message`` applies ``function`` to each pair; a subclass with its own message gets the list of
        edges.
    function
        The network that computes the effect of a pair.
    x, edges, p4
        The arguments of the layer.
    """
    if not isinstance(edges, CompleteGraph) or torch.compiler.is_compiling():
        return Choice("edges")
    if type(conv).message is not known.message or conv.explain or _is_watched(conv):
        return Choice("edges")
    if p4 is not None and p4.requires_grad and torch.is_grad_enabled():
        return Choice("edges")
    if torch._C._are_functorch_transforms_active():
        return Choice("edges")
    layers = take_apart(function)
    if layers is None:
        return Choice("edges")
    acts, device = [layer.act for layer in layers], x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if device == "cpu":
        return Choice("compiled" if compiled.supports(acts, dtype) else "blocks", tuple(layers))
    widths = [layer.weight.size(0) for layer in layers]
    on_gpu = p4 is None and triton.supports(acts, x.device, dtype, widths)
    return Choice("triton" if on_gpu else "blocks", tuple(layers))


def _is_watched(conv: MessagePassing) -> bool:
    return bool(
        conv._propagate_forward_pre_hooks or conv._propagate_forward_hooks
        or conv._message_forward_pre_hooks or conv._message_forward_hooks
        or conv._aggregate_forward_pre_hooks or conv._aggregate_forward_hooks
    )  # fmt: skip
