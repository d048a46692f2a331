"""Kinematic features of particles and pairs, with the library `vector` as the oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.nn.kinematic_features import pair_features, particle_features

vector = pytest.importorskip("vector")


def hard(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    p = 50 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    mass = 5 * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return torch.cat([p, (p.square().sum(1, keepdim=True) + mass.square()).sqrt()], dim=1)


def turned(p4, angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * p4[:, 0] - s * p4[:, 1], s * p4[:, 0] + c * p4[:, 1], p4[:, 2], p4[:, 3]], dim=1)


def boosted_along_beam(p4, rapidity):
    c, s = math.cosh(rapidity), math.sinh(rapidity)
    return torch.stack([p4[:, 0], p4[:, 1], c * p4[:, 2] + s * p4[:, 3], s * p4[:, 2] + c * p4[:, 3]], dim=1)


def by_vector(p4):
    return vector.array({name: p4[:, i].numpy() for i, name in enumerate(("px", "py", "pz", "E"))})


class TestAgainstVector:
    def test_particles(self):
        p4 = hard(40)
        one, jet = by_vector(p4), by_vector(p4.sum(0, keepdim=True).expand(40, 4))
        d_r = one.deltaR(jet)
        expected = [
            0.7 * (np.log(one.pt) - 1.7), 0.7 * (np.log(one.E) - 2.0), 0.7 * (np.log(one.pt / jet.pt) + 4.7),
            0.7 * (np.log(one.E / jet.E) + 4.7), one.deltaeta(jet), one.deltaphi(jet), 4 * (d_r - 0.2),
        ]  # fmt: skip
        found = particle_features(p4, p4.sum(0))
        np.testing.assert_allclose(found.numpy(), np.stack(expected, axis=1), rtol=1e-6, atol=1e-6)

    def test_pairs(self):
        p4, others = hard(40), hard(40, seed=1)
        a, b = by_vector(p4), by_vector(others)
        softer = np.minimum(a.pt, b.pt)
        expected = [a.deltaR(b), softer * a.deltaR(b), softer / (a.pt + b.pt), (a + b).mass2]
        found = pair_features(p4, others)
        np.testing.assert_allclose(found.numpy(), np.log(np.stack(expected, axis=1)), rtol=1e-6, atol=1e-6)


class TestSymmetry:
    @given(angle=st.floats(-7, 7), rapidity=st.floats(-2, 2))
    def test_pairs_do_not_see_where_the_event_points(self, angle, rapidity):
        p4 = hard(12)
        p4[:, 3] = p4[:, :3].norm(dim=1)  # massless: the pseudorapidity is the rapidity
        moved = boosted_along_beam(turned(p4, angle), rapidity)
        before, after = (pair_features(p[:6], p[6:]) for p in (p4, moved))
        torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-7)

    @given(angle=st.floats(-7, 7))
    def test_particles_do_not_see_where_the_event_points(self, angle):
        p4 = hard(12)
        moved = turned(p4, angle)
        torch.testing.assert_close(particle_features(moved, moved.sum(0)), particle_features(p4, p4.sum(0)))

    def test_either_comes_first(self):
        a, b = hard(9), hard(9, seed=2)
        assert torch.equal(pair_features(a, b), pair_features(b, a))

    def test_across_the_seam_in_phi(self):
        a, b = (torch.tensor([[-10.0, sign * 0.1, 0.0, 10.0]], dtype=torch.float64) for sign in (1, -1))
        assert pair_features(a, b)[0, 0].exp() == pytest.approx(0.02, rel=1e-3)
        assert particle_features(a, b)[0, 5].abs() == pytest.approx(0.02, rel=1e-3)


STRANGE = [
    [0.0, 0, 0, 0],
    [0, 0, 0, 5],
    [0, 0, 9, 9],
    [0, 0, -9, 9],
    [3, 4, 0, 5],
    [1e-30, 0, 0, 1e-30],
    [1e6, 0, 1e6, 2e6],
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strange_momenta_are_finite_with_finite_gradients(dtype):
    p4 = torch.tensor(STRANGE, dtype=dtype, requires_grad=True)
    found = [particle_features(p4, p4.sum(0)), pair_features(p4.unsqueeze(0), p4.unsqueeze(1))]
    assert all(f.isfinite().all() for f in found)
    assert found[0].dtype == dtype
    (gradient,) = torch.autograd.grad(sum(f.double().sum() for f in found), p4)
    assert gradient.isfinite().all()
