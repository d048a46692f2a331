"""Kinematic features for jet taggers: of each particle relative to its event, and of every pair."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..events.kinematics import delta_phi, phi, pt
from .boost_features import FEATURES

__all__ = [
    "NUM_PAIR_FEATURES",
    "NUM_PARTICLE_FEATURES",
    "describe",
    "features_of_described",
    "pair_features",
    "particle_features",
]

NUM_PARTICLE_FEATURES, NUM_PAIR_FEATURES = 7, 4

#: Lower limits of logarithms: for momenta and energies in GeV, distances in eta and phi, squared masses in GeV².
LEAST_PT, LEAST_DELTA_R, LEAST_M2 = 1e-3, 1e-3, 1e-2

#: Shift and scale of the features of particles, as in the training of the Particle Transformer on jets.
_PARTICLE_SHIFT = (1.7, 2.0, -4.7, -4.7, 0.0, 0.0, 0.2)
_PARTICLE_SCALE = (0.7, 0.7, 0.7, 0.7, 1.0, 1.0, 4.0)


def particle_features(p4: Float[Tensor, "*shape 4"], axis: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape 7"]:
    r"""Return the kinematic features of particles relative to the axis of their jet or event.

    In this order: :math:`\ln p_T`, :math:`\ln E`, :math:`\ln(p_T / p_T^{axis})`, :math:`\ln(E / E^{axis})`,
    :math:`\Delta\eta`, :math:`\Delta\phi`, :math:`\Delta R`, each shifted and scaled to about unit size.

    Parameters
    ----------
    p4
        Four-momenta (px, py, pz, E) in GeV.
    axis
        Four-momentum of the jet or event that each particle belongs to, in GeV.

    Notes
    -----
    **Shape.** (..., 4) each to (..., 7).

    Everything is computed in float64, and is finite with finite gradients for every finite four-momentum: pT and E are
    cut off at 1 MeV, and eta is at most 12.2 along the beam.

    **Symmetry.** Invariant under rotations about the beam; all but the energies under boosts along it.

    References
    ----------
    .. [1] H. Qu, L. Gouskos, "Jet tagging via particle clouds", arXiv:1902.08570, table 1.

    Examples
    --------
    >>> p4 = torch.tensor([[30.0, 0.0, 0.0, 30.0], [0.0, 10.0, 0.0, 10.0]])
    >>> particle_features(p4, p4.sum(0)).shape
    torch.Size([2, 7])
    """
    p, total = p4.double(), axis.double()
    log_pt, log_energy, log_pt_axis, log_energy_axis = (
        x.clamp(min=LEAST_PT).log() for x in (pt(p), p[..., 3], pt(total), total[..., 3])
    )
    d_eta = FEATURES["eta"](p) - FEATURES["eta"](total)
    d_phi = delta_phi(p, total)
    d_r = (d_eta.square() + d_phi.square()).clamp(min=1e-12).sqrt()
    columns = [log_pt, log_energy, log_pt - log_pt_axis, log_energy - log_energy_axis, d_eta, d_phi, d_r]
    columns = [(x - shift) * scale for x, shift, scale in zip(columns, _PARTICLE_SHIFT, _PARTICLE_SCALE, strict=True)]
    return torch.stack(columns, dim=-1).to(p4.dtype)


def pair_features(a: Float[Tensor, "*#shape 4"], b: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*shape 4"]:
    r"""Return the kinematic features of pairs of particles.

    In this order:

    .. math::
        \ln\Delta R, \quad \ln k_T = \ln\left(\min(p_{T,a}, p_{T,b})\,\Delta R\right), \quad
        \ln z = \ln\frac{\min(p_{T,a}, p_{T,b})}{p_{T,a} + p_{T,b}}, \quad
        \ln m^2 = \ln\left((E_a + E_b)^2 - |\vec p_a + \vec p_b|^2\right)

    Parameters
    ----------
    a, b
        Four-momenta (px, py, pz, E) in GeV.

    Notes
    -----
    **Shape.** (..., 4) each to (..., 4).

    Everything is computed in float64, and is finite with finite gradients for every finite four-momentum: logarithms
    are cut off below a distance of 0.001 and a mass of 0.1 GeV, differences that rounding and detectors cannot resolve.

    **Symmetry.** The same for (a, b) and (b, a). Invariant under rotations about the beam and boosts along it (of
    massless particles); the mass is invariant under all Lorentz transformations.

    References
    ----------
    .. [1] H. Qu, C. Li, S. Qian, "Particle Transformer for Jet Tagging", arXiv:2202.03772, eq. 3, here with the
       pseudorapidity in place of the rapidity.

    Examples
    --------
    >>> a, b = torch.tensor([[30.0, 0.0, 0.0, 30.0], [0.0, 10.0, 0.0, 10.0]])
    >>> pair_features(a, b)[3]  # the squared mass is 2 * 30 * 10, ln(600) = 6.4
    tensor(6.3969)
    """
    return features_of_described(describe(a), describe(b)).to(a.dtype)


def describe(p4: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 8"]:
    """Return what pair features need from each particle, in float64: eta, phi, pT, ln pT and the four-momentum."""
    p = p4.double()
    size = pt(p).clamp(min=LEAST_PT)
    return torch.cat([torch.stack([FEATURES["eta"](p), phi(p), size, size.log()], dim=-1), p], dim=-1)


def features_of_described(a: Float[Tensor, "*#shape 8"], b: Float[Tensor, "*#shape 8"]) -> Float[Tensor, "*shape 4"]:
    """Return the `pair_features`, in float64, of particles described by `describe`."""
    turn = a[..., 1] - b[..., 1]
    d_phi = turn - 2 * math.pi * torch.round(turn / (2 * math.pi))
    d2 = (a[..., 0] - b[..., 0]).square() + d_phi.square()
    log_delta_r = 0.5 * d2.clamp(min=LEAST_DELTA_R**2).log()
    softer = torch.minimum(a[..., 3], b[..., 3])
    total = a[..., 4:] + b[..., 4:]
    log_m2 = (total[..., 3].square() - total[..., :3].square().sum(-1)).clamp(min=LEAST_M2).log()
    log_z = softer - (a[..., 2] + b[..., 2]).log()
    return torch.stack([log_delta_r, softer + log_delta_r, log_z, log_m2], dim=-1)
