"""The Lorentz boost layer: learned combinations of particles, boosted into learned rest frames."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ..events.checks import check_counts
from ..events.errors import near
from ..events.graph import ptr_to_batch
from ..events.kinematics import boost
from ..events.particles import check_slots

__all__ = ["BoostMode", "LorentzBoostConv"]

BoostMode = Literal["pairs", "product", "combinations"]


class LorentzBoostConv(MessagePassing):
    r"""Combine the four-momenta of an event and boost the combinations into rest frames, both learned.

    With the absolute values of the weights of each slot :math:`s`,

    .. math::
        k_a = \sum_s |w_{as}|\, p_s, \qquad r_f = \sum_s |u_{fs}|\, p_s, \qquad k'_{af} = \Lambda(r_f)\, k_a

    where :math:`\Lambda(r)` is the boost into the rest frame of :math:`r`. The mode decides which combination :math:`a`
    is boosted into which frame :math:`f`, and the order of the outputs :math:`(a, f)`:

    - ``pairs``: each into its own frame, (0,0), (1,1), ...;
    - ``product``: each into every frame, combination by combination, (0,0), (0,1), ..., (1,0), ...;
    - ``combinations``: each into the rest frame of every other combination, :math:`r = k`: first the later ones,
      (0,1), (0,2), ..., (1,2), ..., then the earlier ones, (1,0), (2,0), (2,1), ....

    As messages: every particle sends its weighted four-momentum to the combinations and the frames of its event.

    Parameters
    ----------
    num_slots
        Number of slots for particles in an event.
    num_particles
        Number of combinations n.
    mode
        One of `BoostMode`.
    num_frames
        Number of frames m, for ``product``; the number of combinations if not given.

    Raises
    ------
    ValueError
        If a number is not positive, the mode is unknown, the numbers of combinations and frames do not fit the mode, or
        a particle is in a slot that does not exist.

    Notes
    -----
    **Shape.** ``p4`` (particles, 4), ``slot`` (particles,), ``ptr`` (events + 1,); returns (events, num_outputs, 4)
    with n outputs for ``pairs``, n*m for ``product`` and n(n-1) for ``combinations``.

    **Units.** GeV; momenta must not be standardised.

    **Symmetry.** None under permutation: each slot has its own weights. Invariant under a common boost only as far as
    `lumigraph.events.kinematics.boost` is: a common boost rotates each :math:`k'`.

    Sums and boosts are computed in float64. A frame without a rest frame (no particle, or massless particles along one
    direction) leaves the combination unchanged. ``rf_wgts``, the weights of the frames, is None for ``combinations``.

    References
    ----------
    .. [1] M. Erdmann et al., "Lorentz Boost Networks: Autonomous Physics-Inspired Feature Engineering",
       arXiv:1812.09722.

    Examples
    --------
    >>> conv = LorentzBoostConv(num_slots=3, num_particles=5)
    >>> p4 = torch.tensor([[3.0, 0.0, 0.0, 5.0], [0.0, 1.0, 0.0, 2.0]])
    >>> conv(p4, torch.tensor([0, 1]), torch.tensor([0, 2, 2])).shape
    torch.Size([2, 5, 4])
    >>> LorentzBoostConv(num_slots=3, num_particles=5, mode="product", num_frames=2).num_outputs
    10
    """

    def __init__(
        self, num_slots: int, num_particles: int, *, mode: str = "pairs", num_frames: int | None = None
    ) -> None:
        super().__init__(aggr="sum", flow="source_to_target", node_dim=0)
        _check_numbers(num_slots, num_particles, mode, num_frames)
        self.num_slots = num_slots
        self.num_particles = num_particles
        self.num_frames = num_particles if num_frames is None else num_frames
        self.mode = mode
        self.num_outputs = {
            "pairs": num_particles,
            "product": num_particles * self.num_frames,
            "combinations": num_particles * (num_particles - 1),
        }[mode]
        self.part_wgts = nn.Parameter(torch.empty(num_particles, num_slots))
        has_frames = mode != "combinations"
        self.rf_wgts = nn.Parameter(torch.empty(self.num_frames, num_slots)) if has_frames else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights again, normal with standard deviation 1 / number of combinations or of frames."""
        super().reset_parameters()
        for weight in (self.part_wgts, self.rf_wgts):
            if weight is not None:
                nn.init.normal_(weight, std=1 / weight.size(0))

    def forward(
        self, p4: Float[Tensor, "particles 4"], slot: Int[Tensor, " particles"], ptr: Int[Tensor, " events_plus_1"]
    ) -> Float[Tensor, "events outputs 4"]:
        """Return the boosted combinations."""
        return self._boosted(*self.combine(p4, slot, ptr)).to(p4.dtype)

    def combine(
        self, p4: Float[Tensor, "particles 4"], slot: Int[Tensor, " particles"], ptr: Int[Tensor, " events_plus_1"]
    ) -> tuple[Float[Tensor, "events num_particles 4"], Float[Tensor, "events num_frames 4"]]:
        """Return the combinations and the frames before the boost, in float64; both are equal for ``combinations``."""
        check_slots(slot, ptr, self.num_slots)
        event = ptr_to_batch(ptr, p4.size(0))
        to_event = torch.stack([torch.arange(p4.size(0), device=p4.device), event])
        weights = self._weights().t()[slot]
        both = self.propagate(
            to_event, x=(p4.double(), None), weights=(weights, None), size=(p4.size(0), ptr.numel() - 1)
        )
        return self._split(both.permute(2, 0, 1))

    def dense(self, rows: Float[Tensor, "events slots 4"]) -> Float[Tensor, "events outputs 4"]:
        """Return the boosted combinations of padded events: four-momenta slot by slot, 0 in empty slots."""
        return self._boosted(*self._combined(rows, self._weights())).to(rows.dtype)

    def _combined(self, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        # one matrix product for all events and components; boosts take the components contiguous and separate
        return self._split(rows.permute(2, 0, 1).contiguous().double() @ weights.t())

    def _weights(self) -> Tensor:
        weights = self.part_wgts if self.rf_wgts is None else torch.cat([self.part_wgts, self.rf_wgts])
        return weights.abs().double()

    def _split(self, both: Float[Tensor, "4 events targets"]) -> tuple[Tensor, Tensor]:
        both = both.permute(1, 2, 0)
        if self.rf_wgts is None:
            return both, both
        combinations, frames = both.split([self.num_particles, self.num_frames], dim=1)
        return combinations, frames

    def _boosted(self, combinations: Tensor, frames: Tensor) -> Tensor:
        if self.mode == "pairs":
            return boost(combinations, frames)
        every = boost(combinations.unsqueeze(2), frames.unsqueeze(1)).flatten(1, 2)
        if self.mode == "product":
            return every
        n, device = self.num_particles, frames.device
        later, earlier = torch.triu_indices(n, n, 1, device=device), torch.tril_indices(n, n, -1, device=device)
        of, into = torch.cat([later, earlier], dim=1)
        return every.index_select(1, of * n + into)

    def message(
        self, x_j: Float[Tensor, "particles 4"], weights_j: Float[Tensor, "particles targets"]
    ) -> Float[Tensor, "particles targets 4"]:
        """Return the weighted four-momentum that each particle sends to each combination and frame."""
        return weights_j.unsqueeze(-1) * x_j.unsqueeze(-2)

    def __repr__(self) -> str:
        mode = "" if self.mode == "pairs" else f", mode={self.mode!r}"
        frames = f", num_frames={self.num_frames}" if self.mode == "product" else ""
        return f"{type(self).__name__}(num_slots={self.num_slots}, num_particles={self.num_particles}{mode}{frames})"


def _check_numbers(num_slots: int, num_particles: int, mode: str, num_frames: int | None) -> None:
    if mode not in get_args(BoostMode):
        raise ValueError(
            f"mode must be a way to pair combinations with frames, got {mode!r}: {near(mode, get_args(BoostMode))}"
        )
    check_counts(num_slots=num_slots, num_particles=num_particles)
    if mode == "combinations" and num_particles < 2:
        raise ValueError(
            f"num_particles must be at least 2 with mode='combinations', got {num_particles}: combinations are boosted "
            "into each other's rest frames"
        )
    if mode != "product" and num_frames not in (None, num_particles):
        raise ValueError(
            f"num_frames must be num_particles={num_particles} with mode={mode!r}, got {num_frames}: only "
            "mode='product' has other numbers of frames"
        )
    if num_frames is not None:
        check_counts(num_frames=num_frames)
