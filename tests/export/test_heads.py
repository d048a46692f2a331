"""Every head in every form, as ONNX and as a program of torch.export: the same as the model on ragged events."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lumigraph import (
    AbsConv1dHead,
    AutoExtractLorentzBoostNet,
    CatEmbedder,
    InteractionNet,
    LorentzBoostNet,
    Model,
    ModelBuilder,
    MultiHead,
    RecurrentHead,
    from_rows,
)

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("plain_python")

FEATS = ["px", "py", "pz", "E", "btag"]
SLOTS = 12
SIZES = {
    "intfunc_depth": 2, "intfunc_width": 8, "intfunc_out_sz": 6,
    "outfunc_depth": 1, "outfunc_width": 8, "outfunc_out_sz": 5,
}  # fmt: skip


class Conv(AbsConv1dHead):
    def get_layers(self, in_c, act="relu", bn=False, **kargs):
        first = self.get_conv1d_block(in_c, 6, kernel_sz=3, act=act, bn=True)
        second = self.get_conv1d_block(6, 6, kernel_sz=3, stride=2, act=act)
        return nn.Sequential(first, second, nn.AdaptiveMaxPool1d(1))


HEADS = {
    "sum": partial(InteractionNet, agg_method="sum", **SIZES),
    "mean, two layers": partial(InteractionNet, agg_method="mean", n_layers=2, bn=True, do=0.2, act="swish", **SIZES),
    "max": partial(InteractionNet, agg_method="max", act="selu", **SIZES),
    "attention": partial(InteractionNet, agg_method="attention", **SIZES),
    "flatten": partial(InteractionNet, agg_method="flatten", **SIZES),
    "legacy edges": partial(InteractionNet, agg_method="mean", legacy_edges=True, **SIZES),
    "kinematics": partial(InteractionNet, agg_method="mean", node_feats=True, pair_feats=True, **SIZES),
    "RNN": partial(RecurrentHead, depth=1, width=5, rnn="RNN", act="relu"),
    "GRU, both ways": partial(RecurrentHead, depth=2, width=5, rnn="GRU", bidirectional=True, do=0.2),
    "LSTM": partial(RecurrentHead, depth=1, width=5, rnn="LSTM"),
    "boosts": partial(LorentzBoostNet, n_particles=3),
    "boosts, product": partial(LorentzBoostNet, n_particles=3, mode="product", n_frames=2, feat_extractor=["m", "eta"]),
    "boosts, angles": partial(LorentzBoostNet, n_particles=2, mode="combinations", feat_extractor=["phi", "pair_dr"]),
    "learned features": partial(AutoExtractLorentzBoostNet, n_particles=3, depth=2, width=6, n_singles=2, n_pairs=2),
    "convolution": Conv,
}


def build(head, objective="classification", n_out=1):
    """Return a model with event features, two categories and particles; its statistics as if it were trained."""
    torch.manual_seed(1)
    vecs = [f"particle{i}" for i in range(SLOTS)]
    names = [f"{v}_{f}" for v in vecs for f in FEATS]
    builder = ModelBuilder(
        objective, n_out, ["ht", "met", *names], head=MultiHead, cat_embedder=CatEmbedder(["channel", "nb"], [3, 4]),
        model_args={
            "head": {"matrix_head": partial(head, vecs=vecs, feats_per_vec=FEATS)},
            "body": {"depth": 2, "width": 12, "do": 0.2, "bn": True},
        },
    )  # fmt: skip
    model = Model(builder)
    model.head.set_scaling(u=(torch.tensor([300.0, 60.0]), torch.tensor([90.0, 40.0])))
    model.head.set_scaling(x=(torch.tensor([0.0, 0.0, 0.0, 120.0, 0.3]), torch.tensor([60.0, 60.0, 90.0, 80.0, 0.4])))
    for module in model.model.modules():
        if hasattr(module, "running_var") and module.running_var is not None:
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    return model


def ragged(num_events, most, seed, holes):
    """Return events with 0 to ``most`` particles, in slots from the first on, or in any."""
    rng = torch.Generator().manual_seed(seed)
    p = 60 * torch.randn(num_events, most, 3, generator=rng)
    mass = 5 * torch.rand(num_events, most, 1, generator=rng)
    tag = torch.rand(num_events, most, 1, generator=rng)
    rows = torch.cat([p, (p.square().sum(2, keepdim=True) + mass**2).sqrt(), tag], dim=2)
    mask = torch.arange(most) < torch.randint(0, most + 1, (num_events, 1), generator=rng)
    if holes:
        mask = mask.gather(1, torch.rand(mask.shape, generator=rng).argsort(1))
    u = torch.tensor([300.0, 60.0]) + torch.tensor([90.0, 40.0]) * torch.randn(num_events, 2, generator=rng)
    cat = torch.stack([torch.randint(0, n, (num_events,), generator=rng) for n in (3, 4)], dim=1)
    return rows, mask, u, cat


def thousand(model, form):
    """Yield 1,000 events as a Batch and as what the file takes, in batches of various sizes and numbers of slots."""
    most = model.head.matrix_head.max_particles or 30
    for i, (num_events, slots) in enumerate(
        [(1, 0), (1, 1), (1, 2), (5, 1), (92, 2), (300, min(7, most)), (600, most)]
    ):
        rows, mask, u, cat = ragged(num_events, slots, i, holes=form == "padded")
        batch = from_rows(rows, mask=mask, u=u, cat=cat)
        rows[~mask] = torch.nan  # what stands there must not matter
        particles = {"values": rows[mask], "lengths": mask.sum(1)}
        yield batch, {**({"rows": rows, "mask": mask} if form == "padded" else particles), "u": u, "cat": cat}


@pytest.mark.parametrize("name", HEADS)
def test_onnx_gives_what_the_model_gives(name, tmp_path):
    model = build(HEADS[name])
    form = "jagged" if list(HEADS).index(name) % 2 else "padded"
    report = model.export(tmp_path / "model.onnx", form=form)
    assert report.deviation <= 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    scores = []
    for batch, inputs in thousand(model, form):
        (found,) = session.run(["score"], {k: v.numpy() for k, v in inputs.items()})
        scores.append(model.predict(batch))
        np.testing.assert_allclose(found, scores[-1], rtol=0, atol=1e-5)
    scores = np.concatenate(scores)
    assert scores.shape == (1000, 1)
    assert scores.std() > 0.02  # events differ, or nothing would be compared


@pytest.mark.parametrize("name", ["sum", "flatten", "LSTM", "boosts", "convolution"])
def test_a_program_gives_what_the_model_gives(name, tmp_path):
    model = build(HEADS[name])
    form = "padded" if list(HEADS).index(name) % 2 else "jagged"  # the other one
    model.export(tmp_path / "model.pt2", form=form)
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, inputs in thousand(model, form):
        np.testing.assert_allclose(program(**inputs).numpy(), model.predict(batch), rtol=0, atol=1e-5)
