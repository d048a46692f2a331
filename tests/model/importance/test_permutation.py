import pickle
from functools import partial

import awkward as ak
import numpy as np
import pytest
import torch

from lumigraph import EventDataset, EventSchema, InteractionNet, LorentzBoostNet, Model, ModelBuilder, MultiHead
from lumigraph.metrics import Estimate, auc, background_rejection
from lumigraph.model.importance import ImportanceTable, permutation_importance

NUM_EVENTS = 300


BUILDER = ModelBuilder("regression", 1, [])


class Counting(torch.nn.Module):
    """Adds up what it sees in columns of the particles and of the events, given as (field, column, weight)."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, inputs):
        out = torch.zeros(inputs.num_graphs, dtype=torch.float64)
        for field, column, weight in self.weights:
            values = inputs[field][:, column].double()
            out += weight * (out.new_zeros(len(out)).index_add_(0, inputs.batch, values) if field == "x" else values)
        return out[:, None]


NET = partial(
    InteractionNet, intfunc_depth=1, intfunc_width=4, intfunc_out_sz=4, outfunc_depth=1, outfunc_width=4,
    outfunc_out_sz=4, agg_method="sum",
)  # fmt: skip


def jagged(random, largest, num_events=NUM_EVENTS):
    lengths = random.integers(0, largest + 1, num_events)
    return ak.unflatten(random.normal(size=int(lengths.sum())), lengths)


def collections(feats=("a", "b", "is_Muon", "is_Jet"), **options):
    """Events whose target is the sum of feature a of the jets, and of event feature g."""
    random = np.random.default_rng(0)
    columns = {f"{vec}_{feat}": jagged(np.random.default_rng(seed), largest)
               for vec, largest, seed in (("Muon", 2, 1), ("Jet", 5, 2)) for feat in ("a", "b")}  # fmt: skip
    columns |= {"g": random.normal(size=NUM_EVENTS), "h": random.normal(size=NUM_EVENTS)}
    columns["y"] = ak.to_numpy(ak.sum(columns["Jet_a"], axis=1)) + columns["g"]
    schema = EventSchema(
        collections=("Muon", "Jet"), feats_per_vec=feats, event_feats=("g", "h"), targets=("y",), **options
    )
    return EventDataset.from_columns(columns, schema)


def closeness(y, out, weights=None):
    return Estimate(-float(np.mean((y - out) ** 2)), 0.0)


class TestFeatures:
    def test_what_is_looked_at_is_missed_and_the_rest_is_not(self):
        events = collections()
        table = permutation_importance(
            Counting([("x", 0, 1.0), ("u", 0, 3.0)]), BUILDER, events, metric=closeness, n_repeats=3
        )
        assert set(list(table)[:2]) == {"g", "a"}
        assert list(table.values())[2:] == [Estimate(0.0, 0.0)] * 4
        # the mean square of y - w g grows by twice the covariance of y and w g
        assert table["g"].value == pytest.approx(2 * 3.0 * events.u[:, 0].var().item(), rel=0.25)

    def test_the_loss_is_that_of_the_model(self):
        events = collections()
        model = Model(
            ModelBuilder.from_dataset(events, "regression", head=MultiHead, model_args={"head": {"matrix_head": NET}})
        )
        table = permutation_importance(model.model, model.model_builder, events, n_repeats=2, seed=3)
        assert table == model.get_feat_importance(events, n_repeats=2, seed=3)
        assert (table.metric, table.before) == ("loss", model.evaluate(events))
        assert table == dict(sorted(table.items(), key=lambda item: -item[1].value))

    def test_the_uncertainty_is_that_of_the_mean_over_repeats(self):
        events = collections()
        model = Counting([("u", 0, 1.0)])
        means = [
            permutation_importance(model, BUILDER, events, metric=closeness, n_repeats=4, seed=seed)["g"]
            for seed in range(40)
        ]
        spread = np.std([mean.value for mean in means], ddof=1)
        assert spread == pytest.approx(np.sqrt(np.mean([mean.uncertainty**2 for mean in means])), rel=0.4)


class TestObjects:
    def test_what_is_looked_at_is_missed_and_the_rest_is_not(self):
        events = collections()
        model = Counting([("x", 0, 1.0), ("u", 0, 1.0)])
        table = permutation_importance(model, BUILDER, events, by="object", metric=closeness, n_repeats=2)
        assert set(table) == {"Muon", "Jet", "event features"}
        jets = torch.zeros(NUM_EVENTS).index_add_(0, events.batch().batch, events.x[:, 0] * events.x[:, 3])
        assert table["Jet"].value == pytest.approx(2 * jets.var().item(), rel=0.3)  # with the number of jets
        flags = Counting([("x", 3, 1.0)])  # sees how many jets there are
        found = permutation_importance(flags, BUILDER, events, by="object", metric=closeness, n_repeats=2)
        assert found["Muon"] == found["event features"] == Estimate(0.0, 0.0)
        assert found["Jet"].value != 0

    @pytest.mark.parametrize("feats", [("a", "kind"), ("a", "is_Jet"), ("a", "is_Muon", "is_Jet")])
    @pytest.mark.parametrize("max_particles", [None, 4])
    def test_events_are_those_of_a_loop(self, feats, max_particles):
        events = collections(feats, max_particles=max_particles)
        changed = []

        class Recording(Counting):
            def forward(self, inputs):
                changed.append(inputs)
                return super().forward(inputs)

        permutation_importance(
            Recording([("u", 0, 1.0)]), BUILDER, events, by="object", metric=closeness, n_repeats=2, seed=5
        )
        given, number = (
            changed[0],
            {"kind": lambda x: x[1] == 1, "is_Jet": lambda x: x[1] == 1}.get(feats[1], lambda x: x[2] == 1),
        )
        random = torch.Generator().manual_seed(5)
        for batch, jets in zip(changed[1:5], (False, False, True, True), strict=True):
            takers = torch.randperm(NUM_EVENTS, generator=random)
            giver = {int(taker): event for event, taker in enumerate(takers)}
            for event in range(NUM_EVENTS):
                own, other = given[event].x.tolist(), given[giver[event]].x.tolist()
                expected = [x for x in (own if jets else other) if not number(x)]
                expected += [x for x in (other if jets else own) if number(x)]
                assert batch[event].x.tolist() == expected[:max_particles]
                assert batch[event].slot.tolist() == list(range(len(expected[:max_particles])))

    def test_named_objects_keep_their_slots(self):
        random = np.random.default_rng(0)
        columns = {f"{vec}_a": np.where(random.uniform(size=50) < 0.7, random.normal(size=50), np.nan)
                   for vec in ("j0", "j1", "met")}  # fmt: skip
        columns["y"] = np.nan_to_num(columns["j1_a"])
        schema = EventSchema(vecs=("j0", "j1", "met"), feats_per_vec=("a",), targets=("y",))
        events = EventDataset.from_columns(columns, schema)
        seen = []

        class SeesSlotOne(Counting):
            def forward(self, inputs):
                seen.append(inputs)
                out = torch.zeros(inputs.num_graphs, dtype=torch.float64)
                values = inputs.x[:, 0].double() * (inputs.slot == 1)
                return out.index_add_(0, inputs.batch, values)[:, None]

        table = permutation_importance(SeesSlotOne([]), BUILDER, events, by="object", metric=closeness, n_repeats=2)
        assert next(iter(table)) == "j1"
        assert table["j0"] == table["met"] == Estimate(0.0, 0.0)
        for batch in seen:
            for slot in range(3):
                assert sorted(batch.x[batch.slot == slot].flatten().tolist()) == sorted(
                    seen[0].x[seen[0].slot == slot].flatten().tolist()
                )

    def test_particles_that_do_not_tell_their_collection(self):
        events = collections(("a", "b"))
        with pytest.raises(ValueError, match=r"particles of the collections \['Muon', 'Jet'\] apart: add .*'is_Jet'"):
            permutation_importance(Counting([]), BUILDER, events, by="object", metric=closeness)

    def test_one_collection_needs_no_flag(self):
        columns = {"Jet_a": jagged(np.random.default_rng(0), 4, 60), "y": np.arange(60.0)}
        schema = EventSchema(collections=("Jet",), feats_per_vec=("a",), targets=("y",))
        events = EventDataset.from_columns(columns, schema)
        table = permutation_importance(
            Counting([("x", 0, 1.0)]), BUILDER, events, by="object", metric=closeness, n_repeats=2
        )
        assert list(table) == ["Jet"]


def built(head, model_args):
    """A classifier of four-momenta, and its weighted events."""
    random = np.random.default_rng(0)
    momenta = random.normal(size=(2, 200, 3)) * 30
    columns = {
        f"{vec}_{name}": momenta[i, :, k]
        for i, vec in enumerate(("a", "b"))
        for k, name in enumerate(("px", "py", "pz"))
    }
    columns |= {f"{vec}_E": np.linalg.norm(momenta[i], axis=1) for i, vec in enumerate(("a", "b"))}
    columns |= {"label": (momenta[0, :, 0] > 0) * 1, "w": random.exponential(1.0, 200)}
    schema = EventSchema(vecs=("a", "b"), feats_per_vec=("px", "py", "pz", "E"), targets=("label",), weight="w")
    events = EventDataset.from_columns(columns, schema)
    return Model(ModelBuilder.from_dataset(events, head=head, model_args=model_args)), events


def test_figures_of_merit_get_the_weights():
    model, events = built(InteractionNet, {"head": NET.keywords})
    table = permutation_importance(model.model, model.model_builder, events, metric=auc, n_repeats=2)
    assert table.metric == "auc"
    assert table.before == auc(events.y, model.predict(events), events.weight).value
    rejection = partial(background_rejection, signal_efficiency=0.5)
    found = permutation_importance(model.model, model.model_builder, events, metric=rejection, n_repeats=2)
    assert found.metric == "background_rejection"
    assert found.label == "fall of background rejection"


def test_four_momenta_that_are_none_reach_a_boost_network():
    model, events = built(LorentzBoostNet, {"head": {"n_particles": 3}})
    checking = [m for m in model.model.modules() if getattr(m, "validate", False)]
    table = permutation_importance(model.model, model.model_builder, events, n_repeats=2)
    assert np.isfinite([estimate.value for estimate in table.values()]).all()
    assert checking
    assert all(m.validate for m in checking)


def test_events_are_left_as_they_are():
    events = collections()
    before = {name: getattr(events, name).clone() for name in ("x", "slot", "ptr", "u")}
    for by in ("feature", "object"):
        permutation_importance(Counting([("x", 0, 1.0)]), BUILDER, events, by=by, metric=closeness, n_repeats=2)
    assert all(torch.equal(getattr(events, name), value) for name, value in before.items())


def test_a_table_is_a_sorted_dict_that_can_be_kept():
    table = ImportanceTable({"b": Estimate(0.1, 0.01), "a": Estimate(0.5, 0.02)}, metric="auc", before=0.9)
    assert list(table) == ["a", "b"]
    again = pickle.loads(pickle.dumps(table))
    assert (again, again.metric, again.before) == (table, "auc", 0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "features"}, "by must be 'feature' or 'object', got 'features'"),
        ({"metric": "auc"}, "metric must be 'loss' or a function such as lumigraph.metrics.auc, got 'auc'"),
        ({"n_repeats": 1}, "n_repeats must be at least 2, got 1"),
    ],
)
def test_errors(options, message, plain_python):
    events = collections()
    with pytest.raises(ValueError, match=message):
        permutation_importance(Counting([]), BUILDER, events, **options)
    with pytest.raises(TypeError, match="events must be an EventDataset or an EventStream, got"):
        permutation_importance(Counting([]), BUILDER, events.batch())
