"""Recurrent layers along the particles of padded events, without the empty slots."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

__all__ = ["reset_recurrent", "walk", "walk_unrolled"]


def reset_recurrent(rnn: nn.RNNBase) -> None:
    """Initialise orthogonal weights, the recurrent ones gate by gate; biases 0, forget gate 1, reset gate -1."""
    width = rnn.hidden_size
    for name, parameter in rnn.named_parameters():
        weight = parameter.data
        if "weight_ih" in name:
            nn.init.orthogonal_(weight)
        elif "weight_hh" in name:
            for gate in weight.split(width):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(weight)
        if "bias_ih" in name:  # torch adds a second bias, bias_hh, which stays 0
            if rnn.mode == "LSTM":
                weight[width : 2 * width] = 1.0
            elif rnn.mode == "GRU":
                weight[:width] = -1.0


def walk(
    rnn: nn.RNNBase, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
) -> tuple[Float[Tensor, "events slots states"], Float[Tensor, "events states"]]:
    """Return the states of the last layer after each particle, and the final ones (forward and backward).

    Parameters
    ----------
    rnn
        Recurrent layers of torch with ``batch_first=True``.
    rows, mask
        Features by slot, and which slots hold a particle.

    Examples
    --------
    >>> rnn, mask = nn.GRU(2, 3, batch_first=True), torch.tensor([[True, False, True]])
    >>> states, final = walk(rnn, torch.rand(1, 3, 2), mask)
    >>> torch.equal(states[:, 2], final), states[:, 1].tolist()
    (True, [[0.0, 0.0, 0.0]])
    """
    if not mask.numel():  # no events, or no slots in any: nothing to pack
        return walk_unrolled(rnn.mode, rnn._parameters, rnn.num_layers, rows, mask)
    lengths, slots = mask.sum(1), mask.size(1)
    order = (~mask).argsort(dim=1, stable=True)  # particles first, in the order of their slots
    aligned = rows.gather(1, order.unsqueeze(-1).expand_as(rows))
    # packed sequences must not be empty: an empty event takes one step, which is discarded
    packed = pack_padded_sequence(aligned, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
    packed_states, last = rnn(packed)
    states, _ = pad_packed_sequence(packed_states, batch_first=True, total_length=slots)
    back = order.argsort(1).unsqueeze(-1).expand_as(states)
    last = last[0] if isinstance(last, tuple) else last
    final = torch.cat(list(last[-2 if rnn.bidirectional else -1 :]), dim=1)
    empty = (lengths == 0).unsqueeze(1)
    return torch.where(mask.unsqueeze(-1), states.gather(1, back), 0.0), torch.where(empty, 0.0, final)


def walk_unrolled(
    mode: str,
    weights: Mapping[str, Any],
    num_layers: int,
    rows: Float[Tensor, "events slots features"],
    mask: Bool[Tensor, "events slots"],
    dropout: float | int = 0.0,
) -> tuple[Float[Tensor, "events slots states"], Float[Tensor, "events states"]]:
    """Return the same as `walk`, slot by slot, for captured graphs, which do not support packed sequences.

    Parameters
    ----------
    mode, weights, num_layers
        Kind of cell, parameters by name and number of layers, as in torch's recurrent layers.
    rows, mask
        Features by slot, and which slots hold a particle.
    dropout
        Rate between layers.
    """
    directions = ("", "_reverse") if "weight_ih_l0_reverse" in weights else ("",)
    finals: list[Tensor] = []
    for layer in range(num_layers):
        if layer and dropout:
            rows = nn.functional.dropout(rows, dropout)
        runs = []
        for direction in directions:
            names = [f"{kind}_l{layer}{direction}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            runs.append(_run(_CELLS[mode], [weights[name] for name in names], rows, mask, backward=bool(direction)))
        rows, finals = torch.cat([states for states, _ in runs], dim=2), [final for _, final in runs]
    return rows * mask.unsqueeze(-1), torch.cat(finals, dim=1)


_Cell = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _run(cell: _Cell, weights: list[Tensor], rows: Tensor, mask: Tensor, backward: bool) -> tuple[Tensor, Tensor]:
    """Run one layer in one direction; absent particles leave the state unchanged."""
    w_ih, w_hh, b_ih, b_hh = weights
    gates = nn.functional.linear(rows, w_ih, b_ih)
    h = c = rows.new_zeros(rows.size(0), w_hh.size(1))
    if isinstance(rows.size(1), torch.SymInt):
        return _scanned(lambda gate, h, c: cell(gate, h, c, w_hh, b_hh), gates, mask, h, backward)
    states = [h] * rows.size(1)
    for slot in reversed(range(rows.size(1))) if backward else range(rows.size(1)):
        new_h, new_c = cell(gates[:, slot], h, c, w_hh, b_hh)
        present = mask[:, slot].unsqueeze(1)
        h, c = torch.where(present, new_h, h), torch.where(present, new_c, c)
        states[slot] = h
    return torch.stack(states, dim=1) if states else gates[..., : h.size(1)], h


def _scanned(
    cell: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    gates: Tensor,
    mask: Tensor,
    h: Tensor,
    backward: bool,
) -> tuple[Tensor, Tensor]:
    """Run over a number of slots, at least one, that an exported graph leaves open."""
    from torch._higher_order_ops.scan import scan

    def step(state: tuple[Tensor, Tensor], slot: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        (h, c), (gate, present) = state, slot
        new_h, new_c = cell(gate, h, c)
        h, c = torch.where(present, new_h, h), torch.where(present, new_c, c)
        return (h, c), h.clone()  # scan must not return the same tensor twice

    slots = gates.transpose(0, 1).contiguous(), mask.t().unsqueeze(-1).contiguous()
    (h, _), states = scan(step, (h, torch.zeros_like(h)), slots, reverse=backward)
    return states.transpose(0, 1), h


def _simple(act: Callable[[Tensor], Tensor]) -> _Cell:
    def cell(gates: Tensor, h: Tensor, c: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return act(gates + nn.functional.linear(h, w, b)), c

    return cell


def _lstm(gates: Tensor, h: Tensor, c: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (gates + nn.functional.linear(h, w, b)).chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(gates: Tensor, h: Tensor, c: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = gates.chunk(3, dim=1), nn.functional.linear(h, w, b).chunk(3, dim=1)
    z = (x_z + h_z).sigmoid()
    return (1 - z) * (x_n + (x_r + h_r).sigmoid() * h_n).tanh() + z * h, c


_CELLS: dict[str, _Cell] = {
    "RNN_TANH": _simple(torch.tanh),
    "RNN_RELU": _simple(torch.relu),
    "LSTM": _lstm,
    "GRU": _gru,
}
