import itertools
import math
import sys
import time
from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.explain import CaptumExplainer, Explainer

from lumigraph import (
    EventDataset,
    EventSchema,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    from_jagged,
)
from lumigraph.model.importance import particle_attributions

METHODS = ["shapley", "removal", "integrated_gradients"]
LENGTHS = torch.tensor([3, 0, 5, 1])
BATCH = from_jagged(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), lengths=LENGTHS)


def interaction(n_out=4, agg_method="sum", act="tanh", vecs=("a",)):
    cont_feats = [f"{vec}_{feat}" for vec in vecs for feat in ("px", "py", "pz")]
    return InteractionNet(
        cont_feats, vecs, ["px", "py", "pz"], intfunc_depth=2, intfunc_width=8, intfunc_out_sz=6, outfunc_depth=2,
        outfunc_width=8, outfunc_out_sz=n_out, agg_method=agg_method, act=act,
    )  # fmt: skip


def without(batch, event, missing):
    """The event as a Batch of its own, without particles."""
    first, end = batch.ptr[event : event + 2].tolist()
    kept = [i for i in range(first, end) if i - first not in missing]
    return Batch.from_data_list([Data(x=batch.x[kept], slot=batch.slot[kept])])


class Planted(nn.Module):
    """Adds up one number for each particle, and a constant for the event."""

    def forward(self, batch):
        own = 2.0 * batch.x[:, 0] - batch.x[:, 1]
        total = own.new_zeros(batch.num_graphs).index_add_(0, batch.batch, own)
        return torch.stack([total + 7.0, torch.zeros_like(total)], dim=1)


class Either(nn.Module):
    """Is 1 where there is at least one particle with a positive first feature."""

    def forward(self, batch):
        found = batch.x.new_zeros(batch.num_graphs).index_add_(0, batch.batch, (batch.x[:, 0] > 0).float())
        return (found > 0).float()[:, None]


class TestPlanted:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("event", [0, 2, 3])
    def test_what_each_particle_adds_is_found(self, method, event):
        x = BATCH.x[BATCH.batch == event]
        found = particle_attributions(Planted(), BATCH, event, method=method)
        torch.testing.assert_close(found, 2.0 * x[:, 0] - x[:, 1], atol=1e-4, rtol=1e-4)
        assert particle_attributions(Planted(), BATCH, event, method=method, output=1).abs().max() == 0

    def test_two_of_which_either_would_do_share_it(self):
        batch = from_jagged(torch.tensor([[1.0], [1.0], [-1.0]]), lengths=torch.tensor([3]))
        shared = particle_attributions(Either(), batch, n_samples=2000)
        torch.testing.assert_close(shared, torch.tensor([0.5, 0.5, 0.0]), atol=0.05, rtol=0.0)
        assert particle_attributions(Either(), batch, method="removal").tolist() == [0.0, 0.0, 0.0]


class TestShapley:
    @pytest.mark.parametrize("head", [interaction(), interaction(agg_method="mean"), interaction(act="relu")])
    def test_adds_up_to_the_difference_from_the_empty_event(self, head):
        whole, empty = head(without(BATCH, 2, []))[0], head(without(BATCH, 2, range(5)))[0]
        for output in (0, 3):
            found = particle_attributions(head, BATCH, 2, output=output, n_samples=3)
            torch.testing.assert_close(found.sum(), (whole - empty)[output], atol=1e-5, rtol=1e-4)

    def test_is_the_mean_over_all_orders(self):
        head = interaction(n_out=1)
        exact = torch.zeros(3)
        for order in itertools.permutations(range(3)):
            for place, particle in enumerate(order):
                before, after = (without(BATCH, 0, set(order[place + more :])) for more in (0, 1))
                exact[particle] += (head(after) - head(before))[0, 0].detach() / math.factorial(3)
        found = particle_attributions(head, BATCH, 0, n_samples=1500)
        torch.testing.assert_close(found, exact, atol=0.05 * float(exact.abs().max()), rtol=0.0)

    def test_the_seed_decides_and_the_random_numbers_of_others_stay(self):
        head = interaction()
        state = torch.get_rng_state()
        first, again, other = (particle_attributions(head, BATCH, 2, n_samples=2, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(state, torch.get_rng_state())


def test_removal_is_the_difference_from_the_event_without_the_particle():
    head = interaction()
    found = particle_attributions(head, BATCH, 2, method="removal", output=1)
    whole = head(without(BATCH, 2, []))[0, 1]
    expected = torch.stack([whole - head(without(BATCH, 2, [i]))[0, 1] for i in range(5)]).detach()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


class TestIntegratedGradients:
    def test_adds_up_to_the_difference_from_particles_without_momentum(self):
        head = interaction()
        found = particle_attributions(head, BATCH, 2, method="integrated_gradients", n_samples=100)
        event = without(BATCH, 2, [])
        nothing = Batch.from_data_list([Data(x=torch.zeros(5, 3), slot=event.slot)])
        torch.testing.assert_close(found.sum(), (head(event) - head(nothing))[0, 0], atol=1e-4, rtol=1e-3)

    def test_is_that_of_the_explainer_of_pyg(self):
        head = interaction(n_out=1)

        class WithEdges(nn.Module):
            def forward(self, x, edge_index):
                h = head.convs[0](head.scale(x), edge_index)
                return head.pool(h, torch.arange(len(x)), torch.tensor([0, len(x)]))

        explainer = Explainer(
            WithEdges(),
            algorithm=CaptumExplainer("IntegratedGradients", n_steps=50),
            explanation_type="model",
            node_mask_type="attributes",
            model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
        )
        x = BATCH.x[BATCH.batch == 2]
        edges = torch.tensor([(j, i) for i in range(5) for j in range(5) if i != j]).T
        expected = explainer(x, edges).node_mask.sum(1)
        found = particle_attributions(head, BATCH, 2, method="integrated_gradients", n_samples=50)
        torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_events_of_no_and_of_many_particles(self, method):
        head = interaction()
        assert particle_attributions(head, BATCH, 1, method=method).shape == (0,)
        many = from_jagged(torch.randn(200, 3), lengths=torch.tensor([200]))
        start = time.process_time()
        found = particle_attributions(head, many, method=method, n_samples=1 if method == "shapley" else 20)
        assert time.process_time() - start < 5
        assert found.shape == (200,)
        assert found.isfinite().all()

    @pytest.mark.parametrize("agg_method", ["max", "flatten", "attention"])
    def test_slots_stay_where_particles_are_missing(self, method, agg_method):
        head = interaction(agg_method=agg_method, vecs=("a", "b", "c", "d", "e"))
        found = particle_attributions(head, BATCH, 2, method=method, output=1)
        if method == "removal":
            whole = head(without(BATCH, 2, []))[0, 1]
            expected = (whole - head(without(BATCH, 2, [2]))[0, 1]).detach()
            torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-4)
        assert found.abs().sum() > 0

    def test_boost_networks(self, method):
        head = LorentzBoostNet(
            [f"{vec}_{feat}" for vec in "abcde" for feat in ("px", "py", "pz", "E")], list("abcde"),
            ["px", "py", "pz", "E"], n_particles=3,
        )  # fmt: skip
        p4 = torch.cat([BATCH.x, BATCH.x.norm(dim=1, keepdim=True) + 0.1], dim=1)
        found = particle_attributions(head, from_jagged(p4, lengths=LENGTHS), 2, method=method)
        assert found.isfinite().all()
        assert found.abs().sum() > 0

    def test_modes_and_gradients_are_left_as_they_are(self, method):
        head = interaction().train()
        particle_attributions(head, BATCH, 2, method=method, n_samples=2)
        assert head.training
        assert all(parameter.grad is None for parameter in head.parameters())
        assert torch.is_grad_enabled()


class TestModel:
    @staticmethod
    def of(objective, n_out=None):
        columns = {"Jet_px": [[1.0, 2.0], [3.0], [-1.0]], "Jet_py": [[0.5, 1.0], [2.0], [1.0]]}
        columns |= {"ht": [3.0, 3.0, 1.0], "c": [0, 1, 1], "y": [0, 1, 0]}
        schema = EventSchema(
            collections=("Jet",), feats_per_vec=("px", "py"), event_feats=("ht",), cat_feats=("c",), targets=("y",)
        )
        events = EventDataset.from_columns(columns, schema)
        net = partial(
            InteractionNet, intfunc_depth=1, intfunc_width=4, intfunc_out_sz=4, outfunc_depth=1, outfunc_width=4,
            outfunc_out_sz=4, agg_method="sum",
        )  # fmt: skip
        args = {"head": {"matrix_head": net}}
        return Model(ModelBuilder.from_dataset(events, objective, n_out, model_args=args, head=MultiHead)), events

    def test_a_classification_is_explained_in_log_odds(self):
        model, events = self.of("classification")
        whole = torch.logit(model.predict(events, as_np=False)[0, 0].double())
        lone = events.batch([0])
        empty = from_jagged(lone.x[:0], lengths=torch.tensor([0]), u=lone.u, cat=lone.cat)
        nothing = torch.logit(model.predict(empty, as_np=False)[0, 0].double())
        found = particle_attributions(model.model, events.batch(), 0)
        torch.testing.assert_close(found.sum().double(), whole - nothing, atol=1e-5, rtol=1e-3)

    def test_a_regression_is_explained_in_its_own_units(self):
        model, events = self.of("regression")
        lone = events.batch([0])
        empty = from_jagged(lone.x[:0], lengths=torch.tensor([0]), u=lone.u, cat=lone.cat)
        expected = model.predict(lone, as_np=False)[0, 0] - model.predict(empty, as_np=False)[0, 0]
        torch.testing.assert_close(particle_attributions(model.model, events[0]).sum(), expected, atol=1e-5, rtol=1e-4)

    def test_several_classes_have_an_output_each(self):
        model, events = self.of("multiclass", 3)
        found = [particle_attributions(model.model, events.batch(), 0, output=output).sum() for output in range(3)]
        scores = [torch.log(model.predict(batch, as_np=False)[0]) for batch in (
            events.batch([0]),
            from_jagged(events.x[:0], lengths=torch.tensor([0]), u=events.u[:1], cat=events.cat[:1]),
        )]  # fmt: skip
        change = scores[0] - scores[1]  # the softmax takes away what all classes have in common
        torch.testing.assert_close(found[0] - found[1], change[0] - change[1], atol=1e-5, rtol=1e-3)


def test_the_model_gets_the_names_of_the_batch():
    seen = []

    def first(model, inputs):
        seen.append(inputs[0].names.feats_per_vec)

    net = interaction()
    batch = from_jagged(BATCH.x, lengths=BATCH.ptr.diff(), feats_per_vec=net.feats_per_vec)
    net.register_forward_pre_hook(first)
    particle_attributions(net, batch, 0, n_samples=1)
    assert set(seen) == {tuple(net.feats_per_vec)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": 4}, "event must be from 0 to 3, as the batch has 4, got 4"),
        ({"event": -1}, "event must be from 0 to 3, .* got -1"),
        ({"method": "gradient"}, "method must be one of .*, got 'gradient'"),
        ({"output": 9}, "output must be from 0 to 3, got 9"),
        ({"n_samples": 0}, "n_samples must be at least 1"),
    ],
)
def test_errors(options, message, plain_python):
    with pytest.raises(ValueError, match=message):
        particle_attributions(interaction(), BATCH, **options)


def test_a_missing_captum_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"pip install 'lumigraph\[explain\]'"):
        particle_attributions(interaction(), BATCH)
