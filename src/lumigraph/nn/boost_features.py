"""Features of four-momenta by name, finite even without a direction or a mass."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..events.errors import near
from ..events.kinematics import MAX_GAMMA, mass2, pt, rest_frame_mass

__all__ = ["FEATURES", "boost_features", "pair_cosines"]


def boost_features(p4: Float[Tensor, "events n 4"], names: Sequence[str]) -> Float[Tensor, "events features"]:
    r"""Return features of the four-momenta of events, in the order of their names.

    For each particle, in GeV where they have a unit:

    - ``E``, ``px``, ``py``, ``pz``, ``p`` = :math:`|\vec p|`, ``pt``;
    - ``eta`` = :math:`\mathrm{asinh}(p_z / \sqrt{p_t^2 + 10^{-10} E^2})`, the pseudorapidity, at most 12.2;
    - ``phi`` in [-pi, pi], times :math:`p_t^2 / (p_t^2 + 10^{-10} E^2)`;
    - ``m`` = :math:`\sqrt{E^2 - |\vec p|^2}`, the negative root :math:`-\sqrt{-m^2}` for a spacelike vector, 0 if
      :math:`|m^2| \le (10^{-6} E)^2`, which rounding cannot resolve;
    - ``beta`` = :math:`|\vec p| / E`, at most 1; ``gamma`` = E / m, 0 for a particle without a rest frame (see
      `lumigraph.events.kinematics.rest_frame_mass`).

    For every two particles i < j, in the order (0,1), (0,2), ..., (n-2,n-1):

    - ``pair_dr``: distance in eta and phi, :math:`\sqrt{\Delta\eta^2 + \Delta\phi^2}`;
    - ``pair_cos``: cosine of the angle between the momenta, see `pair_cosines`;
    - ``pair_ds``: ``m`` of the difference of the four-momenta, their signed distance in Minkowski space;
    - ``pair_dy``: difference of the rapidities atanh(beta), i minus j, each at most 14.5, along the particle's own
      direction, not along the beam.

    A particle at rest has no direction, and one along the beam has no phi: the terms :math:`10^{-10} E^2` take eta and
    phi smoothly to 0 where the direction would be rounding noise. They change eta by less than 3e-7 for particles with
    an eta of up to 5.

    Parameters
    ----------
    p4
        Four-momenta (px, py, pz, E) in GeV.
    names
        Names of features, keys of `FEATURES`.

    Raises
    ------
    ValueError
        If no name is given, or one is unknown.

    Notes
    -----
    **Shape.** (events, n, 4) to (events, F), with n columns per feature of particles, n(n-1)/2 per feature of pairs.

    Everything is computed in float64 and returned in the dtype of ``p4``. Values and gradients are finite for
    every four-momentum whose components are 0 or between 1e-75 and 1e+60 GeV.

    The names are those of the authors' implementation [1]_. It cuts off p, pt, m and the like at a constant of 1e-5;
    here only rounding is cut off, relative to the energy.

    References
    ----------
    .. [1] M. Erdmann et al., arXiv:1812.09722; M. Rieger, https://github.com/riga/LBN.

    Examples
    --------
    >>> p4 = torch.tensor([[[3.0, 4.0, 0.0, 13.0], [0.0, 0.0, 2.0, 2.0]]])
    >>> boost_features(p4, ["m", "pt", "pair_cos"])
    tensor([[12.,  0.,  5.,  0.,  0.]])
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"the features must be a list of at least one name, got {names!r}: {near('', FEATURES)}")
    for name in names:
        if name not in FEATURES:
            raise ValueError(f"the features must be those of four-momenta, got {name!r}: {near(str(name), FEATURES)}")
    p = p4.double()
    return torch.cat([FEATURES[name](p) for name in names], dim=1).to(p4.dtype)


def pair_cosines(p4: Float[Tensor, "events n 4"]) -> Float[Tensor, "events pairs"]:
    r"""Return the cosine of the angle between every two momenta of an event: (0,1), (0,2), ..., (n-2,n-1).

    A particle at rest has no direction: its cosines are 0. They approach 0 smoothly, since each squared momentum
    enters the norm as :math:`|p|^2 + 10^{-10} E^2`.

    Notes
    -----
    **Shape.** (events, n, 4) to (events, n(n-1)/2).

    Examples
    --------
    >>> pair_cosines(torch.tensor([[[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0]]]))
    tensor([[1., 0., 0.]])
    """
    momentum, energy = p4.permute(2, 0, 1).contiguous().double().split([3, 1])
    direction = momentum * (momentum.square().sum(0) + _still(energy[0])).rsqrt()
    # products of numbers up to 1 lose nothing in float32
    direction = direction.permute(1, 2, 0).to(torch.promote_types(p4.dtype, torch.float32))
    with torch.autocast(p4.device.type, enabled=False):
        return _above_diagonal(direction @ direction.transpose(1, 2)).to(p4.dtype)


def _above_diagonal(x: Tensor) -> Tensor:
    """Return the entries above the diagonal of matrices (events, n, n), row by row: (0,1), (0,2), ..., (n-2,n-1)."""
    n = x.size(1)
    first, second = torch.triu_indices(n, n, 1, device=x.device)
    # takes a sixth of the time of x[:, first, second]
    return x.flatten(1).gather(1, (first * n + second).expand(x.size(0), -1))


# Four-momenta below are in float64. Roots, quotients and angles have no finite gradient at 0: such entries are filled
# with another number first.


def _still(energy: Tensor) -> Tensor:
    """Return the squared momentum below which a direction is rounding noise."""
    return 1e-10 * energy.square() + 1e-30


def _momentum(p4: Tensor) -> Tensor:
    p2 = p4[..., :3].square().sum(-1)
    null = p2 == 0
    return p2.masked_fill(null, 1.0).sqrt().masked_fill(null, 0.0)


def _eta(p4: Tensor) -> Tensor:
    return torch.asinh(p4[..., 2] * (p4[..., :2].square().sum(-1) + _still(p4[..., 3])).rsqrt())


def _phi(p4: Tensor) -> Tensor:
    pt2 = p4[..., :2].square().sum(-1)
    # + 0.0 turns a py of -0 into 0, so that a particle along -x has phi = pi and not -pi
    angle = torch.atan2(p4[..., 1] + 0.0, p4[..., 0].masked_fill(pt2 == 0, 1.0))
    return angle * pt2 / (pt2 + _still(p4[..., 3]))


def _mass(p4: Tensor) -> Tensor:
    m2 = mass2(p4)
    null = m2.abs() <= (p4[..., 3] / MAX_GAMMA).square()
    return (m2.sign() * m2.abs().masked_fill(null, 1.0).sqrt()).masked_fill(null, 0.0)


def _beta(p4: Tensor) -> Tensor:
    p = _momentum(p4)
    most = torch.maximum(p, p4[..., 3])
    return p / most.masked_fill(most <= 0, 1.0)


def _gamma(p4: Tensor) -> Tensor:
    m, has_rest_frame = rest_frame_mass(p4)
    return (p4[..., 3] / m).masked_fill(~has_rest_frame, 0.0)


def _rapidity(p4: Tensor) -> Tensor:
    p = _momentum(p4)
    most = torch.maximum(p, p4[..., 3])
    least_m2 = (most.masked_fill(most <= 0, 1.0) / MAX_GAMMA).square()
    return torch.asinh(p * torch.maximum(mass2(p4), least_m2).rsqrt())


def _difference(x: Tensor) -> Tensor:
    return _above_diagonal(x.unsqueeze(2) - x.unsqueeze(1))


def _delta_r(p4: Tensor) -> Tensor:
    d_phi = torch.remainder(_difference(_phi(p4)) + math.pi, 2 * math.pi) - math.pi
    d2 = _difference(_eta(p4)).square() + d_phi.square()
    null = d2 == 0
    return d2.masked_fill(null, 1.0).sqrt().masked_fill(null, 0.0)


#: Features by name, each a function of float64 four-momenta (events, n, 4); see `boost_features`.
FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "E": lambda p4: p4[..., 3],
    "px": lambda p4: p4[..., 0],
    "py": lambda p4: p4[..., 1],
    "pz": lambda p4: p4[..., 2],
    "p": _momentum,
    "pt": pt,
    "eta": _eta,
    "phi": _phi,
    "m": _mass,
    "beta": _beta,
    "gamma": _gamma,
    "pair_dr": _delta_r,
    "pair_cos": pair_cosines,
    "pair_ds": lambda p4: _mass(torch.stack([_difference(x) for x in p4.unbind(-1)], dim=-1)),
    "pair_dy": lambda p4: _difference(_rapidity(p4)),
}
