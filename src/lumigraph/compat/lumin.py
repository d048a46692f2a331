"""Loading of weights from LUMIN (up to 0.9.1) into the blocks of the same names."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..blocks import ClassRegMulti, FullyConnected, InteractionNet, LorentzBoostNet
from ..nn.mlp import BatchNorm
from ..nn.scaling import Standardise

__all__ = ["load_state_dict"]


def load_state_dict(block_or_model: object, state: Any) -> None:
    """Load the weights of a LUMIN block or model into ours; nothing is loaded unless everything fits.

    Build the block with the arguments that it had in LUMIN. An `InteractionNet` needs ``legacy_edges=True`` to
    reproduce published results; a bidirectional `RecurrentHead` gives different results, as LUMIN's backward state has
    seen only the last particle. Anything that LUMIN does not save with the weights remains unchanged: the scaling of
    inputs, and the arguments ``y_range``, ``y_mean`` and ``y_std`` of a tail and ``input_mask`` of a
    `lumigraph.ModelBuilder`.

    LUMIN normalises after each addition of a ``FullyConnected(res=True)``, even with ``bn=False``. If the state holds
    such normalisations and our body has none, they are added to it, trainable if the body is. LUMIN saves a module
    passed to its boost network as ``feat_extractor``, but never calls it: build ours without it, and its weights are
    ignored.

    Parameters
    ----------
    block_or_model
        A block, a sequence of head, body and tail, or a `lumigraph.Model`.
    state
        A state_dict of LUMIN 0.6 to 0.9.1, or a file of LUMIN's ``Model.save``, read by ``torch.load``.

    Raises
    ------
    TypeError
        If ``block_or_model`` has no weights, or the state is not a state_dict or holds anything but tensors.
    ValueError
        If a weight is missing, superfluous or of another shape, or a model that takes only some columns
        (``input_mask``) was trained on others.

    Examples
    --------
    >>> import torch
    >>> from lumigraph.blocks import InteractionNet
    >>> net = InteractionNet(["a_px", "b_px"], ["a", "b"], ["px"], intfunc_depth=1, intfunc_width=4, intfunc_out_sz=3,
    ...                      outfunc_depth=1, outfunc_width=4, outfunc_out_sz=2, agg_method="sum", legacy_edges=True)
    >>> state = {"fr.0.0.weight": torch.ones(3, 2), "fr.0.0.bias": torch.zeros(3),
    ...          "fo.0.0.weight": torch.ones(2, 4), "fo.0.0.bias": torch.zeros(2)}
    >>> load_state_dict(net, state)
    >>> net(torch.tensor([[1.0, 2.0]]))
    tensor([[21., 21.]], grad_fn=<SumBackward1>)
    """
    block = block_or_model if isinstance(block_or_model, nn.Module) else getattr(block_or_model, "model", None)
    if not isinstance(block, nn.Module):
        raise TypeError(f"block_or_model must be a block or a model, got {type(block_or_model).__name__}")
    given, own = _tensors(state), block.state_dict()
    _check_mask(getattr(block_or_model, "input_mask", None), state.get("input_mask"))
    # names are translated from the outside in, as a module comes before its submodules
    for name, module in block.named_modules():
        prefix = f"{name}." if name else ""
        _translate(given, prefix, module)
        holds_norms = any(key.startswith(f"{prefix}res_bns.") for key in given)
        if holds_norms and isinstance(module, FullyConnected) and module.res and module.res_bns is None:
            # the body adds these when it loads
            norms = nn.ModuleList(BatchNorm(module.width) for _ in module.layers[1:])
            own |= {f"{prefix}res_bns.{key}": value for key, value in norms.state_dict().items()}
    _check(type(block_or_model).__name__, given, own)
    block.load_state_dict(given)


def _tensors(state: Any) -> dict[str, Tensor]:
    """Return the weights in a state_dict or in a file saved by LUMIN."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a state_dict, got {type(state).__name__}: read a file with torch.load")
    inner = state.get("model")
    given = dict(inner if isinstance(inner, Mapping) else state)
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise TypeError(f"state must hold only tensors by name, got {type(value).__name__} as {name!r}")
    if all(name.startswith("module.") for name in given):  # saved from torch's wrapper for several devices
        _rename(given, "module.", "")
    return given


def _translate(given: dict[str, Tensor], prefix: str, module: nn.Module) -> None:
    """Give the weights of one module our names and shapes, and add what LUMIN does not save."""
    if isinstance(module, BatchNorm):
        _rename(given, f"{prefix}bn.", prefix)  # LUMIN wraps its batch normalisation since 0.8
    elif isinstance(module, InteractionNet):
        for function in ("fr.", "fo."):
            _rename(given, prefix + function, f"{prefix}convs.0.{function}")
    elif isinstance(module, LorentzBoostNet):
        for key in [k for k in given if k.startswith(f"{prefix}feat_extractor.")]:
            del given[key]  # a module that LUMIN never calls
        for weights in ("part_wgts", "rf_wgts"):
            _rename(given, prefix + weights, f"{prefix}conv.{weights}")
            found = given.get(f"{prefix}conv.{weights}")
            if found is not None and found.dim() == 4 and found.size(1) == found.size(3) == 1:
                given[f"{prefix}conv.{weights}"] = found[:, 0, :, 0]  # (combinations, 1, slots, 1) in LUMIN
    elif isinstance(module, Standardise | ClassRegMulti):
        for key, value in module.named_buffers(recurse=False):
            given.setdefault(prefix + key, value)


def _rename(state: dict[str, Tensor], old: str, new: str) -> None:
    """Replace the prefix ``old`` of names by ``new``."""
    for key in [k for k in state if k.startswith(old)]:
        state[new + key.removeprefix(old)] = state.pop(key)


def _check(block: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise a ValueError with everything that does not fit."""
    lacking = [repr(name) for name in own if name not in given]
    superfluous = [repr(name) for name in given if name not in own]
    shapes = [
        f"{name!r} has the shape {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    wrong = [f"{_first(lacking)} missing"] if lacking else []
    wrong += [f"{_first(superfluous)} superfluous"] if superfluous else []
    wrong += [_first(shapes)] if shapes else []
    if wrong:
        raise ValueError(
            f"state must fit this {block}, got {'; '.join(wrong)}: build the block with the arguments that it had in "
            "LUMIN"
        )


def _first(faults: Sequence[str]) -> str:
    return f"{faults[0]} (and {len(faults) - 1} more)" if len(faults) > 1 else faults[0]


def _check_mask(own: Any, mask: Any) -> None:
    """Raise a ValueError if the weights belong to other columns; LUMIN's mask continues with those of categories."""
    if own is not None and mask is not None and list(own) != [int(i) for i in mask][: len(own)]:
        raise ValueError(
            f"state must belong to a model of the columns {list(own)}, got {[int(i) for i in mask]}: build the model "
            "with the continuous ones of these as input_mask of ModelBuilder"
        )
