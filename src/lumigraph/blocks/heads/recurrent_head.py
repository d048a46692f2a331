"""The head that runs a recurrent network over the particles of an event."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...events.checks import check_counts, check_dropout
from ...events.errors import near
from ...events.particles import Rows, fit_slots
from ...nn.recurrent import reset_recurrent, walk, walk_unrolled
from ...nn.scaling import Standardise
from .abs_head import AbsMatrixHead, AnyScaling

__all__ = ["RecurrentHead"]

_CELLS: dict[str, Any] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


class RecurrentHead(AbsMatrixHead):
    """Run a recurrent network over the particles of an event, in the order of their slots.

    Absent particles are skipped: they neither count as a step nor end the sequence.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    depth
        Number of recurrent layers.
    width
        Size of each hidden state.
    bidirectional
        Whether to run backwards as well, with a second set of layers.
    rnn
        ``torch.nn.RNN``, ``torch.nn.LSTM`` or ``torch.nn.GRU``, or its name.
    do
        Dropout rate between layers; no effect with a single layer.
    act
        ``tanh`` or, for an RNN, ``relu``.
    stateful
        Whether to return the state after every particle, not only the last.
    freeze
        Whether to start untrainable.
    **kargs
        See `AbsMatrixHead`.

    Raises
    ------
    TypeError
        If ``rnn`` is something else.
    ValueError
        If the cell does not support the activation, or depth or width is not positive.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, slots, F); returns the final states (B, D) with D = width, or twice that if
    bidirectional (forward first), 0 for an event without particles. With ``stateful`` it returns all states
    (B, slots, D), 0 in empty slots, and `get_out_size` is (slots, D).

    **Symmetry.** None under permutation. Without ``stateful`` an event may have any number of particles.

    Weights start orthogonal (the recurrent ones gate by gate), biases as 0, except those of an LSTM's forget gate as 1
    and of a GRU's reset gate as -1.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735; K. Cho et al., arXiv:1406.1078.

    Examples
    --------
    >>> head = RecurrentHead(["a_px", "b_px"], ["a", "b"], ["px"], depth=1, width=20, rnn=nn.LSTM, bidirectional=True)
    >>> head(torch.tensor([[3.0, torch.nan]])).shape
    torch.Size([1, 40])
    """

    row_wise = True

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        depth: int,
        width: int,
        bidirectional: bool = False,
        rnn: Any = nn.RNN,
        do: float | int | None = 0.0,
        act: str = "tanh",
        stateful: bool = False,
        freeze: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        check_counts(depth=depth, width=width)
        do = check_dropout("do", do)
        cell = _cell(rnn)
        options: dict[str, Any] = {}
        if act not in (("tanh", "relu") if cell is nn.RNN else ("tanh",)):
            takes = "tanh or relu" if cell is nn.RNN else "tanh"
            raise ValueError(f"act must be {takes} for {cell.__name__}, got {act!r}")
        if cell is nn.RNN:
            options["nonlinearity"] = act
        self.width, self.stateful, self.bidirectional = width, stateful, bidirectional
        self.scale = Standardise(self.n_fpv)
        self.rnn = cell(
            self.n_fpv, width, depth, batch_first=True, bidirectional=bidirectional,
            dropout=do if depth > 1 else 0.0, **options,
        )  # fmt: skip
        reset_recurrent(self.rnn)
        # torch.compile cannot trace into torch's recurrent layers, so their parameters are reached through the same
        # dictionary that the layers hold; it is in a namespace because torch.export would copy a plain attribute
        self.mode, self._cells = self.rnn.mode, SimpleNamespace(parameters=self.rnn._parameters)
        self.depth, self.do = depth, self.rnn.dropout
        self.feat_map = {name: list(range(math.prod(self._shape()))) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    @property
    def max_particles(self) -> int | None:
        """Maximum number of particles per event: the number of slots if ``stateful``, otherwise None."""
        return self.n_v if self.stateful else None

    def _shape(self) -> tuple[int, ...]:
        states = self.width * (2 if self.bidirectional else 1)
        return (self.n_v, states) if self.stateful else (states,)

    def get_out_size(self) -> int | tuple[int, int]:
        """Return the width of the output; with ``stateful`` (slots, width)."""
        shape = self._shape()
        return shape if len(shape) == 2 else shape[0]

    def set_scaling(self, *, u: AnyScaling | None = None, x: AnyScaling | None = None) -> None:
        """Standardise the particle features from now on."""
        if x is not None:
            self.scale.set(*x)

    def embed(
        self, rows: Float[Tensor, "events slots features"], mask: Bool[Tensor, "events slots"]
    ) -> Float[Tensor, "events ..."]:
        """Return the final or all states of each event, from plain tensors."""
        rows = self.scale(rows)
        if not isinstance(rows.size(1), torch.SymInt):  # the caller of an exported graph ensures this
            rows, mask = fit_slots(Rows(rows, mask), max(1, rows.size(1)))
        if torch.compiler.is_compiling():
            do = self.do if self.training else 0.0
            states, final = walk_unrolled(self.mode, self._cells.parameters, self.depth, rows, mask, do)
        else:
            states, final = walk(self.rnn, rows, mask)
        return states if self.stateful else final


def _cell(rnn: Any) -> Any:
    cell = _CELLS.get(rnn) if isinstance(rnn, str) else rnn
    if cell is None:
        raise ValueError(f"rnn must be a recurrent layer, got {rnn!r}: {near(rnn, _CELLS)}")
    if cell not in _CELLS.values():
        raise TypeError(f"rnn must be torch.nn.RNN, torch.nn.LSTM or torch.nn.GRU, or its name, got {rnn!r}")
    return cell
