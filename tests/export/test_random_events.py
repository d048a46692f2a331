"""Random events: those of all multiplicities, as the scaling of the model says, with physical four-momenta."""

from functools import partial

import pytest
import torch

from lumigraph import InteractionNet, LorentzBoostNet, Model, ModelBuilder, MultiHead, load_sample
from lumigraph.events.graph import ptr_to_slot
from lumigraph.export.interface import Interface
from lumigraph.export.random_events import RandomEvents

SIZES = {
    "intfunc_depth": 1, "intfunc_width": 4, "intfunc_out_sz": 3,
    "outfunc_depth": 1, "outfunc_width": 4, "outfunc_out_sz": 3, "agg_method": "sum",
}  # fmt: skip


@pytest.fixture(scope="module")
def events():
    return load_sample()


def random_events(events, head, form="padded", **options):
    args = {"head": {"matrix_head": head}, "body": {"depth": 1, "width": 4}}
    model = Model(ModelBuilder.from_dataset(events, head=MultiHead, model_args=args, **options))
    face = Interface.of(model.model, model.model_builder, form)
    return model, RandomEvents(model.head, model.model_builder.scales, face)


@pytest.mark.parametrize("form", ["padded", "jagged"])
def test_there_are_no_events_and_events_of_0_1_2_and_many_particles(events, form):
    _, made = random_events(events, partial(InteractionNet, **SIZES), form)
    batches = [batch for batch, _ in made.batches()]
    lengths = [batch.ptr.diff().tolist() for batch in batches]
    assert {len(each) for each in lengths} >= {0, 1, 2, 100}
    for alone in ([0], [1], [2], [40], [0, 0]):
        assert alone in lengths
    largest = lengths[-1]
    assert set(range(3)) < set(largest)
    assert max(largest) > 30
    scattered = [not torch.equal(batch.slot, ptr_to_slot(batch.ptr)) for batch in batches]
    assert any(scattered) == (form == "padded")  # with empty slots between the particles


def test_features_are_as_in_training_and_momenta_are_physical(events):
    model, made = random_events(events, partial(InteractionNet, **SIZES))
    batch = made.batch(torch.full((500,), 10))
    assert len(batch.x) == 5000
    names = list(model.schema.feats_per_vec)
    p = batch.x[:, [names.index(n) for n in ("px", "py", "pz", "E")]].double()
    assert bool((p[:, 3] >= p[:, :3].norm(dim=1) * (1 - 1e-6)).all())
    scale = model.head.matrix_head.scale
    for name in ("px", "pz"):
        i = names.index(name)
        assert float(batch.x[:, i].mean()) == pytest.approx(float(scale.mean[i]), abs=0.1 * float(scale.std[i]))
        assert float(batch.x[:, i].std()) == pytest.approx(float(scale.std[i]), rel=0.1)
    assert float(batch.u[:, 0].mean()) == pytest.approx(float(model.head.flat_head.scale.mean[0]), rel=0.1)
    sizes = torch.tensor(model.head.cat_embedder.cat_szs)
    assert torch.equal(batch.cat.amax(0) + 1, sizes)
    assert int(batch.cat.min()) == 0
    model.predict(batch)


def test_a_head_that_boosts_takes_them_in_the_units_of_training(events):
    model, made = random_events(events, partial(LorentzBoostNet, n_particles=2))
    batch = made.batch(torch.full((200,), 5))
    i = list(model.schema.feats_per_vec).index("px")
    assert float(batch.x[:, i].std()) == pytest.approx(float(events.x[:, i].std()), rel=0.4)
    assert bool(torch.isfinite(torch.from_numpy(model.predict(batch))).all())


def test_limits_and_logarithms_are_undone(events):
    model, made = random_events(
        events, partial(InteractionNet, **SIZES), transforms={"ht": "log", "pz": "symlog"}, clip={"eta": [-2.0, 2.0]}
    )
    batch = made.batch(torch.full((500,), 10))
    ht, eta = batch.u[:, 0], batch.x[:, list(model.schema.feats_per_vec).index("eta")]
    assert float(ht.log().mean()) == pytest.approx(float(model.head.flat_head.scale.mean[0]), abs=0.1)
    assert float(ht.log().std()) == pytest.approx(float(model.head.flat_head.scale.std[0]), rel=0.1)
    assert float(eta.abs().max()) <= 2
    assert bool(batch.x.isfinite().all())


def test_the_global_generator_is_left_alone_and_the_same_seed_gives_the_same_events(events):
    model, made = random_events(events, partial(InteractionNet, **SIZES))
    state = torch.get_rng_state()
    first = made.batch(torch.tensor([3, 1]))
    assert torch.equal(state, torch.get_rng_state())
    again = RandomEvents(model.head, model.model_builder.scales, made.interface).batch(torch.tensor([3, 1]))
    assert torch.equal(first.x, again.x)
