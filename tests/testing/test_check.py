"""check_symmetry finds planted faults, and raises no false alarm on models that are right."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn import EdgeConv, global_add_pool

from lumigraph import (
    AutoExtractLorentzBoostNet,
    ClassRegMulti,
    CompleteGraph,
    FullyConnected,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    RecurrentHead,
    from_jagged,
    from_rows,
    load_sample,
)
from lumigraph.blocks import AbsMatrixHead, CatEmbedder, CatEmbHead
from lumigraph.events.adapters import to_rows
from lumigraph.events.graph import ptr_to_batch
from lumigraph.events.kinematics import delta_phi, eta, from_pt_eta_phi_mass, mass, mass2, phi, pt
from lumigraph.nn import InteractionConv, LorentzBoostConv, mlp
from lumigraph.testing import SYMMETRIES, check_symmetry
from lumigraph.testing.checked_events import given_events, random_events
from lumigraph.testing.momentum_columns import Momenta
from lumigraph.testing.symmetries import LIMITS, LORENTZ, emissions, permuted, transformed

P4 = ["px", "py", "pz", "E"]
PTEPM = ["pt", "eta", "phi", "mass"]
LORENTZ_GROUP = ["rotation", "rotation_z", "boost", "boost_z"]
REFLECTIONS = ["reflection", "reflection_x", "reflection_y", "reflection_z"]


def net(*sizes):
    """Return a smooth network."""
    return mlp(list(sizes), act="swish")


def names(vecs, feats=P4):
    return {"cont_feats": [f"{v}_{f}" for v in vecs for f in feats], "vecs": list(vecs), "feats_per_vec": list(feats)}


WIDTHS = {
    "intfunc_depth": 2, "intfunc_width": 8, "intfunc_out_sz": 4, "outfunc_depth": 2, "outfunc_width": 8,
    "outfunc_out_sz": 4, "agg_method": "sum", "act": "swish",
}  # fmt: skip


def interaction(agg_method="sum", vecs=("a",), feats=P4, **options):
    return InteractionNet(**names(vecs, feats), **{**WIDTHS, "agg_method": agg_method}, **options)


def holds(model, symmetries, **options):
    """Return which of some symmetries hold."""
    report = check_symmetry(model, symmetries, **options)
    return [name for name, check in report.checks.items() if check]


def pairs(batch):
    return CompleteGraph(batch.ptr).edge_index()


class OfEvents(nn.Module):
    """A network of what is summed over the particles, or the pairs, of an event."""

    def __init__(self, size, width=8):
        super().__init__()
        self.each, self.event = net(size, 16, width), net(width, 16, 2)

    def summed(self, values, event, batch):
        return global_add_pool(values, event, batch.num_graphs)

    def forward(self, batch):
        return self.event(self.summed(self.each(batch.x), batch.batch, batch))


# --------------------------------------------------------------------------------------------- models that are right


class OfMasses(OfEvents):
    """Lorentz invariant: of the masses of pairs."""

    def __init__(self):
        super().__init__(1)

    def forward(self, batch):
        j, i = pairs(batch)
        m2 = mass2(batch.x[i] + batch.x[j]).clamp(min=1e-9).log().unsqueeze(1)
        return self.event(self.summed(self.each(m2), batch.batch[i], batch))


class EnergyFlow(OfEvents):
    """Infrared and collinear safe: a function of directions, weighted by the fraction of pt."""

    def __init__(self, power=1.0):
        super().__init__(2)
        self.power = power

    def forward(self, batch):
        weight = pt(batch.x).unsqueeze(1)
        total = self.summed(weight, batch.batch, batch)
        fraction = (weight / total[batch.batch]) ** self.power
        each = fraction * self.each(torch.stack([eta(batch.x), phi(batch.x)], dim=1))
        return self.event(self.summed(each, batch.batch, batch))


class OfAngles(OfEvents):
    """Invariant under rotations about the beam."""

    def __init__(self):
        super().__init__(1)

    def angle(self, a, b):
        return delta_phi(a, b)

    def forward(self, batch):
        j, i = pairs(batch)
        angle = self.angle(batch.x[i], batch.x[j]).square().unsqueeze(1)
        return self.event(self.summed(self.each(angle), batch.batch[i], batch))


class Equivariant(nn.Module):
    """Four-momenta of particles: sums of all, with weights that are Lorentz invariant."""

    def __init__(self):
        super().__init__()
        self.weight = net(1, 8, 1)

    def forward(self, x, edge_index):
        j, i = edge_index
        weight = self.weight(mass2(x[i] + x[j]).clamp(min=1e-9).log().unsqueeze(1))
        return x.index_add(0, i, weight * x[j])


class TestRightModels:
    @pytest.mark.parametrize("agg_method", ["sum", "mean", "max", "attention"])
    def test_interaction_networks(self, agg_method):
        check_symmetry(interaction(agg_method), ["permutation", "padding"]).raise_if_broken()
        deep = interaction(agg_method, n_layers=3, bn=True)
        check_symmetry(deep, ["permutation", "padding"]).raise_if_broken()

    @pytest.mark.parametrize(
        "head",
        [
            interaction("flatten", vecs="abcd"),
            LorentzBoostNet(**names("abcde"), n_particles=3),
            AutoExtractLorentzBoostNet(**names("abc"), n_particles=3, depth=2, width=4, n_singles=1, n_pairs=1),
            RecurrentHead(**names("abc"), depth=1, width=4, rnn=nn.GRU, bidirectional=True),
        ],
        ids=lambda head: type(head).__name__,
    )
    def test_ordered_heads_do_not_mind_padding_but_order(self, head):
        assert holds(head, ["permutation", "padding"]) == ["padding"]

    @pytest.mark.parametrize("seed", range(2))
    def test_a_network_of_masses_is_lorentz_invariant(self, seed):
        model, options = OfMasses(), {"seed": seed, "max_gamma": 20.0}
        right = ["permutation", "padding", *LORENTZ_GROUP, *REFLECTIONS]
        assert holds(model, None, **options) == right

    @pytest.mark.parametrize("seed", range(2))
    def test_an_energy_flow_network_is_infrared_and_collinear_safe(self, seed):
        right = ["permutation", "padding", "scaling", "soft_emission", "collinear_split"]
        assert holds(EnergyFlow(), None, seed=seed) == right

    def test_the_order_of_convergence_is_that_of_the_weight(self):
        for power in (0.3, 0.5, 1.0):
            found = check_symmetry(EnergyFlow(power), "soft_emission")["soft_emission"]
            assert found.holds
            assert found.order == pytest.approx(power, abs=0.05)
            assert [step for step, _ in found.steps] == list(LIMITS)

    def test_angles_about_the_beam(self):
        found = holds(OfAngles(), [*LORENTZ_GROUP, *REFLECTIONS, "scaling"])
        assert found == ["rotation_z", "boost_z", *REFLECTIONS, "scaling"]

    def test_masses_of_massless_particles_are_rounding_and_no_broken_symmetry(self):
        def masses(batch):
            return global_add_pool(mass(batch.x).unsqueeze(1), batch.batch, batch.num_graphs)

        found = check_symmetry(masses, ["boost", "rotation"], max_gamma=100.0)
        assert found
        assert found["boost"].deviation > 1e-8
        assert found["boost"].threshold <= 1e-3

    def test_the_boost_layer_rotates_with_its_particles(self):
        conv = LorentzBoostConv(num_slots=6, num_particles=4)
        found = holds(conv, [*LORENTZ_GROUP, *REFLECTIONS, "scaling", "padding"], equivariant=True)
        assert found == ["rotation", "rotation_z", *REFLECTIONS, "scaling", "padding"]
        assert holds(conv, ["rotation", "padding"]) == ["padding"]

    def test_four_momenta_of_particles(self):
        options = {"call": lambda model, batch: model(batch.x, pairs(batch)), "output": "particles"}
        symmetries = ["permutation", "padding", *LORENTZ_GROUP, *REFLECTIONS]
        assert holds(Equivariant(), symmetries, equivariant=True, **options) == symmetries
        assert holds(Equivariant(), symmetries, **options) == ["permutation", "padding"]

    def test_layers_give_a_row_per_particle(self):
        assert holds(InteractionConv(4, 3, 5, act="swish"), ["permutation", "padding", "boost"]) == [
            "permutation",
            "padding",
        ]
        assert check_symmetry(EdgeConv(net(8, 5)), ["permutation", "padding"])

    def test_a_head_with_event_features_and_categories(self):
        matrix_head = partial(InteractionNet, vecs=["a"], feats_per_vec=P4, **WIDTHS)
        categories = CatEmbedder(["channel"], [3])
        head = MultiHead(["ht", *names("a")["cont_feats"]], matrix_head, cat_embedder=categories)
        check_symmetry(head, ["permutation", "padding"]).raise_if_broken()
        body = FullyConnected(head.get_out_size(), head.feat_map, depth=2, width=8)
        model = nn.Sequential(head, body, ClassRegMulti(body.get_out_size(), 1, "classification"))
        assert holds(model, ["permutation", "padding", "rotation_z"]) == ["permutation", "padding"]

    def test_a_model_on_events_as_those_that_it_is_made_for(self):
        train = load_sample().split((0.01, 0.99), seed=0)[0]
        head = {"matrix_head": partial(InteractionNet, **WIDTHS)}
        model = Model(ModelBuilder.from_dataset(train, head=MultiHead, model_args={"head": head}))
        events = train.batch(range(30))
        before = model.predict(events)
        assert holds(model, ["permutation", "padding", "rotation"], inputs=events) == ["permutation", "padding"]
        assert (model.predict(events) == before).all()
        assert before.dtype == "float32"


# ------------------------------------------------------------------------------------------------------ planted faults


class Dense(nn.Module):
    """A network of a matrix and a mask that sums over the particles, as it should."""

    def __init__(self):
        super().__init__()
        self.each, self.event = net(4, 16, 8), net(8, 16, 2)

    def pool(self, each, mask):
        return (each * mask.unsqueeze(-1)).sum(1)

    def forward(self, rows, mask):
        each = self.each(rows.flatten(0, 1)).view(*mask.shape, -1)
        return self.event(self.pool(each, mask))


class Leaks(Dense):
    """Padded particles count."""

    def pool(self, each, mask):
        return each.sum(1)


class LeaksALittle(Dense):
    """Padded particles get a score of -15 instead of minus infinity: one part in 3 million."""

    def pool(self, each, mask):
        score = each[..., :1].masked_fill(~mask.unsqueeze(-1), -15.0)
        return (score.softmax(1) * each).sum(1)


class Attends(Dense):
    """The same as it should be."""

    def pool(self, each, mask):
        score = each[..., :1].masked_fill(~mask.unsqueeze(-1), -1e30)
        return (score.softmax(1) * each * mask.unsqueeze(-1)).sum(1)


class CountsSlots(Dense):
    """The mean is that over slots."""

    def pool(self, each, mask):
        return super().pool(each, mask) / mask.size(1)


class ByPlace(Dense):
    """Each slot has a weight."""

    def pool(self, each, mask):
        place = torch.arange(mask.size(1), dtype=each.dtype).view(1, -1, 1)
        return super().pool(each * (1 + 1e-3 * place), mask)


class MixesEvents(OfEvents):
    """Normalises by the particles of all events."""

    def forward(self, batch):
        x = (batch.x - batch.x.mean(0)) / (1 + batch.x.std(0))
        return self.event(self.summed(self.each(x), batch.batch, batch))


class BatchNormOfTheMoment(OfEvents):
    """Batch normalisation without running statistics."""

    def __init__(self):
        super().__init__(4)
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, batch):
        return self.event(self.summed(self.each(self.norm(batch.x)), batch.batch, batch))


class SlotNumber(OfEvents):
    """Weights particles by their slot."""

    def forward(self, batch):
        each = self.each(batch.x) * (1 + 0.1 * batch.slot).unsqueeze(1)
        return self.event(self.summed(each, batch.batch, batch))


class Neighbours(OfEvents):
    """Takes the particle before it for its neighbour, also that of another event."""

    def forward(self, batch):
        each = self.each(batch.x) + self.each(batch.x).roll(1, 0)
        return self.event(self.summed(each, batch.batch, batch))


class PlaceInTheBatch(OfEvents):
    """Knows the number of its event."""

    def forward(self, batch):
        return super().forward(batch) + 1e-4 * torch.arange(batch.num_graphs).unsqueeze(1)


class Unwrapped(OfAngles):
    """Angles that are not brought into -pi to pi."""

    def angle(self, a, b):
        return phi(a) - phi(b)


class NearlyInvariant(OfMasses):
    """A little of something that is not boost invariant."""

    def forward(self, batch):
        energy = global_add_pool(batch.x[:, 3:], batch.batch, batch.num_graphs)
        return super().forward(batch) + 1e-6 * energy


class TestPlantedFaults:
    @pytest.mark.parametrize("model", [Leaks, LeaksALittle, CountsSlots])
    def test_a_padded_particle_that_leaks(self, model):
        assert holds(model(), ["permutation", "padding"], form="rows") == ["permutation"]
        assert holds(model(), "padding", form="matrix", call=_with_mask) == []

    @pytest.mark.parametrize("model", [Dense, Attends])
    def test_none_that_leaks(self, model):
        assert check_symmetry(model(), ["permutation", "padding"], form="rows")
        assert check_symmetry(model(), ["permutation", "padding"], form="rows", max_particles=9)
        assert check_symmetry(model(), ["permutation", "padding"], form="matrix", call=_with_mask)
        by_hand = {"call": lambda model, batch: model(*to_rows(batch))}
        assert check_symmetry(model(), ["permutation", "padding"], **by_hand)

    def test_what_stands_in_empty_slots_of_a_fixed_number(self):
        assert holds(Leaks(), "padding", form="rows", max_particles=6) == []
        assert holds(CountsSlots(), "padding", form="rows", max_particles=6) == ["padding"]  # always so many

    def test_a_head_that_forgets_the_mask(self):
        class Forgets(AbsMatrixHead):
            """A head without biases that are set: only in the copy are they not 0."""

            row_wise, max_particles = True, None

            def __init__(self, **names):
                super().__init__(**names)
                self.each = mlp([4, 8, 3])

            def get_out_size(self):
                return 3

            def embed(self, rows, mask):
                return self.each(rows.flatten(0, 1)).view(*mask.shape, 3).sum(1)

        class Remembers(Forgets):
            def embed(self, rows, mask):
                return (self.each(rows.flatten(0, 1)).view(*mask.shape, 3) * mask.unsqueeze(-1)).sum(1)

        assert holds(Forgets(**names("a")), ["permutation", "padding"]) == ["permutation"]
        assert holds(Remembers(**names("a")), ["permutation", "padding"]) == ["permutation", "padding"]
        assert holds(nn.Sequential(Forgets(**names("a")), net(3, 2)), "padding") == []

    def test_a_leak_shows_in_batches_too(self):
        assert holds(Leaks(), "padding", call=lambda model, batch: model(*to_rows(batch))) == []

    @pytest.mark.parametrize("model", [MixesEvents, BatchNormOfTheMoment, Neighbours, PlaceInTheBatch])
    def test_events_that_are_mixed(self, model):
        model = model() if model is BatchNormOfTheMoment else model(4)
        assert holds(model, "padding") == []

    def test_an_order_that_matters(self):
        assert holds(ByPlace(), ["permutation", "padding"], form="rows") == ["padding"]
        assert holds(SlotNumber(4), ["permutation", "padding"]) == ["padding"]
        first = check_symmetry(
            lambda b: b.x[(b.ptr[:-1]).clamp(max=len(b.x) - 1)] * (b.ptr.diff() > 0)[:, None], "permutation"
        )
        assert not first
        assert first["permutation"].particles > 1

    def test_an_angle_that_is_not_wrapped(self):
        assert holds(Unwrapped(), ["permutation", "rotation_z"]) == ["permutation"]

    def test_phi_as_a_feature(self):
        model = OfEvents(4)
        assert holds(model, ["permutation", "rotation_z", "reflection_z"], feats=PTEPM) == ["permutation"]

    def test_a_feature_that_is_not_boost_invariant(self):
        found = check_symmetry(NearlyInvariant(), ["rotation", "boost", "boost_z"])
        assert [check.holds for check in found.checks.values()] == [True, False, False]
        assert holds(NearlyInvariant(), ["rotation_z", "reflection"]) == ["rotation_z", "reflection"]
        assert found["boost"].deviation < 1e-2

    def test_sums_over_particles_are_not_infrared_safe(self):
        assert holds(OfEvents(4), ["soft_emission", "collinear_split"]) == []
        squared = check_symmetry(EnergyFlow(2.0), ["soft_emission", "collinear_split"])
        assert [check.holds for check in squared.checks.values()] == [True, False]
        counting = check_symmetry(EnergyFlow(0.0), "soft_emission")["soft_emission"]
        assert not counting
        assert counting.order == pytest.approx(0.0, abs=0.01)

    def test_a_singularity_between_collinear_particles(self):
        def close(batch):
            j, i = pairs(batch)
            direction = nn.functional.normalize(batch.x[:, :3], dim=1)
            angle = (direction[i] - direction[j]).norm(dim=1)
            at_distance = ((angle > 1e-14) & (angle < 0.1)) * batch.x[i, 3] * batch.x[j, 3]
            return global_add_pool(at_distance.unsqueeze(1), batch.batch[i], batch.num_graphs)

        found = check_symmetry(close, "collinear_split")["collinear_split"]
        assert not found
        assert dict(found.steps)[0.0] < 1e-10
        assert dict(found.steps)[1e-10] > 1e-3

    def test_a_threshold_on_energy(self):
        def hard(model, batch):
            kept = batch.x[:, 3] > 0.05
            return global_add_pool(batch.x[kept, :3].square(), batch.batch[kept], batch.num_graphs)

        assert holds(OfEvents(4), ["soft_emission", "boost"], call=hard) == ["soft_emission"]


def _with_mask(model, rows):
    """Call a network of a matrix alone, whose particles are those of positive energy."""
    return model(rows, rows[..., 3] > 0)


# --------------------------------------------------------------------------------------------------- the events


def events(feats=P4, most=None):
    return random_events(Momenta(feats), torch.Generator().manual_seed(1), most, 2, [3])


class TestEvents:
    def test_there_are_events_of_0_1_2_and_many_particles(self):
        lengths = events().lengths.tolist()
        assert {0, 1, 2} <= set(lengths)
        assert max(lengths) > 20
        assert lengths[0] == lengths[-1] == 0
        assert max(events(most=3).lengths.tolist()) == 3

    def test_momenta_are_physical_and_some_are_massless(self):
        found = events()
        p4 = Momenta(P4).read(found.particles.x)
        m = mass(p4)
        assert bool((m > -1e-6).all())
        assert 0 < int((m < 1e-6).sum()) < len(m)
        assert found.u.shape == (len(found.lengths), 2)
        assert set(found.cat.unique().tolist()) <= {0, 1, 2}

    def test_given_ones_are_taken_as_they_are(self):
        batch = from_rows(torch.rand(2, 3, 4), mask=torch.tensor([[True, False, True], [False, False, False]]))
        found = given_events(batch, P4)
        assert found.particles.x.dtype == torch.float64
        assert torch.equal(found.particles.x.float(), batch.x)
        assert found.particles.slot.tolist() == [0, 2]

    @pytest.mark.parametrize("feats", [P4, PTEPM, ["btag", "pt", "eta", "phi", "E"], ["energy", "PX", "Py", "pz", "q"]])
    def test_what_is_written_is_read_again(self, feats):
        momenta = Momenta(feats)
        x = events(feats).particles.x
        p4 = momenta.read(x)
        torch.testing.assert_close(momenta.read(momenta.write(x, p4, momenta.masses(x))), p4, rtol=1e-12, atol=1e-12)
        turned = p4[:, [1, 2, 0, 3]]
        again = momenta.write(x, turned, momenta.masses(x))
        torch.testing.assert_close(momenta.read(again), turned, rtol=1e-12, atol=1e-12)
        others = [i for i, name in enumerate(feats) if name in ("btag", "q")]
        assert torch.equal(again[:, others], x[:, others])

    def test_all_that_is_a_function_of_the_momentum_changes(self):
        momenta = Momenta(["px", "py", "pz", "E", "log_pt", "log_E", "pt"])
        x = momenta.write(torch.zeros(1, 7).double(), torch.tensor([[3.0, 4.0, 0.0, 13.0]]).double())
        expected = [3.0, 4.0, 0.0, 13.0, math.log(5.0), math.log(13.0), 5.0]
        torch.testing.assert_close(x[0], torch.tensor(expected).double())


class TestChanges:
    @pytest.mark.parametrize("name", LORENTZ)
    def test_transformations_keep_what_they_should(self, name):
        before, momenta = events(), Momenta(P4)
        change = transformed(name, before, momenta, torch.Generator().manual_seed(2), 5.0)
        p, q = before.particles.x, change.events.particles.x
        event = ptr_to_batch(before.particles.ptr)
        factor = change.matrix[:, 0, 0][event] if name == "scaling" else torch.ones(len(p)).double()
        torch.testing.assert_close(mass2(q), factor.square() * mass2(p), rtol=1e-9, atol=1e-9)
        metric = torch.diag(torch.tensor([-1.0, -1.0, -1.0, 1.0])).double()
        for matrix in change.matrix:
            size = matrix[0, 0] ** 2 if name == "scaling" else 1.0
            torch.testing.assert_close(matrix.t() @ metric @ matrix, size * metric, rtol=1e-9, atol=1e-9)
            proper = "reflection" not in name
            assert float(matrix[:3, :3].det()) > 0 if proper else float(matrix[:3, :3].det()) == -1.0
        if name.endswith("_z"):
            torch.testing.assert_close(pt(q), pt(p))
        if name.startswith(("rotation", "reflection")):
            torch.testing.assert_close(q[:, 3], p[:, 3])
            assert not torch.allclose(p[:, :3], q[:, :3])
        if name.startswith("boost"):
            assert bool((change.matrix[:, 3, 3] <= 5.0 + 1e-9).all())
        assert len(set(change.words)) == (1 if name.startswith("reflection") else len(before.lengths))

    def test_random_rotations_are_uniform(self):
        """The trace of a rotation matrix of SO(3) has the mean 0 and the mean square 1; each entry squared 1/3."""
        random = torch.Generator().manual_seed(0)
        drawn = torch.stack([LORENTZ["rotation"](random, 5.0)[0][:3, :3] for _ in range(4000)])
        trace = drawn.diagonal(dim1=1, dim2=2).sum(1)
        assert float(trace.mean()) == pytest.approx(0.0, abs=0.06)
        assert float(trace.square().mean()) == pytest.approx(1.0, abs=0.1)
        torch.testing.assert_close(drawn.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=0.02, rtol=0)
        torch.testing.assert_close(drawn.mean(0), torch.zeros(3, 3).double(), atol=0.04, rtol=0)

    def test_particles_stay_in_their_event(self):
        before = events()
        change = permuted(before, torch.Generator().manual_seed(0))
        assert not torch.equal(change.events.particles.x, before.particles.x)
        for event in range(len(before.lengths)):
            rows = before.rows_of([event])
            assert sorted(change.source[rows].tolist()) == rows.tolist()
        assert torch.equal(change.events.particles.x, before.particles.x[change.source])

    @pytest.mark.parametrize("feats", [P4, PTEPM, [*P4, "btag"], ["btag", "pt", "eta", "phi"]])
    def test_split_particles_add_up(self, feats):
        momenta = Momenta(feats)
        before = events(feats).select([1, 2, 4])
        for change, angle in zip(
            emissions("collinear_split", before, momenta, torch.Generator().manual_seed(0), (1e-3, 0.0), None),
            (1e-3, 0.0),
            strict=True,
        ):
            after = change.events
            assert (after.lengths - before.lengths).tolist() == [1, 1, 1]
            sums = [
                global_add_pool(momenta.read(e.particles.x), ptr_to_batch(e.particles.ptr)) for e in (before, after)
            ]
            torch.testing.assert_close(sums[0], sums[1], atol=20 * angle**2 + 1e-12, rtol=0)
            split = ~change.kept
            assert torch.bincount(ptr_to_batch(after.particles.ptr)[split]).tolist() == [2, 2, 2]
            pieces = momenta.read(after.particles.x)[split]
            event = ptr_to_batch(after.particles.ptr)[split]
            for i in range(3):
                a, b = pieces[event == i][:, :3]
                found = math.atan2(float(torch.linalg.cross(a, b).norm()), float(a @ b))
                assert found == pytest.approx(angle, abs=1e-12)
            assert torch.equal(after.particles.x[change.kept], before.particles.x[change.source[change.kept]])

    def test_a_soft_particle_has_the_energy_of_the_step(self):
        momenta, before = Momenta(P4), events().select([1, 4])
        steps = (1e-2, 1e-4)
        for step, change in zip(
            steps,
            emissions("soft_emission", before, momenta, torch.Generator().manual_seed(0), steps, None),
            strict=True,
        ):
            new = change.events.particles.x[~change.kept]
            mean = (
                before.particles.x[:, 3][before.rows_of([0])].mean(),
                before.particles.x[:, 3][before.rows_of([1])].mean(),
            )
            torch.testing.assert_close(new[:, 3], step * torch.stack(mean))
            torch.testing.assert_close(mass(new) / new[:, 3], torch.zeros(2).double(), atol=1e-6, rtol=0)
            assert torch.equal(change.events.particles.x[change.kept], before.particles.x)
            assert change.events.particles.slot.tolist() == [0, 1, 2, *range(13)]


# ------------------------------------------------------------------------------------------------ forms and arguments


class TestForms:
    def test_a_function_is_a_model(self):
        def hardest(batch):
            return torch.stack([e.x[:, 0].max() if len(e.x) else torch.zeros(()) for e in batch.to_data_list()])

        def hardest_of(rows, mask):
            return rows[..., 0].masked_fill(~mask, -1.0).amax(1)

        assert holds(hardest, ["permutation", "padding", "boost_z"], feats=PTEPM) == [
            "permutation",
            "padding",
            "boost_z",
        ]
        report = check_symmetry(hardest_of, None, feats=PTEPM, form="rows")
        assert report["rotation_z"]
        assert report["soft_emission"]
        assert not report["collinear_split"]
        assert not report["scaling"]

    def test_outputs_of_particles_in_a_matrix(self):
        def each(rows, mask):
            return rows * rows.sum(1, keepdim=True)

        options = {"form": "matrix", "call": lambda model, rows: model(rows, None), "output": "particles"}
        assert holds(each, ["permutation", "padding"], **options) == ["permutation", "padding"]
        sorted_ = {**options, "call": lambda model, rows: rows.sort(1).values}
        assert holds(each, ["permutation", "padding"], **sorted_) == []

    def test_a_fixed_number_of_slots(self):
        model = nn.Sequential(nn.Flatten(), net(4 * 7, 5))
        assert holds(model, ["permutation", "padding"], form="matrix", max_particles=7) == ["padding"]

    def test_event_features_and_categories_of_given_events_stay_with_their_event(self):
        batch = from_rows(torch.rand(3, 4, 4), u=torch.rand(3, 2), cat=torch.tensor([[0], [1], [2]]))

        def model(batch):
            own = torch.cat([batch.u, batch.cat], dim=1)
            return own * global_add_pool(batch.x, batch.batch, batch.num_graphs)[:, :3]

        assert check_symmetry(model, ["permutation", "padding"], inputs=batch)
        assert len(check_symmetry(model, "permutation", inputs=batch)["permutation"].before.u) == 1

    def test_inputs_know_the_names_of_their_features(self):
        def mass(batch):
            p4 = from_pt_eta_phi_mass(*batch.x.unbind(1))
            total = global_add_pool(p4, batch.batch, batch.num_graphs)
            return total[:, 3] ** 2 - total[:, :3].square().sum(1)

        x = torch.rand(9, 4, dtype=torch.float64)
        batch = from_jagged(x, lengths=torch.tensor([3, 0, 2, 4]), feats_per_vec=PTEPM)
        report = check_symmetry(mass, ["boost", "rotation"], inputs=batch)
        assert report
        assert report["boost"].before.names.feats_per_vec == tuple(PTEPM)
        with pytest.raises(ValueError, match=r"feats_per_vec must be that of the batch, \('pt', .* got \('px', "):
            check_symmetry(mass, "boost", inputs=batch, feats=P4)
        with pytest.raises(ValueError, match=r"the batch must have the features \['px'.* of the head, got \['pt'"):
            check_symmetry(interaction(), "boost", inputs=batch)

    def test_events_that_broke_a_symmetry_know_their_names(self):
        before = check_symmetry(interaction(), "rotation")["rotation"].before
        assert before.names.feats_per_vec == tuple(P4)
        assert interaction().double()(before).shape == (1, 4)

    def test_other_names_of_the_features_of_a_head(self):
        head = interaction(feats=["a", "b", "c", "d"])
        assert "rotation" in check_symmetry(head).not_checked
        assert not check_symmetry(head, "rotation", feats=P4)

    def test_a_module_around_a_head(self):
        class Around(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = interaction("mean", feats=PTEPM)

            def forward(self, batch):
                return self.head(batch).tanh()

        assert holds(Around(), ["permutation", "padding", "scaling"]) == ["permutation", "padding"]

    def test_transverse_momenta(self):
        report = check_symmetry(interaction(feats=["px", "py"]))
        assert list(report.not_checked) == ["rotation", "boost", "boost_z", "reflection_z"]
        length = check_symmetry(
            lambda b: global_add_pool(b.x[:, 0].square() + b.x[:, 1].square(), b.batch, b.num_graphs),
            feats=["px", "py"],
        )
        assert [name for name, check in length.checks.items() if check] == [
            "permutation", "padding", "rotation_z", "reflection", "reflection_x", "reflection_y", "soft_emission",
        ]  # fmt: skip

    def test_the_mass_as_a_feature_keeps_its_digits(self):
        def masses(batch):
            return global_add_pool(batch.x[:, 3:], batch.batch, batch.num_graphs)

        assert check_symmetry(masses, ["boost", "rotation"], feats=PTEPM, max_gamma=100)["boost"].deviation < 1e-12
        assert holds(masses, ["scaling", "collinear_split"], feats=PTEPM) == ["collinear_split"]


class TestNothingElseChanges:
    def test_the_model_and_the_random_numbers_are_left_as_they_were(self):
        model = nn.Sequential(interaction("mean", bn=True, do=0.3), nn.Linear(4, 2)).train()
        before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
        batch = from_rows(torch.rand(3, 4, 4))
        state = torch.random.get_rng_state()
        values = batch.x.clone()
        check_symmetry(model, ["permutation", "padding", "soft_emission"])
        check_symmetry(model, "permutation", inputs=batch)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()
        assert [m.training for m in model.modules()] == modes
        assert torch.equal(batch.x, values)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name
            assert value.dtype == before[name].dtype
        assert all(p.grad is None and p.requires_grad for p in model.parameters())

    def test_a_failure_leaves_them_too(self):
        with pytest.raises(ValueError, match="Linear fails when it is called with a Batch of the events, TypeError"):
            check_symmetry(nn.Linear(4, 2), "permutation")
        assert torch.get_default_dtype() == torch.float32

    def test_what_a_model_writes_into_its_input(self):
        def careless(batch):
            batch.x *= 2
            return global_add_pool(batch.x, batch.batch, batch.num_graphs)

        assert check_symmetry(careless, ["permutation", "padding"])

    def test_the_same_seed_gives_the_same_numbers_also_alone(self):
        model = OfEvents(4)
        all_of_them, alone = check_symmetry(model, seed=3), check_symmetry(model, "boost", seed=3)
        assert all_of_them["boost"] == alone["boost"]
        assert check_symmetry(model, "boost", seed=4)["boost"] != alone["boost"]


class TestWhatCannotBeJudged:
    def test_dropout_that_is_always_on(self):
        def dropped(batch):
            return global_add_pool(nn.functional.dropout(batch.x), batch.batch, batch.num_graphs)

        with pytest.raises(ValueError, match="must return the same output when it is called again"):
            check_symmetry(dropped, "permutation")
        model = nn.Sequential(interaction(do=0.5), nn.Dropout(0.5)).train()
        assert check_symmetry(model, "permutation")

    def test_single_precision(self):
        class Single(OfEvents):
            def forward(self, batch):
                return self.event(super().forward(batch).float().repeat(1, 4))

        class Rounds(OfEvents):
            def forward(self, batch):
                return super().forward(batch).float()

        with pytest.raises(ValueError, match="Single does not compute in float64, which is needed"):
            check_symmetry(Single(4), "permutation")
        with pytest.raises(ValueError, match=r"Rounds must compute in float64, got an output of torch.float32"):
            check_symmetry(Rounds(4), "permutation")

    def test_tensors_made_without_a_dtype_are_double(self):
        class Made(OfEvents):
            def forward(self, batch):
                return super().forward(batch) @ torch.ones(2, 3)

        assert check_symmetry(Made(4), "permutation")

    def test_saturation(self):
        class Saturated(OfEvents):
            def forward(self, batch):
                return (1e3 * (1 + super().forward(batch).square())).sigmoid()

        with pytest.raises(ValueError, match="must react to the particles of most events"):
            check_symmetry(Saturated(4), "padding")

    def test_no_number(self):
        def mean(batch):
            total = global_add_pool(batch.x, batch.batch, batch.num_graphs)
            return total / batch.ptr.diff().unsqueeze(1)

        with pytest.raises(ValueError, match=r"must return finite numbers, got \[nan.* for event 0 of 0 particles"):
            check_symmetry(mean, "permutation")
        assert check_symmetry(mean, "permutation", inputs=from_rows(torch.rand(4, 3, 4)))

    def test_events_without_particles_that_are_lost(self):
        def lost(batch):
            return global_add_pool(batch.x, batch.batch)

        with pytest.raises(
            ValueError,
            match=r"must return a row per event, got the shape \(8, 4\) for 9 events.*the last event has no particles",
        ):
            check_symmetry(lost, "permutation")

    def test_an_output_that_is_no_tensor(self):
        with pytest.raises(TypeError, match="must return a tensor, got tuple: pick one"):
            check_symmetry(lambda batch: (batch.x, batch.x), "permutation")

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (
                {"symmetries": "permutations"},
                ValueError,
                "names of symmetries, got .permutations.: did you mean permutation",
            ),
            ({"symmetries": []}, ValueError, "symmetries must name at least one symmetry, got none"),
            ({"symmetries": "boost", "feats": ["a", "b", "c", "d"]}, ValueError, "hold no momenta"),
            ({"symmetries": "boost", "feats": ["px", "py", "a", "b"]}, ValueError, "no momentum along the beam"),
            ({"feats": ["px", "py"]}, ValueError, "feats must name the 4 features"),
            ({"feats": ["px", "px", "py", "E"]}, ValueError, "must be a list of different names"),
            ({"form": "columns"}, ValueError, "form must be a form of events, got .columns."),
            ({"output": "event"}, ValueError, "did you mean events"),
            ({"output": "particles"}, ValueError, "must return a row per particle, got the shape"),
            ({"equivariant": True, "call": lambda m, b: m(b)[:, :3]}, ValueError, "output must be four-momenta"),
            ({"trials": 0}, ValueError, "trials must be at least 1"),
            ({"max_gamma": 1.0}, ValueError, "max_gamma must be above 1"),
            ({"tolerance": 0.0}, ValueError, "tolerance must be between 0 and 1, got 0.0"),
            ({"max_particles": 0}, ValueError, "max_particles must be at least 1"),
            ({"inputs": torch.rand(3, 4)}, TypeError, "inputs must be a Batch"),
            (
                {"inputs": from_rows(torch.rand(2, 3, 5))},
                ValueError,
                "inputs must have the features .*, got 5 per particle",
            ),
            ({"inputs": from_rows(torch.rand(0, 3, 4))}, ValueError, "inputs must have particles, got none"),
        ],
    )
    def test_arguments_that_are_none(self, arguments, error, message, plain_python):
        with pytest.raises(error, match=message):
            check_symmetry(interaction(), **arguments)

    def test_models_that_are_none(self, plain_python):
        with pytest.raises(TypeError, match=r"must be a module, a lumigraph\.Model or a function, got int"):
            check_symmetry(3)
        with pytest.raises(TypeError, match="must take particles, got CatEmbHead"):
            check_symmetry(CatEmbHead(["ht"]), "permutation")

    def test_fields_of_which_nobody_knows_how_they_change(self):
        batch = from_rows(torch.rand(2, 3, 4))
        batch.pos = torch.rand(6, 3)
        with pytest.raises(ValueError, match="documented fields only, got 'pos', which may depend on the particles"):
            check_symmetry(interaction(), inputs=batch)

    def test_nothing_to_exchange(self):
        single = from_rows(torch.rand(3, 1, 4))
        with pytest.raises(ValueError, match="no event has two particles"):
            check_symmetry(interaction(), "permutation", inputs=single)
        assert check_symmetry(interaction(), "padding", inputs=single)

    def test_no_room_for_an_emission(self):
        full = from_rows(torch.rand(2, 2, 4) + torch.tensor([0.0, 0.0, 0.0, 2.0]))
        head = LorentzBoostNet(**names("ab"), n_particles=2)
        with pytest.raises(ValueError, match="soft_emission needs an event with a particle and room for one more"):
            check_symmetry(head, "soft_emission", inputs=full)
        assert "soft_emission" in check_symmetry(head, inputs=full).not_checked


class TestReport:
    def test_the_message_says_all(self):
        model = OfEvents(4)
        with pytest.raises(AssertionError) as caught:
            check_symmetry(model, ["permutation", "boost"], max_gamma=3.0, seed=7).raise_if_broken()
        text = str(caught.value)
        found = check_symmetry(model, "boost", max_gamma=3.0, seed=7)["boost"]
        assert "permutation" not in text
        for part in (
            "OfEvents", "boost: BROKEN", f"event {found.event} ({found.particles} particle", "after a boost with gamma",
            f"{found.deviation:.3g} of the scale", f"{found.absolute:.3g} absolute", "allowed 1e-08",
            f"{found.values[0]:.10g} became {found.values[1]:.10g}",
            'check_symmetry(model, "boost", max_gamma=3.0, seed=7)',
        ):  # fmt: skip
            assert part in text, part

    def test_the_event_that_shows_it(self):
        model = OfEvents(4)
        found = check_symmetry(model, "rotation")["rotation"]
        assert found.before.num_graphs == found.after.num_graphs == 1
        assert len(found.before.x) == found.particles
        torch.testing.assert_close(mass2(found.after.x), mass2(found.before.x), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(found.after.x, found.before.x)

    def test_the_values_are_those_of_the_model(self):
        def energies(batch):
            return global_add_pool(batch.x[:, 3], batch.batch, batch.num_graphs)

        found = check_symmetry(energies, "boost")["boost"]
        assert found.values == pytest.approx((float(energies(found.before)), float(energies(found.after))))
        assert found.absolute == pytest.approx(abs(found.values[1] - found.values[0]))

    def test_the_table(self):
        report = check_symmetry(OfMasses(), ["permutation", "scaling", "soft_emission"])
        assert not report
        assert not report.holds
        lines = str(report).splitlines()
        assert [line.split()[0] for line in lines] == ["OfMasses", "permutation", "scaling", "soft_emission"]
        assert [line.split()[1] for line in lines[1:]] == ["yes", "NO", "NO"]
        assert "after the scaling of all momenta by" in lines[2]
        assert repr(report) == "SymmetryReport(OfMasses: permutation=holds, scaling=BROKEN, soft_emission=BROKEN)"

    def test_all_hold(self):
        report = check_symmetry(OfMasses(), ["permutation", "boost"])
        assert report
        assert report.raise_if_broken() is None

    def test_all_symmetries_are_checked_if_none_is_named(self):
        assert tuple(check_symmetry(OfMasses()).checks) == SYMMETRIES
