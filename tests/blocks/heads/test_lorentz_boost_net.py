"""The Lorentz boost network as a head, against boosts as textbooks write them."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lumigraph.blocks import CatEmbedder, LorentzBoostNet
from lumigraph.events.adapters import from_jagged
from lumigraph.nn.boost_features import boost_features

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
BATCH_NORM_EPS = 1e-5
PION_MASS = 0.13957

VECS = ["jet", "lepton", "met"]
FEATS = ["px", "py", "pz"]


# ----------------------------------------------------------------------------------------------------- LorentzBoostNet

P4 = ["px", "py", "pz", "E"]


def boost_net(vecs=VECS, feats_per_vec=P4, n_particles=3, **arguments):
    cells = [f"{v}_{f}" for v in vecs for f in feats_per_vec]
    return LorentzBoostNet(cells, vecs, feats_per_vec, n_particles=n_particles, **arguments)


def four_momenta(*shape, mass=0.7):
    p = 5 * torch.randn(*shape, 3, dtype=torch.float64)
    return torch.cat([p, (p.square().sum(-1, keepdim=True) + mass**2).sqrt()], dim=-1)


def boost_by_numpy(p, frame):
    """A boost as textbooks write it: the matrix of gamma and beta."""
    beta = frame[:3] / frame[3]
    b2 = beta @ beta
    gamma = 1 / np.sqrt(1 - b2)
    matrix = np.eye(4)
    matrix[:3, :3] += (gamma - 1) / b2 * np.outer(beta, beta)
    matrix[:3, 3] = matrix[3, :3] = -gamma * beta
    matrix[3, 3] = gamma
    return matrix @ p


def boosted_by_numpy(net, particles):
    """The combinations of one event, each in its frame: (n, 4)."""
    weights = [np.abs(w.detach().numpy()) for w in (net.conv.part_wgts, net.conv.rf_wgts)]
    combinations, frames = (w @ particles for w in weights)
    return np.array([boost_by_numpy(p, frame) for p, frame in zip(combinations, frames, strict=True)])


def cosines_by_numpy(p4):
    p = p4[:, :3] / np.linalg.norm(p4[:, :3], axis=1, keepdims=True)
    return np.array([p[i] @ p[j] for i, j in itertools.combinations(range(len(p)), 2)])


def set_weights(net, part_wgts, rf_wgts):
    with torch.no_grad():
        net.conv.part_wgts.copy_(torch.as_tensor(part_wgts))
        net.conv.rf_wgts.copy_(torch.as_tensor(rf_wgts))


def mass(p4):
    p = p4.double()
    return (p[..., 3].square() - p[..., :3].square().sum(-1)).clamp(min=0).sqrt()


class TestLorentzBoostNetAgainstNumpy:
    @pytest.mark.parametrize("n_particles", [1, 2, 5])
    def test_four_momenta_and_then_cosines_of_every_pair(self, n_particles):
        net = boost_net(n_particles=n_particles, bn=False).double()
        matrix = four_momenta(4, 3)
        y = net((None, matrix)).detach().numpy()
        assert y.shape == (4, 4 * n_particles + n_particles * (n_particles - 1) // 2) == (4, net.get_out_size())
        for row, particles in zip(y, matrix.numpy(), strict=True):
            boosted = boosted_by_numpy(net, particles)
            # the cosines of heads leave out 1e-10 of the length, so that a particle at rest has one
            np.testing.assert_allclose(row[: 4 * n_particles], boosted.ravel(), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(row[4 * n_particles :], cosines_by_numpy(boosted), rtol=0, atol=1e-8)

    def test_an_absent_slot_adds_nothing(self):
        net = boost_net(bn=False).double()
        matrix = four_momenta(1, 3)
        present = matrix.clone()
        matrix[0, 1] = torch.nan
        present[0, 1] = 0.0
        torch.testing.assert_close(net((None, matrix)), net((None, present)), **CLOSE)
        boosted = boosted_by_numpy(net, present[0].numpy())
        np.testing.assert_allclose(net((None, matrix)).detach().numpy()[0, :12], boosted.ravel(), rtol=1e-9, atol=1e-9)

    def test_weights_enter_by_their_absolute_value(self):
        net = boost_net(bn=False).double()
        matrix = four_momenta(2, 3)
        expected = net((None, matrix))
        set_weights(net, -net.conv.part_wgts, net.conv.rf_wgts.abs())
        assert torch.equal(net((None, matrix)), expected)

    def test_batch_normalisation_comes_last(self):
        plain, normed = boost_net(bn=False).double(), boost_net(bn=True).double().train()
        normed.load_state_dict({**normed.state_dict(), **plain.state_dict()})
        matrix = four_momenta(8, 3)
        y = plain((None, matrix))
        expected = (y - y.mean(0)) / (y.var(0, unbiased=False) + BATCH_NORM_EPS).sqrt()
        torch.testing.assert_close(normed((None, matrix)), expected, **CLOSE)
        assert plain.bn is None

    def test_names_and_sizes(self):
        net = boost_net(n_particles=4)
        shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
        assert shapes == {"conv.part_wgts": (4, 3), "conv.rf_wgts": (4, 3), "bn.weight": (22,), "bn.bias": (22,)}
        assert net.comb == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
        assert net.feat_map == {f"{v}_{f}": list(range(22)) for v in VECS for f in P4}
        with pytest.raises(TypeError, match="LorentzBoostNet is not a sequence of layers"):
            net[0]


class TestColumnsOfFourMomenta:
    @pytest.mark.parametrize("names", [["E", "px", "py", "pz"], ["pz", "energy", "py", "px"], ["PX", "Py", "pZ", "e"]])
    def test_they_are_found_by_name(self, names):
        net, other = boost_net().double().eval(), boost_net(feats_per_vec=names).double().eval()
        other.load_state_dict(net.state_dict())
        matrix = four_momenta(5, 3)
        place = [P4.index({"energy": "E", "e": "E"}.get(n.lower(), n.lower())) for n in names]
        torch.testing.assert_close(other((None, matrix[:, :, place])), net((None, matrix)), **CLOSE)

    @pytest.mark.parametrize(
        ("names", "missing"),
        [(["px", "py", "pz"], "e"), (["pt", "eta", "phi", "E"], "px"), (["px", "py", "pz", "m"], "e")],
    )
    def test_a_missing_one_is_an_error(self, names, missing):
        with pytest.raises(ValueError, match=f"the four-momentum has no column '{missing}' in feats_per_vec"):
            boost_net(feats_per_vec=names)

    def test_further_features_are_carried_behind_slot_by_slot(self):
        names = ["btag", "px", "py", "charge", "pz", "E"]
        net, plain = boost_net(feats_per_vec=names, bn=False).double(), boost_net(bn=False).double()
        plain.load_state_dict({**plain.state_dict(), **{k: v for k, v in net.state_dict().items() if "wgts" in k}})
        p4, btag, charge = four_momenta(2, 3), torch.randn(2, 3).double(), torch.randn(2, 3).double()
        matrix = torch.cat([btag.unsqueeze(-1), p4[..., :2], charge.unsqueeze(-1), p4[..., 2:]], dim=-1)
        y = net((None, matrix))
        assert y.shape == (2, 15 + 6) == (2, net.get_out_size())
        torch.testing.assert_close(y, torch.cat([plain((None, p4)), btag, charge], dim=1), **CLOSE)
        matrix[1, 2] = torch.nan
        assert net((None, matrix))[1, [17, 20]].tolist() == [0.0, 0.0]

    def test_eight_features_are_no_second_batch(self):
        net = boost_net(feats_per_vec=[*P4, "a", "b", "c", "d"], bn=False)
        matrix = torch.cat([four_momenta(2, 3).float(), torch.zeros(2, 3, 4)], dim=-1)
        assert net((None, matrix)).shape == (2, 15 + 4 * 3)


# ---- where a boost has no frame, or numbers run out


EVENTS = {
    "nothing": np.zeros((3, 4)),
    "one photon": [[0, 0, 0, 0], [3, 4, 12, 13], [0, 0, 0, 0]],
    "one photon in float32": [[0, 0, 0, 0], [0.1, 0.2, 0.3, np.sqrt(0.14)], [0, 0, 0, 0]],
    "collinear photons": [[1, 2, 2, 3], [2, 4, 4, 6], [10, 20, 20, 30]],
    "all at rest": [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3]],
    "one at rest": [[0, 0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]],
    "collinear": [[0, 0, 3, 5], [0, 0, 6, 10], [0, 0, 30, 50]],
    "back to back": [[0, 0, 3, 5], [0, 0, -3, 5], [0, 0, 0, 0]],
    "very fast": [[0, 0, 5e4, np.hypot(5e4, PION_MASS)], [1e-3, 0, 1e5, 1e5], [0, 0, 0, 0]],
}


class TestDegenerateEvents:
    @pytest.fixture(params=EVENTS)
    def event(self, request):
        return torch.tensor(np.array(EVENTS[request.param], dtype=np.float64))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    @pytest.mark.parametrize("bn", [False, True])
    def test_numbers_and_gradients_are_finite(self, event, dtype, bn):
        net = boost_net(bn=bn).to(dtype).train()
        matrix = torch.stack([event.to(dtype), four_momenta(3).to(dtype)]).requires_grad_()
        y = net((None, matrix))
        (y * torch.randn_like(y)).sum().backward()
        assert bool(y.isfinite().all())
        for gradient in (matrix.grad, *(p.grad for p in net.parameters())):
            assert bool(gradient.isfinite().all())
        assert all(bool(buffer.isfinite().all()) for buffer in net.buffers())

    def test_gradients_are_finite_where_the_cosines_are_not_in_the_loss(self, event):
        net = boost_net(bn=False)
        matrix = event.float().unsqueeze(0).requires_grad_()
        net((None, matrix))[:, :12].sum().backward()
        assert bool(matrix.grad.isfinite().all())

    def test_the_numbers_are_of_the_size_of_the_input(self, event):
        """Boosts of some frame out of rounding errors would not be."""
        net = boost_net(bn=False)
        set_weights(net, np.ones((3, 3)), np.ones((3, 3)))
        y = net((None, event.float().unsqueeze(0)))[:, :12].view(3, 4)
        assert float(y.abs().max().detach()) <= float(event[:, 3].sum()) * (1 + 1e-6)


class TestConventions:
    def test_an_event_of_zeros_or_of_nothing_gives_zero(self):
        net = boost_net(bn=False)
        zeros, nothing = torch.zeros(1, 3, 4), torch.full((1, 3, 4), torch.nan)
        assert bool((net((None, torch.cat([zeros, nothing]))) == 0).all())

    @pytest.mark.parametrize("particles", ["one photon", "collinear photons"])
    def test_a_massless_frame_boosts_nothing(self, particles):
        event = torch.tensor(np.array(EVENTS[particles], dtype=np.float32))
        net = boost_net(bn=False)
        combinations = net.conv.part_wgts.abs() @ event
        y = net((None, event.unsqueeze(0)))
        torch.testing.assert_close(y[0, :12].view(3, 4), combinations)
        torch.testing.assert_close(y[0, 12:], torch.ones(3))  # all along one direction

    def test_collinear_photons_in_any_direction_stay_finite_in_float32(self):
        direction = torch.nn.functional.normalize(torch.randn(500, 1, 3).double(), dim=-1)
        energy = torch.rand(500, 3, 1).double() * 100
        matrix = torch.cat([energy * direction, energy], dim=-1).float().requires_grad_()
        y = boost_net(bn=False)((None, matrix))
        y.sum().backward()
        assert bool(y.isfinite().all())
        assert bool(matrix.grad.isfinite().all())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    def test_a_single_object_is_at_rest_in_its_frame_and_has_cosines_zero(self, dtype):
        net = boost_net(vecs=["jet"], bn=False).to(dtype)
        p4 = four_momenta(100, 1).to(dtype).requires_grad_()
        y = net((None, p4))
        boosted = y[:, :12].view(100, 3, 4)
        scale = net.conv.part_wgts.abs().view(1, 3)
        torch.testing.assert_close(boosted[..., 3], mass(p4).to(dtype) * scale, rtol=1e-4, atol=1e-6)
        assert float(boosted[..., :3].abs().max().detach()) < 1e-6
        assert float(y[:, 12:].abs().max().detach()) < 1e-6
        y[:, 12:].sum().backward()
        # smooth: no gradient of the order of one over rounding errors
        assert float(p4.grad.abs().max()) < 1e-6
        assert bool(p4.grad.isfinite().all())

    def test_a_fast_pion_keeps_its_mass_in_float32(self):
        direction = torch.nn.functional.normalize(torch.randn(2000, 3).double(), dim=-1)
        energy = torch.full((2000, 1), float(np.hypot(500, PION_MASS))).double()
        p4 = torch.cat([500 * direction, energy], dim=1).float().unsqueeze(1)
        net = boost_net(vecs=["pion"], n_particles=1, bn=False)
        set_weights(net, [[1.0]], [[1.0]])
        # rounding to float32 changes the mass before any boost: the oracle is the mass of what is left
        left = p4.double()[:, 0]
        m2 = (left[:, 3] - left[:, :3].norm(dim=1)) * (left[:, 3] + left[:, :3].norm(dim=1))
        has_mass = m2 > 0.01**2
        assert int(has_mass.sum()) > 500
        y = net((None, p4)).detach().double()[has_mass]
        torch.testing.assert_close(y[:, 3], m2[has_mass].sqrt(), rtol=1e-3, atol=0)
        exact = four_momenta(1, 1, mass=PION_MASS)
        y = net.double()((None, exact)).detach()
        torch.testing.assert_close(y[:, 3], torch.tensor([PION_MASS]).double(), rtol=1e-6, atol=0)


class TestUnphysicalFourMomenta:
    @pytest.fixture
    def matrix(self):
        matrix = four_momenta(4, 3).float()
        matrix[2, 1, 3] = 0.9 * matrix[2, 1, :3].norm()
        return matrix

    def test_they_are_refused_by_event_and_object(self, matrix):
        with pytest.raises(
            ValueError,
            match=r"event 2: particle 'lepton' must have E >= .* got E = .* and \|p\| = .* GeV.*validate=False",
        ):
            boost_net()((None, matrix))

    def test_absent_objects_before_them_do_not_shift_the_name(self, matrix):
        matrix[0] = torch.nan
        matrix[2, 0] = torch.nan
        with pytest.raises(ValueError, match="event 2: particle 'lepton' must have E"):
            boost_net()((None, matrix))

    def test_standardised_features_are_refused(self):
        with pytest.raises(ValueError, match=r"event 0: particle .* not standardised"):
            boost_net()(torch.randn(50, 12))

    def test_a_met_without_energy_is_refused(self):
        cells = [f"{v}_{f}" for v in ("jet", "met") for f in P4 if (v, f) not in {("met", "pz"), ("met", "E")}]
        net = LorentzBoostNet(cells, ["jet", "met"], P4, n_particles=2)
        with pytest.raises(ValueError, match=r"event 0: particle 'met' must have E >= .* got E = 0 and"):
            net(torch.tensor([[1.0, 0.0, 0.0, 2.0, 3.0, 4.0]]))

    def test_negative_energies_are_refused(self, matrix):
        matrix[2] = -four_momenta(3)
        with pytest.raises(ValueError, match=r"event 2: particle 'jet' must have E >= .* got E = -"):
            boost_net()((None, matrix))

    def test_rounding_is_forgiven(self):
        photon = torch.tensor([[[0.1, 0.2, 0.3, float(np.sqrt(0.14)) * (1 - 1e-6)]]])
        assert bool(boost_net(vecs=["photon"], bn=False)((None, photon)).isfinite().all())

    @pytest.mark.parametrize("bn", [False, True])
    def test_unchecked_they_give_finite_numbers(self, matrix, bn):
        net = boost_net(validate=False, bn=bn).train()
        for unphysical in (matrix, torch.randn(200, 3, 4), -four_momenta(50, 3).float()):
            unphysical = unphysical.clone().requires_grad_()
            net.zero_grad()
            y = net((None, unphysical))
            y.square().sum().backward()
            assert bool(y.isfinite().all())
            assert bool(unphysical.grad.isfinite().all())
            assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


# ---- feature extractors


def masses(x: Tensor) -> Tensor:
    """The example of the reference: masses of boosted particles, x dimensions = [batch, particle, 4mom]."""
    momenta, energies = x[:, :, :3], x[:, :, 3:]
    return torch.sqrt((energies**2) - torch.sum(momenta**2, dim=-1)[:, :, None])


class Learned(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2), nn.Dropout(dropout))

    def forward(self, x):
        return self.net(x)


class TestFeatureExtractors:
    def test_trailing_axes_are_flattened(self):
        net = boost_net(n_particles=6, feat_extractor=masses, bn=False).double()
        matrix = four_momenta(5, 3)
        y = net((None, matrix))
        assert y.shape == (5, 6) == (5, net.get_out_size())
        expected = torch.stack([mass(torch.tensor(boosted_by_numpy(net, event))) for event in matrix.numpy()])
        torch.testing.assert_close(y, expected, rtol=1e-8, atol=1e-8)

    def test_a_module_is_trained_frozen_and_saved_with_the_rest(self):
        net = boost_net(feat_extractor=Learned(), bn=False)
        assert net.get_out_size() == 6
        assert {"extractor.net.1.weight", "extractor.net.1.bias"} <= set(net.state_dict())
        net((None, four_momenta(5, 3).float())).square().sum().backward()
        assert bool((net.extractor.net[1].weight.grad != 0).all())
        assert boost_net(feat_extractor=Learned(), freeze=True).get_param_count() == 0

    def test_a_subclass_may_have_features_of_its_own(self):
        class Energies(LorentzBoostNet):
            def feat_extractor(self, x):
                return torch.cat([x[..., 3], *(x[:, i, 3:] * x[:, j, 3:] for i, j in self.comb)], dim=1)

        cells = [f"{v}_{f}" for v in VECS for f in P4]
        net = Energies(cells, VECS, P4, n_particles=3, bn=False).double()
        matrix = four_momenta(1, 3)
        energy = boosted_by_numpy(net, matrix[0].numpy())[:, 3]
        expected = [*energy, *(energy[i] * energy[j] for i, j in ((0, 1), (0, 2), (1, 2)))]
        assert net.get_out_size() == 6
        np.testing.assert_allclose(net((None, matrix)).detach().numpy()[0], expected, rtol=1e-9)

    def test_the_output_size_costs_no_random_number(self):
        torch.manual_seed(1)
        for shape in ((3, 3), (3, 3)):
            torch.randn(shape)
        expected = torch.rand(1)
        torch.manual_seed(1)
        boost_net(feat_extractor=masses)
        assert torch.equal(torch.rand(1), expected)

    def test_the_output_size_leaves_a_module_as_it_is(self):
        extractor = Learned(dropout=0.5)
        extractor.net[1].eval()
        before = {name: value.clone() for name, value in extractor.state_dict().items()}
        net = boost_net(feat_extractor=extractor)
        assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())
        assert net.training
        assert [module.training for module in extractor.net] == [True, False, True]

    def test_the_output_size_can_be_asked_for_in_any_precision(self):
        net = boost_net(feat_extractor=Learned())
        assert net.double().check_out_sz() == net.get_out_size() == 6

    def test_features_of_physical_numbers_give_the_size(self):
        """A square root of E² - p² must not see numbers that no particle has."""
        seen = []

        def extractor(x):
            seen.append(x)
            return x[..., 3]

        boost_net(feat_extractor=extractor)
        assert bool((seen[0][..., 3] > seen[0][..., :3].norm(dim=-1)).all())


class TestLorentzBoostNetRefuses:
    def test_no_combination(self):
        with pytest.raises(ValueError, match="n_particles must be at least 1"):
            boost_net(n_particles=0)

    def test_categories(self):
        with pytest.raises(ValueError, match="nothing would use the categories"):
            boost_net(cat_embedder=CatEmbedder(["flavour"], [3]))

    def test_more_particles_than_slots(self):
        batch = from_jagged(four_momenta(7).float(), lengths=torch.tensor([3, 4]))
        with pytest.raises(ValueError, match="event 1: there is a particle in slot 3, but there are 3 slots"):
            boost_net()(batch)


class TestLorentzBoostNetExamplesOfTheReference:
    matrix_feats, vecs, feats_per_vec = [f"{v}_{f}" for v in VECS for f in P4], VECS, P4

    def test_the_default_features(self):
        lbn = LorentzBoostNet(
            cont_feats=self.matrix_feats, feats_per_vec=self.feats_per_vec, vecs=self.vecs, n_particles=6
        )
        y = lbn(four_momenta(7, 3).float().flatten(1))
        assert y.shape == (7, 4 * 6 + 15) == (7, lbn.get_out_size())
        assert bool(y.isfinite().all())

    def test_features_of_a_function(self):
        lbn = LorentzBoostNet(
            cont_feats=self.matrix_feats, feats_per_vec=self.feats_per_vec, vecs=self.vecs, n_particles=6,
            feat_extractor=masses,
        )  # fmt: skip
        y = lbn(four_momenta(7, 3).float().flatten(1))
        assert y.shape == (7, 6) == (7, lbn.get_out_size())
        assert bool(y.isfinite().all())


class TestFeaturesByName:
    def test_names_instead_of_a_function(self):
        net = boost_net(feat_extractor=["m", "pair_dr"], bn=False).double()
        rows = four_momenta(4, len(VECS))
        torch.testing.assert_close(net((None, rows)), boost_features(net.conv.dense(rows), ["m", "pair_dr"]))
        assert net.get_out_size() == 3 + 3

    def test_an_unknown_name_is_an_error(self):
        with pytest.raises(
            ValueError, match="the features must be those of four-momenta, got 'pair_dphi': did you mean pair_"
        ):
            boost_net(feat_extractor=["pair_dphi"])
