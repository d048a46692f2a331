"""Pictures of events: none is left open, none changes matplotlib's settings."""

import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from lumigraph import from_jagged
from lumigraph.events import kinematics

FEATS = ("px", "py", "pz", "E", "btag", "kind")


@pytest.fixture(autouse=True)
def figures_are_closed_and_settings_kept():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture
def batch():
    """Five events of px, py, pz, E, btag, kind: empty, one particle, across phi = pi, empty, and 200 particles."""
    lengths = torch.tensor([0, 1, 4, 0, 200])
    n = int(lengths.sum())
    random = torch.Generator().manual_seed(0)
    pt = 20 + 50 * torch.rand(n, generator=random, dtype=torch.float64)
    eta = 1.5 * torch.randn(n, generator=random, dtype=torch.float64)
    phi = math.pi * (2 * torch.rand(n, generator=random, dtype=torch.float64) - 1)
    eta[1:5] = torch.tensor([0.0, -1.0, 1.0, 0.5])
    phi[1:5] = torch.tensor([1.0, math.pi - 0.2, -math.pi + 0.2, 0.0])
    p4 = kinematics.from_pt_eta_phi_mass(pt, eta, phi, torch.zeros_like(pt))
    kind = torch.full((n,), 3.0, dtype=torch.float64)
    kind[1], p4[1, 2] = 0, 0.0  # missing transverse momentum
    btag = torch.arange(n, dtype=torch.float64) % 2 * (kind == 3)
    return from_jagged(
        torch.cat([p4, btag[:, None], kind[:, None]], dim=1),
        lengths=lengths,
        u=torch.arange(10.0).view(5, 2),
        y=torch.arange(5.0)[:, None],
        feats_per_vec=FEATS,
        weight=torch.arange(5.0),
    )
