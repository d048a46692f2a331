import copy
import itertools
import math
import pickle
from itertools import combinations

import numpy as np
import pytest
import torch
import vector
from hypothesis import given, settings
from hypothesis import strategies as st

from lumigraph.events.kinematics import boost, mass
from lumigraph.events.particles import Particles, rows_of_particles
from lumigraph.nn import LorentzBoostConv
from lumigraph.nn.boost_features import pair_cosines
from lumigraph.testing import check_symmetry

LENGTHS = [0, 2, 0, 1, 4, 0]
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}
EXACT = {"rtol": 1e-12, "atol": 1e-12}
PION_MASS = 0.13957039


def layer(num_slots=5, num_particles=3, seed=0):
    conv = LorentzBoostConv(num_slots, num_particles).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return conv


def events(lengths=LENGTHS, num_slots=5, seed=0):
    """Massive particles of up to 100 GeV in slots with holes."""
    random = np.random.default_rng(seed)
    p = random.normal(scale=30, size=(sum(lengths), 3))
    energy = np.sqrt((p**2).sum(1) + random.uniform(1, 20, len(p)) ** 2)
    p4 = torch.from_numpy(np.concatenate([p, energy[:, None]], axis=1))
    slots = [np.sort(random.permutation(num_slots)[:n]) for n in lengths]
    slot = torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *slots]).astype(np.int64))
    return p4, slot, torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)])


def in_numpy(conv, p4, slot, ptr):
    """Combine event by event, and let vector boost."""
    part, frame = (np.abs(w.detach().numpy()) for w in (conv.part_wgts, conv.rf_wgts))
    p4, result = p4.detach().numpy(), np.zeros((len(ptr) - 1, conv.num_particles, 4))
    for event in range(len(ptr) - 1):
        rows = range(int(ptr[event]), int(ptr[event + 1]))
        if not rows:
            continue
        for a in range(conv.num_particles):
            k = sum(part[a, int(slot[row])] * p4[row] for row in rows)
            r = sum(frame[a, int(slot[row])] * p4[row] for row in rows)
            boosted = vector.obj(px=k[0], py=k[1], pz=k[2], E=k[3]).boostCM_of(
                vector.obj(px=r[0], py=r[1], pz=r[2], E=r[3])
            )
            result[event, a] = [boosted.px, boosted.py, boosted.pz, boosted.E]
    return torch.from_numpy(result)


def one_event(*rows, dtype=torch.float64):
    """The tensors of one event, its particles in the first slots."""
    p4 = torch.tensor(rows, dtype=dtype).view(-1, 4)
    return p4, torch.arange(len(p4)), torch.tensor([0, len(p4)])


class TestAgainstVector:
    @settings(max_examples=25)
    @given(st.lists(st.sampled_from([0, 1, 2, 5]), max_size=5), st.integers(0, 999))
    def test_ragged_events(self, lengths, seed):
        conv, inputs = layer(seed=seed), events(lengths, seed=seed)
        torch.testing.assert_close(conv(*inputs), in_numpy(conv, *inputs), **TOLERANCE)

    @pytest.mark.parametrize(("num_slots", "num_particles"), [(4, 1), (4, 7), (9, 2)])
    def test_any_number_of_slots_and_combinations(self, num_slots, num_particles):
        conv, inputs = layer(num_slots, num_particles), events(num_slots=num_slots)
        found = conv(*inputs)
        assert found.shape == (len(LENGTHS), num_particles, 4)
        torch.testing.assert_close(found, in_numpy(conv, *inputs), **TOLERANCE)

    def test_combinations_and_frames_before_the_boost(self):
        conv, (p4, slot, ptr) = layer(), events([3])
        k, r = conv.combine(p4, slot, ptr)
        torch.testing.assert_close(k[0], conv.part_wgts.abs()[:, slot] @ p4, **EXACT)
        torch.testing.assert_close(r[0], conv.rf_wgts.abs()[:, slot] @ p4, **EXACT)

    def test_the_boost_leaves_the_masses(self):
        conv, inputs = layer(), events([3, 5])
        torch.testing.assert_close(mass(conv(*inputs)), mass(conv.combine(*inputs)[0]), **TOLERANCE)

    def test_in_its_own_frame_a_combination_is_at_rest(self):
        conv, inputs = layer(), events([3, 5])
        with torch.no_grad():
            conv.rf_wgts.copy_(-2 * conv.part_wgts)
        found = conv(*inputs)
        torch.testing.assert_close(found[..., :3], torch.zeros_like(found[..., :3]), **TOLERANCE)
        torch.testing.assert_close(found[..., 3], mass(conv.combine(*inputs)[0]), **TOLERANCE)

    def test_each_combination_has_a_frame_of_its_own(self):
        conv, inputs = layer(), events([4])
        before = conv(*inputs).detach()
        with torch.no_grad():
            conv.rf_wgts[1] = torch.tensor([1.0, 5.0, 0.1, 2.0, 3.0])
        moved = (conv(*inputs) != before).any(-1)[0]
        assert moved.tolist() == [False, True, False]


class TestWeights:
    def test_their_sign_is_redundant(self):
        conv, inputs = layer(), events()
        before = conv(*inputs).detach()
        with torch.no_grad():
            for parameter in conv.parameters():
                parameter.mul_(torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0]))
        assert torch.equal(conv(*inputs), before)

    def test_only_those_of_taken_slots_count(self):
        conv, (p4, _, ptr) = layer(), events([2])
        slot = torch.tensor([1, 3])
        before = conv(p4, slot, ptr).detach()
        with torch.no_grad():
            for parameter in conv.parameters():
                parameter[:, [0, 2, 4]] = math.nan
        assert torch.equal(conv(p4, slot, ptr), before)

    def test_reset_parameters_draws_with_a_spread_of_one_over_the_number_of_combinations(self):
        conv = LorentzBoostConv(num_slots=400, num_particles=50)
        before = copy.deepcopy(conv.state_dict())
        conv.reset_parameters()
        for name, value in conv.state_dict().items():
            assert not bool((value == before[name]).all())
            assert float(value.std()) == pytest.approx(1 / 50, rel=0.03)
            assert abs(float(value.mean())) < 0.03 / 50

    def test_every_weight_of_a_taken_slot_gets_a_gradient(self):
        conv, inputs = layer(), events([5, 2])
        conv(*inputs).pow(2).sum().backward()
        for parameter in conv.parameters():
            assert parameter.grad.isfinite().all()
            assert bool((parameter.grad.abs() > 1e-6).all())


class TestEvents:
    def test_empty_events_give_zero(self):
        found = layer()(*events())
        empty = torch.tensor(LENGTHS) == 0
        assert torch.equal((found == 0).all(-1).all(-1), empty)

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
    def test_no_particles_at_all(self, lengths):
        found = layer()(*events(lengths))
        assert found.shape == (len(lengths), 3, 4)
        assert not found.any()

    def test_order_of_the_particles_in_memory_does_not_matter(self):
        conv, (p4, slot, ptr) = layer(), events([4])
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(conv(p4[order], slot[order], ptr), conv(p4, slot, ptr), **EXACT)

    def test_slots_matter(self):
        conv, (p4, slot, ptr) = layer(), events([4])
        assert not torch.allclose(conv(p4, slot.flip(0), ptr), conv(p4, slot, ptr))

    def test_one_event_does_not_depend_on_another(self):
        conv, (p4, slot, ptr) = layer(), events([2, 0, 3])
        conv(p4.requires_grad_(), slot, ptr)[2].sum().backward()
        assert not p4.grad[:2].any()
        assert p4.grad[2:].any(1).all()
        spoilt = p4.detach().clone()
        spoilt[:2] = math.nan
        assert torch.equal(conv(spoilt, slot, ptr)[2], conv(p4, slot, ptr)[2])

    def test_more_particles_than_slots_names_the_event(self):
        p4 = torch.ones(5, 4)
        slot, ptr = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 1, 1, 5])
        conv = LorentzBoostConv(num_slots=3, num_particles=2)
        with pytest.raises(ValueError, match=r"event 2: there is a particle in slot 3, but .* 3 slots \(0 to 2\)"):
            conv(p4, slot, ptr)


DIFFICULT = {
    "all zero": [(0, 0, 0, 0), (0, 0, 0, 0)],
    "one photon": [(3, 4, 0, 5)],
    "one photon among zeros": [(0, 0, 0, 0), (0, 0, 5, 5), (0, 0, 0, 0)],
    "missing momentum without pz and E": [(30, -40, 0, 0)],
    "missing momentum among zeros": [(30, -40, 0, 50), (0, 0, 0, 0)],
    "collinear photons": [(3, 4, 0, 5), (6, 8, 0, 10), (0.3, 0.4, 0, 0.5)],
    "collinear photons that rounding spoils": [(0.1, 0.2, 0.3, math.sqrt(0.14)), (0.7, 1.4, 2.1, math.sqrt(6.86))],
    "one particle": [(1, 2, 3, 10)],
    "collinear particles": [(1, 2, 3, 10), (2, 4, 6, 20)],
    "at rest": [(0, 0, 0, 5), (0, 0, 0, 1)],
    "back to back photons": [(0, 0, 5, 5), (0, 0, -5, 5)],
    "spacelike": [(3, 4, 12, 5), (1, 0, 0, 0.5)],
    "standardised features": [(-1.2, 0.3, 0.8, -0.5), (0.1, -2, 0.4, 0.9)],
    "very fast": [(500, 0, 0, math.hypot(500, PION_MASS)), (1000, 0, 0, math.hypot(1000, PION_MASS))],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", DIFFICULT)
class TestDifficultEvents:
    def test_stay_finite_with_finite_gradients(self, case, dtype):
        conv = layer().to(dtype)
        p4, slot, ptr = one_event(*DIFFICULT[case], dtype=dtype)
        found = conv(p4.requires_grad_(), slot, ptr)
        cosines = pair_cosines(found)
        assert found.isfinite().all()
        assert cosines.isfinite().all()
        assert cosines.abs().max() <= 1 + 1e-6
        (found.sum() + cosines.sum()).backward()
        assert all(v.grad.isfinite().all() for v in (p4, *conv.parameters()))

    def test_cosines_not_used_in_the_loss_do_not_spoil_it(self, case, dtype):
        conv = layer().to(dtype)
        p4, slot, ptr = one_event(*DIFFICULT[case], dtype=dtype)
        found = conv(p4.requires_grad_(), slot, ptr)
        torch.cat([found.flatten(1), pair_cosines(found)], dim=1)[:, 0].sum().backward()
        assert all(v.grad.isfinite().all() for v in (p4, *conv.parameters()))

    def test_do_not_touch_the_others_of_a_batch(self, case, dtype):
        conv = layer().to(dtype)
        p4, slot, _ = one_event(*DIFFICULT[case], dtype=dtype)
        good, good_slot, good_ptr = events([3])
        both = torch.cat([good.to(dtype), p4])
        ptr = torch.tensor([0, 3, len(both)])
        found = conv(both, torch.cat([good_slot, slot]), ptr)
        torch.testing.assert_close(found[:1], conv(good.to(dtype), good_slot, good_ptr), rtol=0, atol=0)


class TestConventions:
    @pytest.mark.parametrize("case", ["all zero", "one photon", "collinear photons", "spacelike"])
    def test_without_rest_frame_nothing_is_boosted(self, case):
        conv, inputs = layer(), one_event(*DIFFICULT[case])
        assert torch.equal(conv(*inputs), conv.combine(*inputs)[0])

    def test_all_zero_gives_zero(self):
        assert not layer()(*one_event(*DIFFICULT["all zero"])).any()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("case", ["one particle", "collinear particles", "very fast"])
    def test_a_particle_at_rest_has_no_cosines(self, case, dtype):
        # one particle, or collinear ones: what is boosted stands still, and its momentum is rounding noise
        conv, inputs = layer().to(dtype), one_event(*DIFFICULT[case][:1], dtype=dtype)
        assert pair_cosines(conv(*inputs)).abs().max() < 1e-3


class TestFloat32:
    def test_a_500_gev_pion_keeps_its_mass(self):
        random = np.random.default_rng(0)
        direction = random.normal(size=(500, 3))
        p = 500 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        p4 = torch.from_numpy(np.concatenate([p, np.full((500, 1), math.hypot(500, PION_MASS))], axis=1)).float()
        m2 = p4.double()[:, 3] ** 2 - (p4.double()[:, :3] ** 2).sum(1)  # of the vector that float32 holds
        p4, m2 = p4[m2 > 1e-4], m2[m2 > 1e-4]
        assert len(p4) > 200
        conv = LorentzBoostConv(num_slots=1, num_particles=2)
        found = conv(p4, torch.zeros(len(p4), dtype=torch.long), torch.arange(len(p4) + 1))
        expected = m2.sqrt().unsqueeze(1) * conv.part_wgts.detach().abs().double().T
        torch.testing.assert_close(found[..., 3].double(), expected, rtol=1e-3, atol=0)
        torch.testing.assert_close(mass(found).double(), expected, rtol=1e-3, atol=0)

    def test_loses_nothing_but_the_last_rounding(self):
        conv = layer().float()
        p4, slot, ptr = events()
        found = conv(p4.float(), slot, ptr)
        exact = copy.deepcopy(conv).double()(p4.float().double(), slot, ptr)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact.float(), rtol=0, atol=0)

    def test_dtype_follows_the_input(self):
        p4, slot, ptr = events()
        assert layer().float()(p4, slot, ptr).dtype == torch.float64
        assert layer()(p4.float(), slot, ptr).dtype == torch.float32


class TestMixedPrecision:
    def test_does_not_reach_the_boost(self):
        conv, (p4, slot, ptr) = layer().float(), events()
        expected = conv(p4.float(), slot, ptr)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = conv(p4.float(), slot, ptr)
            cosines = pair_cosines(found)
        assert torch.equal(found, expected)
        assert torch.equal(cosines, pair_cosines(expected))


class TestState:
    def test_repr(self):
        assert repr(LorentzBoostConv(3, 5)) == "LorentzBoostConv(num_slots=3, num_particles=5)"

    def test_weights(self):
        shapes = {name: tuple(p.shape) for name, p in LorentzBoostConv(3, 5).named_parameters()}
        assert shapes == {"part_wgts": (5, 3), "rf_wgts": (5, 3)}

    @pytest.mark.parametrize(
        "duplicate",
        [
            copy.deepcopy,
            lambda conv: pickle.loads(pickle.dumps(conv)),
            lambda conv: (twin := layer(seed=9)).load_state_dict(conv.state_dict()) and twin,
        ],
    )
    def test_a_copy_gives_the_same(self, duplicate):
        conv, inputs = layer(), events()
        twin = duplicate(conv)
        assert torch.equal(twin(*inputs), conv(*inputs))
        twin.reset_parameters()
        assert not torch.equal(twin(*inputs), conv(*inputs))

    def test_gradients_are_right(self):
        conv, (p4, slot, ptr) = layer(num_slots=3, num_particles=1), events([2, 0, 1], num_slots=3)

        def forward(p4, part_wgts, rf_wgts):
            weights = {"part_wgts": part_wgts, "rf_wgts": rf_wgts}
            return torch.func.functional_call(conv, weights, (p4, slot, ptr))

        weights = [p.detach().clone().requires_grad_() for p in conv.parameters()]
        assert torch.autograd.gradcheck(forward, [p4.requires_grad_(), *weights])

    @pytest.mark.parametrize(("num_slots", "num_particles"), [(0, 3), (3, 0), (-1, 2)])
    def test_numbers_that_are_none(self, num_slots, num_particles):
        with pytest.raises(ValueError, match=r"num_(slots|particles) must be at least 1, got (0|-1)"):
            LorentzBoostConv(num_slots, num_particles)


class TestPairCosines:
    @pytest.mark.parametrize("n", [1, 2, 3, 6])
    def test_against_numpy(self, n):
        p4 = events([5 * n])[0].view(5, n, 4)
        expected = np.zeros((5, n * (n - 1) // 2))
        for event, p in enumerate(p4.numpy()[..., :3]):
            for k, (i, j) in enumerate(combinations(range(n), 2)):
                expected[event, k] = p[i] @ p[j] / np.linalg.norm(p[i]) / np.linalg.norm(p[j])
        torch.testing.assert_close(pair_cosines(p4), torch.from_numpy(expected), rtol=0, atol=1e-8)

    def test_opposite_and_perpendicular(self):
        p4 = torch.tensor([[[1.0, 0, 0, 1], [-3.0, 0, 0, 3], [0, 2.0, 0, 2]]])
        torch.testing.assert_close(pair_cosines(p4), torch.tensor([[-1.0, 0.0, 0.0]]))

    def test_are_0_for_a_particle_at_rest(self):
        p4 = torch.tensor([[[0.0, 0, 0, 5], [1.0, 0, 0, 1], [0.0, 0, 0, 0]]])
        assert pair_cosines(p4).tolist() == [[0.0, 0.0, 0.0]]

    def test_go_to_0_smoothly(self):
        cosines = [
            float(pair_cosines(torch.tensor([[[p, 0, 0, 5.0], [1.0, 0, 0, 1]]], dtype=torch.float64))[0, 0])
            for p in (5e-3, 5e-5, 5e-7, 5e-9)
        ]
        # half way where |p| is 1e-5 of the energy
        assert cosines == pytest.approx([1, 1 / math.sqrt(2), 1e-2, 1e-4], rel=1e-2)

    def test_scaling_a_particle_changes_nothing(self):
        p4 = events([6])[0].view(2, 3, 4)
        torch.testing.assert_close(pair_cosines(1000 * p4), pair_cosines(p4), **EXACT)

    def test_no_events(self):
        assert pair_cosines(torch.zeros(0, 3, 4)).shape == (0, 3)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtype_follows_the_input(self, dtype):
        assert pair_cosines(torch.ones(1, 2, 4, dtype=dtype)).dtype == dtype

    def test_gradients_are_right(self):
        assert torch.autograd.gradcheck(pair_cosines, [events([6])[0].view(2, 3, 4).requires_grad_()])

    def test_gradients_are_finite_at_rest(self):
        p4 = torch.tensor([[[0.0, 0, 0, 5], [1.0, 0, 0, 1], [0.0, 0, 0, 0], [0.0, 0, 0, 0]]], requires_grad=True)
        pair_cosines(p4).sum().backward()
        assert p4.grad.isfinite().all()


class TestModes:
    @staticmethod
    def pairs(mode, n, m):
        """Which combination goes into which frame."""
        if mode == "pairs":
            return [(a, a) for a in range(n)]
        if mode == "product":
            return list(itertools.product(range(n), range(m)))
        return [*itertools.combinations(range(n), 2), *((a, f) for a in range(n) for f in range(a))]

    @pytest.mark.parametrize(("mode", "n", "m"), [("pairs", 3, 3), ("product", 3, 2), ("product", 1, 4),
                                                  ("combinations", 4, 4), ("combinations", 2, 2)])  # fmt: skip
    def test_every_output_against_a_single_boost(self, mode, n, m):
        conv = LorentzBoostConv(5, n, mode=mode, num_frames=m if mode == "product" else None).double()
        rows = torch.randn(4, 5, 4).double()
        rows[..., 3] = rows[..., :3].norm(dim=-1) + 0.3
        weights = conv.part_wgts.abs(), (conv.part_wgts if conv.rf_wgts is None else conv.rf_wgts).abs()
        found = conv.dense(rows)
        assert found.shape == (4, conv.num_outputs, 4)
        assert conv.num_outputs == len(self.pairs(mode, n, m))
        for k, (a, f) in enumerate(self.pairs(mode, n, m)):
            combination, frame = (torch.einsum("s,bsc->bc", w[i], rows) for w, i in zip(weights, (a, f), strict=True))
            torch.testing.assert_close(found[:, k], boost(combination, frame))

    @pytest.mark.parametrize("mode", ["pairs", "product", "combinations"])
    @given(lengths=st.lists(st.integers(0, 5), max_size=4), seed=st.integers(0, 9))
    def test_padded_events_give_what_packed_ones_do(self, mode, lengths, seed):
        torch.manual_seed(seed)
        conv = LorentzBoostConv(6, 3, mode=mode)
        x = torch.randn(sum(lengths), 4).double()
        x[:, 3] = x[:, :3].norm(dim=-1) + 0.3
        slot = torch.cat([torch.zeros(0).long(), *(torch.randperm(6)[:n].sort().values for n in lengths)])
        ptr = torch.tensor([0, *itertools.accumulate(lengths)])
        rows, _ = rows_of_particles(Particles(x, slot, ptr), 6)
        torch.testing.assert_close(conv.dense(rows), conv(x, slot, ptr))

    def test_combinations_have_no_frames_of_their_own(self):
        conv = LorentzBoostConv(5, 3, mode="combinations")
        assert conv.rf_wgts is None
        assert list(conv.state_dict()) == ["part_wgts"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "pair"}, "mode must be a way to pair combinations with frames, got 'pair': did you mean pairs"),
            ({"mode": "pairs", "num_frames": 2}, "num_frames must be num_particles=3 with mode='pairs', got 2"),
            ({"mode": "product", "num_frames": 0}, "num_frames must be at least 1, got 0"),
            (
                {"mode": "combinations", "num_particles": 1},
                "num_particles must be at least 2 with mode='combinations', got 1",
            ),
        ],
    )
    def test_numbers_that_do_not_go_with_the_mode(self, options, message):
        with pytest.raises(ValueError, match=message):
            LorentzBoostConv(**{"num_slots": 5, "num_particles": 3, **options})


class TestSymmetry:
    @pytest.mark.parametrize("mode", ["pairs", "product", "combinations"])
    @pytest.mark.parametrize("velocity", [0.1, 0.9, 0.999])
    def test_a_boost_of_all_particles_only_rotates_what_is_seen_in_the_rest_frames(self, mode, velocity):
        conv = LorentzBoostConv(5, 3, mode=mode).double()
        p4, slot, ptr = events()
        direction = torch.tensor([1.0, -2.0, 2.0]).double() / 3
        frame = torch.cat([velocity * direction, torch.ones(1).double()])
        before, after = conv(p4, slot, ptr), conv(boost(p4, frame), slot, ptr)
        torch.testing.assert_close(after[..., 3], before[..., 3], rtol=1e-7, atol=1e-7)
        norms = before[..., :3].norm(dim=-1), after[..., :3].norm(dim=-1)
        torch.testing.assert_close(norms[1], norms[0], rtol=1e-6, atol=1e-6)
        assert not torch.allclose(after, before, rtol=1e-3)

    @pytest.mark.parametrize("mode", ["pairs", "product", "combinations"])
    def test_a_rotation_of_all_particles_rotates_the_outputs(self, mode):
        conv = LorentzBoostConv(5, 3, mode=mode)
        check_symmetry(conv, ["rotation", "reflection", "scaling"], equivariant=True).raise_if_broken()
