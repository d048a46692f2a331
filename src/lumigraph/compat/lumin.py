"""Weights of LUMIN (up to 0.9.1) for the blocks of the same names."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..blocks import ClassRegMulti, FullyConnected, InteractionNet, LorentzBoostNet
from ..nn.mlp import BatchNorm
from ..nn.scaling import Standardise

__all__ = ["load_state_dict"]


def load_state_dict(block_or_model: Any, state: Any) -> None:
    """Load the weights of a block or model of LUMIN into ours; nothing is loaded unless everything fits.

    The block has to be built with the arguments that it had in LUMIN. An `InteractionNet` needs ``legacy_edges=True``
    to give the published results; a bidirectional `RecurrentHead` gives others, as LUMIN's backward state has seen only
    the last particle. What LUMIN does not save with the weights stays as it is: the scaling of inputs, and what are
    arguments: ``y_range``, ``y_mean`` and ``y_std`` of a tail, ``input_mask`` of a `lumigraph.ModelBuilder`.

    LUMIN normalises after each addition of a ``FullyConnected(res=True)`` whatever ``bn`` says. If the state holds such
    normalisations and ours has none, they are added to it, trainable if the body is. A module that its boost network
    got as ``feat_extractor`` is saved but never called there: build ours without, and its weights are left aside.

    Parameters
    ----------
    block_or_model
        A block, a sequence of head, body and tail, or a `lumigraph.Model`.
    state
        A state_dict of LUMIN 0.6 to 0.9.1, or what ``Model.save`` of LUMIN wrote, as ``torch.load`` gives it.

    Raises
    ------
    TypeError
        If ``block_or_model`` has no weights, or the state is no state_dict, or holds something else than tensors.
    ValueError
        If a weight is missing, superfluous or of another shape, or a model that takes some of the columns only
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
    # a module comes before those inside it: names are translated from the outside in
    for name, module in block.named_modules():
        prefix = f"{name}." if name else ""
        _translate(given, prefix, module)
        holds_norms = any(key.startswith(f"{prefix}res_bns.") for key in given)
        if holds_norms and isinstance(module, FullyConnected) and module.res and module.res_bns is None:
            norms = nn.ModuleList(BatchNorm(module.width) for _ in module.layers[1:])  # which the body takes over
            own |= {f"{prefix}res_bns.{key}": value for key, value in norms.state_dict().items()}
    _check(type(block_or_model).__name__, given, own)
    block.load_state_dict(given)


def _tensors(state: Any) -> dict[str, Tensor]:
    """Return the weights in a state_dict, or in what LUMIN saves."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a state_dict, got {type(state).__name__}: read a file with torch.load")
    inner = state.get("model")
    given = dict(inner if isinstance(inner, Mapping) else state)
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise TypeError(f"the state must hold tensors by name only, but {name!r} is a {type(value).__name__}")
    if all(name.startswith("module.") for name in given):  # torch's wrapper for several devices was around it
        _rename(given, "module.", "")
    return given


def _translate(given: dict[str, Tensor], prefix: str, module: nn.Module) -> None:
    """Give the weights of one module our names and shapes, and add what LUMIN does not save."""
    if isinstance(module, BatchNorm):
        _rename(given, f"{prefix}bn.", prefix)  # from LUMIN 0.8 on its batch normalisation is wrapped
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
    """Give the entries whose names begin with ``old`` another beginning."""
    for key in [k for k in state if k.startswith(old)]:
        state[new + key.removeprefix(old)] = state.pop(key)


def _check(block: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that says what does not fit."""
    lacking = [repr(name) for name in own if name not in given]
    superfluous = [repr(name) for name in given if name not in own]
    shapes = [
        f"{name!r} has the shape {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    wrong = [f"it lacks {_first(lacking)}"] if lacking else []
    wrong += [f"it has {_first(superfluous)}, which the block has not"] if superfluous else []
    wrong += [_first(shapes)] if shapes else []
    if wrong:
        raise ValueError(
            f"the state does not fit this {block}: {'; '.join(wrong)}; build the block with the arguments that it had "
            "in LUMIN"
        )


def _first(faults: Sequence[str]) -> str:
    return f"{faults[0]} (and {len(faults) - 1} more)" if len(faults) > 1 else faults[0]


def _check_mask(own: Any, mask: Any) -> None:
    """Raise a ValueError if the weights belong to other columns; LUMIN's mask goes on with those of categories."""
    if own is not None and mask is not None and list(own) != [int(i) for i in mask][: len(own)]:
        raise ValueError(
            f"the state belongs to a model of the columns {[int(i) for i in mask]}, this one takes {list(own)}: build "
            "it with the continuous ones of these as input_mask of ModelBuilder"
        )
