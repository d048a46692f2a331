import math

import numpy as np
import pytest
import torch
import vector
from hypothesis import given
from hypothesis import strategies as st

from lumigraph.events.kinematics import (
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

#: float64 against float64; gamma of 1e3 costs six digits in a mass
TIGHT, LOOSE = 1e-12, 1e-8
PION_MASS = 0.13957039

OF_ONE = {"mass": mass, "mass2": mass2, "pt": pt, "eta": eta, "phi": phi}
OF_TWO = {"delta_phi": delta_phi, "delta_r": delta_r, "boost": boost}

SPECIAL = {
    "zero": (0, 0, 0, 0),
    "at rest": (0, 0, 0, 5),
    "massless": (3, 4, 0, 5),
    "massless along x": (7, 0, 0, 7),
    "massless against x": (-7, -0.0, 0, 7),
    "massless along the beam": (0, 0, 2, 2),
    "massless against the beam": (0, 0, -2, 2),
    "massive along the beam": (0, 0, 3, 5),
    "collinear with massless": (6, 8, 0, 10.5),
    "spacelike": (3, 4, 12, 5),
    "missing momentum without pz and E": (3, -4, 0, 0),
    "momentum without E": (1, 2, 3, 0),
    "negative energy": (1, 0, 0, -4),
    "fast": (0.3, 0.4, 500, math.sqrt(500**2 + 0.25 + PION_MASS**2)),
    "too fast": (0, 1e4, 0, math.sqrt(1e8 + 1e-12)),
}


def random_p4(n=3000, max_gamma=1e3, seed=0):
    """Four-momenta in all directions, gamma from just above 1 up to max_gamma."""
    random = np.random.default_rng(seed)
    m = 10 ** random.uniform(-2, 2, n)
    gamma = 1 + 10 ** random.uniform(-3, math.log10(max_gamma - 1), n)
    direction = random.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    p = direction * (m * np.sqrt(gamma**2 - 1))[:, None]
    return torch.from_numpy(np.concatenate([p, (m * gamma)[:, None]], axis=1))


def as_vector(p4):
    columns = p4.double().numpy().T
    return vector.array(dict(zip(("px", "py", "pz", "E"), columns, strict=True)))


def as_tensor(v):
    return torch.from_numpy(np.stack([v.px, v.py, v.pz, v.E], axis=-1))


def gradients(function, *inputs):
    """Values, and the gradients of the sum of the finite ones."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = function(*inputs)
    if not value.requires_grad:
        return value, []
    return value.detach(), torch.autograd.grad(value[value.isfinite()].sum(), inputs)


class TestAgainstVector:
    def test_mass(self):
        p4 = random_p4()
        torch.testing.assert_close(mass(p4), torch.from_numpy(as_vector(p4).mass), rtol=LOOSE, atol=0)
        torch.testing.assert_close(mass2(p4), torch.from_numpy(as_vector(p4).mass2), rtol=LOOSE, atol=0)

    def test_negative_root_of_a_spacelike_vector(self):
        p4 = random_p4()
        p4[:, 3] *= 0.5
        assert (mass(p4) < 0).sum() > 100
        torch.testing.assert_close(mass(p4), torch.from_numpy(as_vector(p4).mass), rtol=LOOSE, atol=0)

    @pytest.mark.parametrize("name", ["pt", "eta", "phi"])
    def test_coordinates(self, name):
        p4 = random_p4(seed=1)
        expected = torch.from_numpy(getattr(as_vector(p4), name))
        torch.testing.assert_close(OF_ONE[name](p4), expected, rtol=1e-10, atol=TIGHT)

    def test_delta_phi(self):
        a, b = random_p4(seed=2), random_p4(seed=3)
        expected = torch.from_numpy(as_vector(a).deltaphi(as_vector(b)))
        torch.testing.assert_close(delta_phi(a, b), expected, rtol=0, atol=TIGHT)

    def test_delta_r(self):
        a, b = random_p4(seed=4), random_p4(seed=5)
        expected = torch.from_numpy(as_vector(a).deltaR(as_vector(b)))
        torch.testing.assert_close(delta_r(a, b), expected, rtol=1e-10, atol=TIGHT)

    def test_boost(self):
        p4, frame = random_p4(seed=6), random_p4(seed=7)
        expected = as_tensor(as_vector(p4).boostCM_of(as_vector(frame)))
        largest = (p4[:, 3] * frame[:, 3] / mass(frame)).unsqueeze(1)
        torch.testing.assert_close(boost(p4, frame) / largest, expected / largest, rtol=0, atol=LOOSE)

    def test_boost_with_a_slow_frame_to_the_last_digits(self):
        p4, frame = random_p4(max_gamma=3, seed=8), random_p4(max_gamma=3, seed=9)
        expected = as_tensor(as_vector(p4).boostCM_of(as_vector(frame)))
        torch.testing.assert_close(boost(p4, frame), expected, rtol=1e-11, atol=1e-11)

    def test_from_collider_coordinates(self):
        random = np.random.default_rng(10)
        coordinates = {
            "pt": random.uniform(0, 1e3, 1000),
            "eta": random.uniform(-5, 5, 1000),
            "phi": random.uniform(-math.pi, math.pi, 1000),
            "mass": random.uniform(0, 200, 1000),
        }
        ours = from_pt_eta_phi_mass(**{k: torch.from_numpy(v) for k, v in coordinates.items()})
        torch.testing.assert_close(ours, as_tensor(vector.array(coordinates)), rtol=TIGHT, atol=TIGHT)

    def test_collider_coordinates_and_back(self):
        p4 = random_p4(max_gamma=30, seed=11)
        again = from_pt_eta_phi_mass(pt(p4), eta(p4), phi(p4), mass(p4))
        torch.testing.assert_close(again, p4, rtol=LOOSE, atol=LOOSE)


class TestAngles:
    def test_delta_phi_is_antisymmetric(self):
        a, b = random_p4(seed=12), random_p4(seed=13)
        assert torch.equal(delta_phi(a, b), -delta_phi(b, a))

    @given(*[st.floats(-math.pi, math.pi)] * 2)
    def test_delta_phi_is_the_angle_between_minus_pi_and_pi(self, phi_a, phi_b):
        # on both sides of the cut: wrapping only one of them is a known mistake
        a, b = (torch.tensor([math.cos(f), math.sin(f), 0, 1], dtype=torch.float64) for f in (phi_a, phi_b))
        found = float(delta_phi(a, b))
        assert -math.pi < found <= math.pi
        assert math.cos(found) == pytest.approx(math.cos(phi_a - phi_b), abs=TIGHT)
        assert math.sin(found) == pytest.approx(math.sin(phi_a - phi_b), abs=TIGHT)

    def test_back_to_back_is_plus_pi_both_ways(self):
        a, b = torch.tensor([[1.0, 0, 0, 1], [-1.0, 0, 0, 1]], dtype=torch.float64)
        assert float(delta_phi(a, b)) == float(delta_phi(b, a)) == math.pi

    def test_delta_r_is_symmetric(self):
        a, b = random_p4(seed=14), random_p4(seed=15)
        assert torch.equal(delta_r(a, b), delta_r(b, a))
        assert torch.equal(delta_r(a, a), torch.zeros(len(a), dtype=torch.float64))

    def test_phi_is_in_minus_pi_to_pi(self):
        p4 = torch.tensor([[-1.0, 0.0, 0, 1], [-1.0, -0.0, 0, 1], [0.0, 0.0, 1, 1], [-0.0, 0.0, 1, 1]])
        assert phi(p4.double()).tolist() == [math.pi, math.pi, 0.0, 0.0]

    def test_eta_along_the_beam(self):
        p4 = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, -2, 2], [0.0, 0, 0, 2], [0.0, 0, 0, 0]])
        assert eta(p4).tolist() == [math.inf, -math.inf, 0.0, 0.0]

    def test_delta_r_along_the_beam(self):
        forward, backward, central = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, -3, 3], [1.0, 0, 0, 1]])
        assert float(delta_r(forward, forward)) == 0
        assert float(delta_r(forward, 2 * forward)) == 0
        assert float(delta_r(forward, backward)) == math.inf
        assert float(delta_r(forward, central)) == math.inf

    @pytest.mark.parametrize("scale", [0.125, 4.0, 1024.0])
    def test_scaling_scales_mass_and_pt_and_leaves_angles(self, scale):
        a, b = random_p4(seed=16), random_p4(seed=17)
        assert torch.equal(mass(scale * a), scale * mass(a))  # a power of two rounds nothing
        assert torch.equal(mass2(scale * a), scale**2 * mass2(a))
        assert torch.equal(pt(scale * a), scale * pt(a))
        assert torch.equal(phi(scale * a), phi(a))
        assert torch.equal(eta(scale * a), eta(a))
        assert torch.equal(delta_r(scale * a, b), delta_r(a, b))
        assert torch.equal(delta_phi(a, scale * b), delta_phi(a, b))


class TestBoost:
    def test_into_its_own_frame_leaves_the_mass(self):
        p4 = random_p4(seed=18)
        m, energy = mass(p4).unsqueeze(1), p4[:, 3:]
        there = boost(p4, p4)
        torch.testing.assert_close(there[:, 3:] / m, torch.ones_like(m), rtol=0, atol=LOOSE)
        assert float((there[:, :3] / energy).abs().max()) < LOOSE

    def test_into_a_frame_at_rest_changes_nothing(self):
        p4 = random_p4(seed=19)
        at_rest = torch.tensor([0, 0, 0, 7.0], dtype=torch.float64)
        torch.testing.assert_close(boost(p4, at_rest), p4, rtol=1e-15, atol=0)

    def test_by_hand(self):
        # gamma = 5/3, beta = 4/5 along z
        found = boost(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([0.0, 0.0, 4.0, 5.0]))
        expected = torch.tensor([1.0, 2.0, 5 / 3 * (3 - 0.8 * 6), 5 / 3 * (6 - 0.8 * 3)])
        torch.testing.assert_close(found, expected)

    def test_there_and_back(self):
        p4, frame = random_p4(max_gamma=10, seed=20), random_p4(max_gamma=10, seed=21)
        opposite = frame * torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(boost(boost(p4, frame), opposite), p4, rtol=1e-9, atol=1e-9)

    def test_length_of_the_frame_does_not_matter(self):
        p4, frame = random_p4(seed=22), random_p4(seed=23)
        assert torch.equal(boost(p4, 8 * frame), boost(p4, frame))

    def test_leaves_masses_and_products_as_they_are(self):
        a, b, frame = (random_p4(max_gamma=30, seed=s) for s in (24, 25, 26))
        torch.testing.assert_close(mass(boost(a, frame)), mass(a), rtol=LOOSE, atol=0)
        metric = torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
        product = (boost(a, frame) * boost(b, frame) * metric).sum(1)
        torch.testing.assert_close(product, (a * b * metric).sum(1), rtol=LOOSE, atol=0)

    @pytest.mark.parametrize("name", ["zero", "massless", "spacelike", "negative energy", "too fast"])
    def test_a_frame_without_rest_frame_boosts_nothing(self, name):
        p4 = random_p4(seed=27)
        frame = torch.tensor(SPECIAL[name], dtype=torch.float64)
        assert not bool(rest_frame_mass(frame)[1])
        assert torch.equal(boost(p4, frame), p4)

    @pytest.mark.parametrize(("gamma", "has"), [(1.0, True), (1e3, True), (1e5, True), (1e7, False)])
    def test_which_frames_have_a_rest_frame(self, gamma, has):
        frame = torch.tensor([0, math.sqrt(gamma**2 - 1), 0, gamma], dtype=torch.float64)
        m, found = rest_frame_mass(frame)
        assert bool(found) is has
        assert float(m) == pytest.approx(1, rel=1e-4)

    def test_a_500_gev_pion_in_float32_keeps_its_mass(self):
        random = np.random.default_rng(28)
        direction = random.normal(size=(2000, 3))
        p = 500 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        energy = np.full((2000, 1), math.hypot(500, PION_MASS))
        p4 = torch.from_numpy(np.concatenate([p, energy], axis=1)).float()
        m2 = p4.double()[:, 3] ** 2 - (p4.double()[:, :3] ** 2).sum(1)  # of the vector that float32 holds
        p4, m2 = p4[m2 > 1e-4], m2[m2 > 1e-4]
        assert len(p4) > 1000
        there = boost(p4, p4)
        assert there.dtype == torch.float32
        torch.testing.assert_close(mass(there).double(), m2.sqrt(), rtol=1e-3, atol=0)
        torch.testing.assert_close(there[:, 3].double(), m2.sqrt(), rtol=1e-6, atol=0)

    def test_float32_loses_nothing_but_the_last_rounding(self):
        p4, frame = random_p4(seed=29).float(), random_p4(seed=30).float()
        assert torch.equal(boost(p4, frame), boost(p4.double(), frame.double()).float())


class TestEverywhereFinite:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("case", SPECIAL)
    @pytest.mark.parametrize("name", OF_ONE)
    def test_of_one(self, name, case, dtype):
        p4 = torch.tensor(SPECIAL[case], dtype=dtype)
        value, grads = gradients(OF_ONE[name], p4)
        assert value.isfinite() or (name == "eta" and pt(p4) == 0)
        assert all(g.isfinite().all() for g in grads)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("name", OF_TWO)
    def test_of_two(self, name, dtype):
        p4 = torch.tensor(list(SPECIAL.values()), dtype=dtype)
        a, b = p4.repeat_interleave(len(p4), 0), p4.repeat(len(p4), 1)
        value, grads = gradients(OF_TWO[name], a, b)
        far = (eta(a) != eta(b)) & (eta(a).isinf() | eta(b).isinf())
        finite = value.isfinite()
        assert torch.equal(finite, ~far) if name == "delta_r" else finite.all()
        assert all(g.isfinite().all() for g in grads)

    @pytest.mark.parametrize("name", ["eta", "delta_r"])
    def test_gradient_beside_particles_along_the_beam(self, name):
        # also where the infinite values themselves are in the sum
        p4 = torch.tensor([[1.0, 1, 1, 2], [0, 0, 1, 1], [0, 0, -1, 1]], requires_grad=True)
        value = eta(p4) if name == "eta" else delta_r(p4, p4[1])
        value.sum().backward()
        assert p4.grad.isfinite().all()

    @given(st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=4, max_size=4))
    def test_of_one_on_any_numbers(self, numbers):
        for function in OF_ONE.values():
            value, grads = gradients(function, torch.tensor(numbers))
            assert not value.isnan()
            assert all(g.isfinite().all() for g in grads)

    @given(
        st.lists(
            st.sampled_from([0.0, -0.0]) | st.floats(2**-10, 1e4, width=32) | st.floats(-1e4, -(2**-10), width=32),
            min_size=8,
            max_size=8,
        )
    )
    def test_of_two_on_any_numbers(self, numbers):
        a, b = torch.tensor(numbers).view(2, 4)
        for name, function in OF_TWO.items():
            value, grads = gradients(function, a, b)
            assert not value.isnan().any()
            assert name == "delta_r" or value.isfinite().all()
            assert all(g.isfinite().all() for g in grads)

    @pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
    def test_gradients_are_right(self, name):
        a, b = random_p4(5, max_gamma=5, seed=31), random_p4(5, max_gamma=5, seed=32)
        inputs = [x.requires_grad_() for x in ((a,) if name in OF_ONE else (a, b))]
        assert torch.autograd.gradcheck({**OF_ONE, **OF_TWO}[name], inputs)

    def test_gradient_of_a_mass_at_zero_is_zero(self):
        _, (grad,) = gradients(mass, torch.tensor([3.0, 4.0, 0.0, 5.0]))
        assert torch.equal(grad, torch.zeros(4))


class TestTensors:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
    def test_dtype_follows_the_input(self, name, dtype):
        p4 = random_p4(10, max_gamma=3).to(dtype)
        found = OF_ONE[name](p4) if name in OF_ONE else OF_TWO[name](p4, p4)
        assert found.dtype == dtype

    @pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
    def test_layout_in_memory_does_not_matter(self, name):
        p4 = random_p4(12, seed=33)
        strided = p4.t().contiguous().t()
        assert not strided.is_contiguous()
        if name in OF_ONE:
            assert torch.equal(OF_ONE[name](strided), OF_ONE[name](p4))
        else:
            assert torch.equal(OF_TWO[name](strided, strided.flip(0)), OF_TWO[name](p4, p4.flip(0)))

    @pytest.mark.parametrize("name", OF_TWO)
    def test_every_particle_with_every_other(self, name):
        a, b = random_p4(3, seed=34), random_p4(5, seed=35)
        table = OF_TWO[name](a.unsqueeze(1), b.unsqueeze(0))
        for i in range(3):
            for j in range(5):
                torch.testing.assert_close(table[i, j], OF_TWO[name](a[i], b[j]), rtol=TIGHT, atol=TIGHT)

    @pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
    def test_no_particles(self, name):
        none = torch.zeros(0, 4)
        found = OF_ONE[name](none) if name in OF_ONE else OF_TWO[name](none, none)
        assert found.shape == ((0, 4) if name == "boost" else (0,))
