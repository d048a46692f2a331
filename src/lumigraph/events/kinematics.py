"""Four-momenta (px, py, pz, E) as tensors: mass, directions, distances and boosts.

Everything is computed in float64 and returned in the dtype of the input: a difference such as E² - p² of a fast
particle has no digits left in float32.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "boost",
    "delta_phi",
    "delta_r",
    "eta",
    "from_pt_eta_phi_mass",
    "mass",
    "mass2",
    "phi",
    "pt",
    "rest_frame_mass",
]

#: A frame faster than this has no rest frame that float64 can tell from a massless one.
MAX_GAMMA = 1e6


def _zero_where(bad: Tensor, x: Tensor, value: float = 1.0) -> Tensor:
    # sqrt, division and atan2 have no finite gradient at 0: such entries are replaced before they are reached.
    return torch.where(bad, torch.full_like(x, value), x)


def mass2(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the invariant mass squared, E² - px² - py² - pz², in GeV².

    Examples
    --------
    >>> mass2(torch.tensor([3.0, 0.0, 0.0, 5.0]))
    tensor(16.)
    """
    return _mass2(p4.double()).to(p4.dtype)


def _mass2(p4: Tensor) -> Tensor:
    # (E - |p|)(E + |p|) would keep two more digits, at the price of the gradient of |p| at rest; float64 has digits
    # to spare for both.
    momentum, energy = p4.split([3, 1], dim=-1)
    return energy.squeeze(-1).square() - momentum.square().sum(-1)


def mass(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the invariant mass in GeV; a spacelike vector has the negative root -sqrt(-m²).

    Examples
    --------
    >>> mass(torch.tensor([[3.0, 0.0, 0.0, 5.0], [0.0, 0.0, 5.0, 3.0]]))
    tensor([ 4., -4.])
    """
    m2 = _mass2(p4.double())
    null = m2 == 0
    root = _zero_where(null, m2).abs().sqrt() * m2.sign()
    return torch.where(null, torch.zeros_like(m2), root).to(p4.dtype)


def pt(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the transverse momentum in GeV.

    Examples
    --------
    >>> pt(torch.tensor([3.0, 4.0, 12.0, 13.0]))
    tensor(5.)
    """
    p = p4.double()
    pt2 = p[..., 0].square() + p[..., 1].square()
    null = pt2 == 0
    return torch.where(null, torch.zeros_like(pt2), _zero_where(null, pt2).sqrt()).to(p4.dtype)


def phi(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the azimuthal angle in (-pi, pi]; 0 where there is no transverse momentum.

    Examples
    --------
    >>> phi(torch.tensor([0.0, 2.0, 0.0, 2.0]))
    tensor(1.5708)
    """
    return _phi(p4.double()).to(p4.dtype)


def _phi(p4: Tensor) -> Tensor:
    px, py = p4[..., 0], p4[..., 1]
    null = (px == 0) & (py == 0)
    # + 0.0 turns a py of -0 into 0, so that a particle along -x has phi = pi and not -pi
    return torch.where(null, torch.zeros_like(px), torch.atan2(py + 0.0, _zero_where(null, px)))


def eta(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the pseudorapidity; along the beam it is infinite, for zero momentum 0.

    Examples
    --------
    >>> eta(torch.tensor([[3.0, 4.0, 0.0, 5.0], [0.0, 0.0, 2.0, 2.0]]))
    tensor([0., inf])
    """
    p = p4.double()
    transverse, pz = pt(p), p[..., 2]
    along = transverse == 0
    angle = torch.asinh(pz / _zero_where(along, transverse))
    beam = torch.where(pz == 0, torch.zeros_like(pz), torch.copysign(torch.full_like(pz, math.inf), pz)).detach()
    return torch.where(along, beam, angle).to(p4.dtype)


def _wrap(angle: Tensor) -> Tensor:
    """Bring a difference of two angles in (-pi, pi] into (-pi, pi]."""
    angle = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    return torch.where(angle <= -math.pi, angle + 2 * math.pi, angle)


def delta_phi(a: Float[Tensor, "*#shape 4"], b: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the azimuthal angle of a with respect to b, phi(a) - phi(b), in (-pi, pi].

    Examples
    --------
    >>> a, b = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([-1.0, 0.0, 0.0, 1.0])
    >>> delta_phi(a, b), delta_phi(b, a)
    (tensor(-1.5708), tensor(1.5708))
    """
    return _wrap(_phi(a.double()) - _phi(b.double())).to(a.dtype)


def delta_r(a: Float[Tensor, "*#shape 4"], b: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape"]:
    """Return the distance in the eta-phi plane, sqrt(delta_eta² + delta_phi²).

    Two particles along the same beam direction have distance 0 in eta; one along the beam and one that is not are
    infinitely far apart.

    Examples
    --------
    >>> delta_r(torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0]))
    tensor(1.5708)
    """
    eta_a, eta_b = torch.broadcast_tensors(eta(a.double()), eta(b.double()))
    same = eta_a == eta_b  # also inf and inf, whose difference is no number
    d_eta = _zero_where(same, eta_a, 0.0) - _zero_where(same, eta_b, 0.0)
    far = d_eta.isinf()  # an infinite square would make the gradient 0 times infinity
    d2 = _zero_where(far, d_eta, 0.0).square() + delta_phi(a.double(), b.double()).square()
    null = d2 == 0
    near = torch.where(null, torch.zeros_like(d2), _zero_where(null, d2).sqrt())
    return _zero_where(far, near, math.inf).to(a.dtype)


def from_pt_eta_phi_mass(
    pt: Float[Tensor, "*shape"],
    eta: Float[Tensor, "*shape"],
    phi: Float[Tensor, "*shape"],
    mass: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape 4"]:
    """Return the four-momenta (px, py, pz, E) of collider coordinates.

    Examples
    --------
    >>> one = torch.tensor(1.0)
    >>> from_pt_eta_phi_mass(3 * one, 0 * one, 0 * one, 4 * one)
    tensor([3., 0., 0., 5.])
    """
    t, h, f, m = (v.double() for v in (pt, eta, phi, mass))
    pz = t * torch.sinh(h)
    energy = (t.square() + pz.square() + m.square()).sqrt()
    return torch.stack([t * torch.cos(f), t * torch.sin(f), pz, energy], dim=-1).to(pt.dtype)


def rest_frame_mass(frame: Float[Tensor, "*shape 4"]) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return the masses of frames, and which of them have a rest frame at all.

    A frame has none if its energy is not positive, or if it is massless, spacelike or faster than gamma = 1e6, which
    float64 cannot tell apart. Its mass is then given as 1.

    Examples
    --------
    >>> rest_frame_mass(torch.tensor([[0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 3.0, 3.0]]))
    (tensor([4., 1.]), tensor([ True, False]))
    """
    p = frame.double()
    m2 = _mass2(p)
    has = (p[..., 3] > 0) & (m2 > (p[..., 3] / MAX_GAMMA).square())
    return torch.where(has, m2, 1.0).sqrt().to(frame.dtype), has


def boost(p4: Float[Tensor, "*#shape 4"], frame: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape 4"]:
    r"""Return p4 as seen in the rest frame of ``frame``.

    With the frame's momentum :math:`\vec r`, energy :math:`E_r` and mass :math:`m`,

    .. math::
        E' = \frac{E_r E - \vec r\cdot\vec p}{m}, \qquad
        \vec p\,' = \vec p - \vec r\,\frac{E + E'}{E_r + m},

    which needs neither the velocity nor gamma. A frame without a rest frame (see `rest_frame_mass`) boosts nothing:
    p4 is returned as it is. Values and gradients are finite for every finite input.

    Parameters
    ----------
    p4
        Four-momenta in GeV.
    frame
        Four-momenta of the frames in GeV; broadcast against ``p4``.

    Returns
    -------
    Tensor
        Four-momenta in GeV, in the dtype of ``p4``.

    Notes
    -----
    **Shape.** (..., 4) each.

    Examples
    --------
    A particle in its own rest frame is its mass:

    >>> p = torch.tensor([3.0, 0.0, 0.0, 5.0])
    >>> boost(p, p)
    tensor([0., 0., 0., 4.])
    """
    m, has = (x.unsqueeze(-1) for x in rest_frame_mass(frame.double()))
    # a frame without rest frame is replaced by one at rest before anything is divided: identity, with finite gradients
    p_r, e_r = frame.double().split([3, 1], dim=-1)
    p_r, e_r = torch.where(has, p_r, 0.0), torch.where(has, e_r, 1.0)
    p, e = p4.double().split([3, 1], dim=-1)
    e_there = (e_r * e - (p_r * p).sum(-1, keepdim=True)) / m
    p_there = torch.addcmul(p, p_r, (e + e_there) / (e_r + m), value=-1)
    return torch.cat([p_there.to(p4.dtype), e_there.to(p4.dtype)], dim=-1)
