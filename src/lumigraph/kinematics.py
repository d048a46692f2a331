"""Kinematics of four-momenta (px, py, pz, E)."""

from .events.kinematics import (
    boost,
    delta_phi,
    delta_r,
    eta,
    from_pt_eta_phi_mass,
    mass,
    mass2,
    phi,
    pt,
    rest_frame_mass,
)

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
