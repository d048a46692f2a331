"""The head that walks along the particles of an event."""

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
    """Walk along the particles of an event, in the order of their slots, with a recurrent network.

    Only particles that are there are walked along: an absent one neither is a step nor ends the walk.

    Parameters
    ----------
    cont_feats, vecs, feats_per_vec
        See `AbsMatrixHead`.
    depth
        Number of recurrent layers.
    width
        Size of each hidden state.
    bidirectional
        Whether to walk backwards as well, in a second set of layers.
    rnn
        ``torch.nn.RNN``, ``torch.nn.LSTM`` or ``torch.nn.GRU``, or its name.
    do
        Dropout rate between layers; without effect for a single one.
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
        If the cell does not take the activation, or depth or width is not positive.

    Notes
    -----
    **Shape.** Matrix of a tuple (B, slots, F); returns the final states (B, D) with D = width, twice that if
    bidirectional (forward first): 0 for an event without particles. With ``stateful`` the states (B, slots, D), 0 where
    there is no particle, and `get_out_size` is (slots, D).

    **Symmetry.** None under permutation. Without ``stateful`` any number of particles will do.

    Weights start orthogonal (the recurrent ones gate by gate), biases as 0, but the bias of an LSTM's forget gate as 1
    and that of a GRU's reset gate as -1.

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
            raise ValueError(f"act={act!r} is no activation of {cell.__name__}: it takes {takes}")
        if cell is nn.RNN:
            options["nonlinearity"] = act
        self.width, self.stateful, self.bidirectional = width, stateful, bidirectional
        self.scale = Standardise(self.n_fpv)
        self.rnn = cell(
            self.n_fpv, width, depth, batch_first=True, bidirectional=bidirectional,
            dropout=do if depth > 1 else 0.0, **options,
        )  # fmt: skip
        reset_recurrent(self.rnn)
        # torch.compile refuses to look into torch's recurrent layers: what it needs of them is reached beside them, by
        # the very dictionary that holds their parameters; in a namespace, or torch.export would put a copy in its place
        self.mode, self._cells = self.rnn.mode, SimpleNamespace(parameters=self.rnn._parameters)
        self.depth, self.do = depth, self.rnn.dropout
        self.feat_map = {name: list(range(math.prod(self._shape()))) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    @property
    def max_particles(self) -> int | None:
        """Most particles that an event may have: the slots if ``stateful``, else None for any number."""
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
        """Return the final states of each event, or all of them, from plain tensors."""
        rows = self.scale(rows)
        if not isinstance(rows.size(1), torch.SymInt):  # in an exported graph whoever calls sees to it
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
        raise ValueError(f"rnn={rnn!r} is no recurrent layer: {near(rnn, _CELLS)}")
    if cell not in _CELLS.values():
        raise TypeError(f"rnn must be torch.nn.RNN, torch.nn.LSTM or torch.nn.GRU, or its name, got {rnn!r}")
    return cell
