"""The Lorentz boost layer: learned combinations of particles, seen from learned rest frames."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ..graph import ptr_to_batch
from ..kinematics import boost
from ..particles import check_slots

__all__ = ["LorentzBoostConv", "pair_cosines"]


class LorentzBoostConv(MessagePassing):
    r"""Combine the four-momenta of an event and boost each combination into a rest frame of its own.

    With weights per slot :math:`s` that are used by their absolute value,

    .. math::
        k_a = \sum_s |w_{as}|\, p_s, \qquad r_a = \sum_s |u_{as}|\, p_s, \qquad k'_a = \Lambda(r_a)\, k_a

    where :math:`\Lambda(r)` is the boost into the rest frame of :math:`r`. As messages: every particle sends its
    weighted four-momentum to the combinations and to the frames of its event.

    Parameters
    ----------
    num_slots
        Places for particles in an event.
    num_particles
        Number of combinations, each with its frame.

    Raises
    ------
    ValueError
        If a number is not positive, or a particle is in a slot that does not exist.

    Notes
    -----
    **Shape.** ``p4`` (particles, 4), ``slot`` (particles,), ``ptr`` (events + 1,); returns (events, num_particles, 4).

    **Units.** GeV; momenta as they are, not standardised.

    **Symmetry.** None under permutation: each slot has weights of its own. Invariant under a boost of all frames
    together only as far as `lumigraph.kinematics.boost` is: a common boost rotates each :math:`k'_a`.

    Sums and boosts are done in float64. A frame without a rest frame (no particle, or all along one direction and
    massless) boosts nothing.

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
    """

    def __init__(self, num_slots: int, num_particles: int) -> None:
        super().__init__(aggr="sum", flow="source_to_target", node_dim=0)
        if num_slots < 1 or num_particles < 1:
            raise ValueError(
                f"num_slots and num_particles must be at least 1, got num_slots={num_slots} and "
                f"num_particles={num_particles}"
            )
        self.num_slots = num_slots
        self.num_particles = num_particles
        self.part_wgts = nn.Parameter(torch.empty(num_particles, num_slots))
        self.rf_wgts = nn.Parameter(torch.empty(num_particles, num_slots))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, normal with a standard deviation of 1 / num_particles."""
        super().reset_parameters()
        nn.init.normal_(self.part_wgts, std=1 / self.num_particles)
        nn.init.normal_(self.rf_wgts, std=1 / self.num_particles)

    def forward(
        self, p4: Float[Tensor, "particles 4"], slot: Int[Tensor, " particles"], ptr: Int[Tensor, " events_plus_1"]
    ) -> Float[Tensor, "events num_particles 4"]:
        """Return the boosted combinations."""
        combinations, frames = self.combine(p4, slot, ptr)
        return boost(combinations, frames).to(p4.dtype)

    def combine(
        self, p4: Float[Tensor, "particles 4"], slot: Int[Tensor, " particles"], ptr: Int[Tensor, " events_plus_1"]
    ) -> tuple[Float[Tensor, "events num_particles 4"], Float[Tensor, "events num_particles 4"]]:
        """Return the combinations and the frames before the boost, in float64."""
        check_slots(slot, ptr, self.num_slots)
        event = ptr_to_batch(ptr, p4.size(0))
        to_event = torch.stack([torch.arange(p4.size(0), device=p4.device), event])
        weights = torch.cat([self.part_wgts, self.rf_wgts]).abs().double().t()[slot]
        both = self.propagate(
            to_event, x=(p4.double(), None), weights=(weights, None), size=(p4.size(0), ptr.numel() - 1)
        )
        return both[:, : self.num_particles], both[:, self.num_particles :]

    def dense(self, rows: Float[Tensor, "events slots 4"]) -> Float[Tensor, "events num_particles 4"]:
        """Return the boosted combinations of padded events: four-momenta slot by slot, 0 where there is none."""
        weights = torch.cat([self.part_wgts, self.rf_wgts]).abs().double()
        both = weights @ rows.double()
        return boost(both[:, : self.num_particles], both[:, self.num_particles :]).to(rows.dtype)

    def message(
        self, x_j: Float[Tensor, "particles 4"], weights_j: Float[Tensor, "particles targets"]
    ) -> Float[Tensor, "particles targets 4"]:
        """Return the weighted four-momentum that each particle sends to each combination and frame."""
        return weights_j.unsqueeze(-1) * x_j.unsqueeze(-2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_slots={self.num_slots}, num_particles={self.num_particles})"


def pair_cosines(p4: Float[Tensor, "events n 4"]) -> Float[Tensor, "events pairs"]:
    r"""Return the cosine of the angle between every two momenta of an event: (0,1), (0,2), ..., (n-2,n-1).

    A particle at rest has no direction: its cosines are 0, and go there smoothly, since each momentum squared enters
    the norm as :math:`|p|^2 + 10^{-10} E^2`.

    Notes
    -----
    **Shape.** (events, n, 4) to (events, n(n-1)/2).

    Examples
    --------
    >>> pair_cosines(torch.tensor([[[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0]]]))
    tensor([[1., 0., 0.]])
    """
    p = p4.double()
    first, second = torch.triu_indices(p.size(1), p.size(1), 1, device=p.device)
    gram = p[..., :3] @ p[..., :3].transpose(1, 2)
    norm2 = gram.diagonal(dim1=1, dim2=2) + 1e-10 * p[..., 3].square() + 1e-30
    return (gram[:, first, second] * (norm2[:, first] * norm2[:, second]).rsqrt()).to(p4.dtype)
