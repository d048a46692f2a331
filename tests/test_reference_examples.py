"""The examples of the reference, as they stand there, and the names and arguments that it documents.

Minus signs that its text has lost are put back, and one example is read as what it means (see there).
"""

import importlib
import inspect
import typing
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lumigraph.blocks import CatEmbedder, CatEmbHead, lookup_act, lookup_normal_init, lookup_uniform_init
from lumigraph.data import EventDataset
from lumigraph.events.schema import EventSchema

EVENTS = 7
# where they are, as below lumin.nn.models, but that each head and body is in a file of its own here
NAMES = {
    "blocks.bodies": ["AbsBody", "FullyConnected", "MultiBlock"],
    "blocks.conv_blocks": ["Conv1DBlock", "Res1DBlock", "ResNeXt1DBlock"],
    "blocks.endcap": ["AbsEndcap"],
    "blocks.heads": [
        "AbsConv1dHead", "AbsHead", "AbsMatrixHead", "AutoExtractLorentzBoostNet", "CatEmbHead", "InteractionNet",
        "LorentzBoostNet", "MultiHead", "RecurrentHead",
    ],
    "blocks.tail": ["AbsTail", "ClassRegMulti"],
}  # fmt: skip
IMPORTED = {
    name: getattr(importlib.import_module(f"lumigraph.{m}"), name) for m, names in NAMES.items() for name in names
}


# ----------------------------------------------------------------------------------------------- what examples speak of

CONT_FEATS, CAT_FEATS = ["ht", "met"], ["channel", "flavour"]
VECS = ["muon", "missing", "jet"]
TRAIN_FEATS = ["DER_mass", "DER_pt_ratio", "PRI_tau_pt", "PRI_lep_pt", "PRI_met"]


def train_fy():
    schema = EventSchema(event_feats=tuple(CONT_FEATS), cat_feats=tuple(CAT_FEATS))
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=30) for name in CONT_FEATS}
    return EventDataset.from_columns({**columns, "channel": np.arange(30) % 3, "flavour": np.arange(30) % 5}, schema)


def namespace(feats_per_vec):
    """What the reference's user has at hand; the z-component of the missing energy does not exist."""
    matrix_feats = [f"{v}_{f}" for v in VECS for f in feats_per_vec if f"{v}_{f}" != "missing_pz"]
    return IMPORTED | {
        "partial": partial, "nn": nn, "torch": torch, "np": np, "Tensor": Tensor, "Tuple": typing.Tuple,  # noqa: UP006
        "CatEmbedder": CatEmbedder, "lookup_uniform_init": lookup_uniform_init, "train_fy": train_fy(),
        "cont_feats": CONT_FEATS, "matrix_feats": matrix_feats, "vecs": VECS, "vectors": VECS,
        "feats_per_vec": feats_per_vec, "train_feats": TRAIN_FEATS,
        "targets": np.random.default_rng(1).uniform([-9, -5, 1, 2, 30, -1], [-7, 5, 3, 4, 50, 1], size=(20, 6)),
    }  # fmt: skip


def particles(feats_per_vec):
    """Particles as the flat columns ``matrix_feats`` and as rows (events, slots, features); one jet is absent."""
    rows = torch.randn(EVENTS, len(VECS), len(feats_per_vec))
    if "pz" in feats_per_vec:
        rows[:, 1, 2] = 0.0
        rows[..., 3] = (rows[..., :3].square().sum(-1) + 1.0).sqrt()
    rows[2, 2] = torch.nan
    kept = [f"{v}_{f}" != "missing_pz" for v in VECS for f in feats_per_vec]
    return rows.flatten(1)[:, kept], rows


def check(block, x, shape):
    """The forward and the backward pass, as built; return what comes out of it in evaluation mode."""
    y = block(x)
    assert y.shape == shape
    assert bool(y.isfinite().all())
    if any(p.requires_grad for p in block.parameters()):
        y.square().sum().backward()
    for name, p in block.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name
    return block.eval()(x)


class Example(NamedTuple):
    """Code, the name of what it makes, and the size that this promises."""

    code: str
    made: str
    size: int | tuple[int, ...]


def every(examples):
    return pytest.mark.parametrize("example", [pytest.param(e, id=name) for name, e in examples.items()])


def run(example, **names):
    defined = namespace(["px", "py", "pz", "E"]) | names
    exec(inspect.cleandoc(example.code), defined)
    return defined[example.made]


# --------------------------------------------------------------------------------------------------------------- bodies

BODIES = {
    "FullyConnected-1": Example("""
        body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4,
                              width=100, act='relu')
        """, "body", 100),
    "FullyConnected-2": Example("""
        body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4,
                              width=200, act='relu', growth_rate=-0.3)
        """, "body", 20),
    "FullyConnected-3": Example("""
        body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4,
                              width=100, act='swish', do=0.1, res=True)
        """, "body", 100),
    "FullyConnected-4": Example("""
        body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=6,
                              width=32, act='selu', dense=True,
                              growth_rate=0.5)
        """, "body", 112),
    "FullyConnected-5": Example("""
        body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=6,
                              width=50, act='prelu', bn=True,
                              lookup_init=lookup_uniform_init)
        """, "body", 50),
}  # fmt: skip


@every(BODIES)
def test_bodies(example):
    head = CatEmbHead([f"feature{i}" for i in range(32)])
    body = run(example, head=head)
    assert body.get_out_size() == example.size
    check(body, head(torch.randn(EVENTS, 32)), (EVENTS, example.size))


MULTI_BLOCK = """
    body = MultiBlock(
        blocks=[partial(FullyConnected, depth=1, width=50, act='swish'),
                partial(FullyConnected, depth=6, width=55, act='swish',
                        dense=True, growth_rate=-0.1)],
        feats_per_block=[[f for f in train_feats if 'DER_' in f],
                         [f for f in train_feats if 'PRI_' in f]]{}
    """
MULTI_BLOCKS = {
    "MultiBlock-1": Example(MULTI_BLOCK.format(")"), "body", 50 + 28),
    "MultiBlock-2": Example(MULTI_BLOCK.format(", bottleneck=True)"), "body", 50 + 28),
    "MultiBlock-3": Example(MULTI_BLOCK.format(", bottleneck=True, bottleneck_act='swish')"), "body", 50 + 28),
}


@every(MULTI_BLOCKS)
def test_multi_blocks(example):
    head = CatEmbHead(TRAIN_FEATS)
    # the examples leave out what a builder adds
    body = run(example, MultiBlock=partial(IMPORTED["MultiBlock"], n_in=head.get_out_size(), feat_map=head.feat_map))
    assert body.get_out_size() == example.size
    assert [block.n_in for block in body.blocks] == ([3, 4] if "bottleneck" in example.code else [2, 3])
    check(body, head(torch.randn(EVENTS, len(TRAIN_FEATS))), (EVENTS, example.size))


def test_a_multi_block_without_its_input_says_what_is_missing():
    with pytest.raises(TypeError, match="n_in"):
        run(MULTI_BLOCKS["MultiBlock-1"])


# --------------------------------------------------------------------------------------------------------- convolutions

CONVOLUTIONS = {
    "Conv1DBlock-1": Example("conv = Conv1DBlock(in_c=3, out_c=16, kernel_sz=3)", "conv", (3, 16, 5)),
    "Conv1DBlock-2": Example("conv = Conv1DBlock(in_c=16, out_c=32, kernel_sz=3, stride=2)", "conv", (16, 32, 3)),
    "Conv1DBlock-3": Example("conv = Conv1DBlock(in_c=3, out_c=16, kernel_sz=3, act='swish', bn=True)", "conv",
                             (3, 16, 5)),
    "Res1DBlock-1": Example("conv = Res1DBlock(in_c=16, out_c=16, kernel_sz=3)", "conv", (16, 16, 5)),
    "Res1DBlock-2": Example("conv = Res1DBlock(in_c=16, out_c=32, kernel_sz=3, stride=2)", "conv", (16, 32, 3)),
    "Res1DBlock-3": Example("conv = Res1DBlock(in_c=16, out_c=16, kernel_sz=3, act='swish', bn=True)", "conv",
                            (16, 16, 5)),
    "ResNeXt1DBlock-1": Example("conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3)",
                                "conv", (32, 32, 5)),
    "ResNeXt1DBlock-2": Example("""
        conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3, stride=2)
        """, "conv", (32, 32, 3)),
    "ResNeXt1DBlock-3": Example("""
        conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3, act='swish', bn=True)
        """, "conv", (32, 32, 5)),
}  # fmt: skip


@every(CONVOLUTIONS)
def test_convolutions(example):
    in_c, out_c, columns = example.size
    check(run(example), torch.randn(EVENTS, in_c, 5), (EVENTS, out_c, columns))


# ---------------------------------------------------------------------------------------------------------------- heads

CATEGORIES = {
    "CatEmbHead-1": Example("head = CatEmbHead(cont_feats=cont_feats)", "head", 2),
    "CatEmbHead-2": Example("""
        head = CatEmbHead(cont_feats=cont_feats,
                          cat_embedder=CatEmbedder.from_fy(train_fy))
        """, "head", 7),
    "CatEmbHead-3": Example("""
        head = CatEmbHead(cont_feats=cont_feats,
                          cat_embedder=CatEmbedder.from_fy(train_fy),
                          do_cont=0.1, do_cat=0.05)
        """, "head", 7),
    "CatEmbHead-4": Example("""
        head = CatEmbHead(cont_feats=cont_feats,
                          cat_embedder=CatEmbedder.from_fy(train_fy),
                          lookup_init=lookup_uniform_init)
        """, "head", 7),
}  # fmt: skip


def flat_part(categories):
    """Event features, and behind them codes of two categories."""
    codes = torch.stack([torch.arange(EVENTS) % 3, torch.arange(EVENTS) % 5], dim=1)
    cont = torch.randn(EVENTS, len(CONT_FEATS))
    return torch.cat([cont, codes], dim=1) if categories else cont


@every(CATEGORIES)
def test_heads_of_columns(example):
    head, x = run(example), flat_part("cat_embedder" in example.code)
    assert head.get_out_size() == example.size
    y = check(head, x, (EVENTS, example.size))
    assert torch.equal(y[:, :2], x[:, :2])


MULTI_HEAD = Example("""
    inet = partial(InteractionNet, intfunc_depth=2,intfunc_width=4,intfunc_out_sz=3,
                   outfunc_depth=2,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten',
                   feats_per_vec=feats_per_vec,vecs=vecs, act='swish')
    multihead = MultiHead(cont_feats=cont_feats+matrix_feats, matrix_head=inet,
                          cat_embedder=CatEmbedder.from_fy(train_fy))
    """, "multihead", 7 + 4 * len(VECS))  # fmt: skip


@every({"MultiHead-1": MULTI_HEAD})
def test_heads_of_columns_and_particles(example):
    head = run(example)
    assert head.get_out_size() == example.size
    columns, rows = particles(["px", "py", "pz", "E"])
    flat = flat_part(categories=True)
    y = check(head, torch.cat([flat[:, :2], columns, flat[:, 2:]], dim=1), (EVENTS, example.size))
    torch.testing.assert_close(head((flat, rows.transpose(1, 2))), y)


MATRICES = {
    "InteractionNet-1": Example("""
        inet = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                              intfunc_depth=2,intfunc_width=4,intfunc_out_sz=3,
                              outfunc_depth=2,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten')
        """, "inet", 4 * len(VECS)),
    "InteractionNet-2": Example("""
        inet = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                              intfunc_depth=2,intfunc_width=4,intfunc_out_sz=6,
                              outfunc_depth=2,outfunc_width=5,outfunc_out_sz=8,agg_method='sum')
        """, "inet", 8),
    "InteractionNet-3": Example("""
        inet = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                              intfunc_depth=3,intfunc_width=4,intfunc_out_sz=3,
                              outfunc_depth=3,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten',
                              do=0.1, bn=True, act='swish', lookup_init=lookup_uniform_init)
        """, "inet", 4 * len(VECS)),
    "RecurrentHead-1": Example("""
        rnn = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, depth=1, width=20)
        """, "rnn", 20),
    "RecurrentHead-2": Example("""
        rnn = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                            depth=2, width=10, act='relu', bidirectional=True)
        """, "rnn", 20),
    "RecurrentHead-3": Example("""
        lstm = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                             depth=1, width=10, rnn=nn.LSTM)
        """, "lstm", 10),
    "RecurrentHead-4": Example("""
        gru = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                            depth=3, width=10, rnn=nn.GRU, bidirectional=True)
        """, "gru", 20),
    "AbsConv1dHead-1": Example("""
        class MyCNN(AbsConv1dHead):
            def get_layers(self, act:str='relu', bn:bool=False, **kargs) -> Tuple[nn.Module, int]:
                layers = []
                layers.append(self.get_conv1d_block(3, 16, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_block(16, 16, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_block(16, 32, stride=2, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_block(32, 32, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(nn.AdaptiveAvgPool1d(1))
                layers = nn.Sequential(*layers)
                return layers

        cnn = MyCNN(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)
        """, "cnn", 32),
    "AbsConv1dHead-2": Example("""
        class MyResNet(AbsConv1dHead):
            def get_layers(self, act:str='relu', bn:bool=False, **kargs) -> Tuple[nn.Module, int]:
                layers = []
                layers.append(self.get_conv1d_block(3, 16, stride=1, kernel_sz=3, act='linear', bn=False))
                layers.append(self.get_conv1d_res_block(16, 16, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_res_block(16, 32, stride=2, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_res_block(32, 32, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(nn.AdaptiveAvgPool1d(1))
                layers = nn.Sequential(*layers)
                return layers

        cnn = MyResNet(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)
        """, "cnn", 32),
    "AbsConv1dHead-3": Example("""
        class MyResNeXt(AbsConv1dHead):
            def get_layers(self, act:str='relu', bn:bool=False, **kargs) -> Tuple[nn.Module, int]:
                layers = []
                layers.append(self.get_conv1d_block(3, 32, stride=1, kernel_sz=3, act='linear', bn=False))
                layers.append(self.get_conv1d_resNeXt_block(32, 4, 4, 32, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_resNeXt_block(32, 4, 4, 32, stride=2, kernel_sz=3, act=act, bn=bn))
                layers.append(self.get_conv1d_resNeXt_block(32, 4, 4, 32, stride=1, kernel_sz=3, act=act, bn=bn))
                layers.append(nn.AdaptiveAvgPool1d(1))
                layers = nn.Sequential(*layers)
                return layers

        cnn = MyResNeXt(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)
        """, "cnn", 32),
    "LorentzBoostNet-1": Example("""
        lbn = LorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, n_particles=6)
        """, "lbn", 6 * 4 + 15),
    # the reference writes InteractionNet and n_particle here
    "LorentzBoostNet-2": Example("""
        def feat_extractor(x:Tensor) -> Tensor:
            # Return masses of boosted particles, x dimensions = [batch,particle,4mom]
            momenta,energies = x[:,:,:3], x[:,:,3:]
            mass = torch.sqrt((energies**2)-torch.sum(momenta**2, dim=-1)[:,:,None])
            return mass
        lbn = LorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, n_particles=6,
                              feat_extractor=feat_extractor)
        """, "lbn", 6),
    "AutoExtractLorentzBoostNet-1": Example("""
        aelbn = AutoExtractLorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                                           n_particles=6, depth=3, width=10, n_singles=3, n_pairs=2)
        """, "aelbn", 6 * 3 + 15 * 2),
}  # fmt: skip


@every(MATRICES)
def test_heads_of_particles(example):
    feats_per_vec = ["pt", "eta", "phi"] if example.made == "cnn" else ["px", "py", "pz", "E"]
    head = run(example, **namespace(feats_per_vec))
    assert head.get_out_size() == example.size
    columns, rows = particles(feats_per_vec)
    y = check(head, columns, (EVENTS, example.size))
    matrix = rows if head.row_wise else rows.transpose(1, 2)
    torch.testing.assert_close(head((columns.new_zeros(EVENTS, 0), matrix)), y)


# ---------------------------------------------------------------------------------------------------------------- tails

TAILS = {
    "ClassRegMulti-1": Example("tail = ClassRegMulti(n_in=100, n_out=1, objective='classification')", "tail", 1),
    "ClassRegMulti-2": Example("tail = ClassRegMulti(n_in=100, n_out=5, objective='multiclass')", "tail", 5),
    "ClassRegMulti-3": Example("""
        y_range = (0.8*targets.min(), 1.2*targets.max())
        tail = ClassRegMulti(n_in=100, n_out=1, objective='regression',
                             y_range=y_range)
        """, "tail", 1),
    "ClassRegMulti-4": Example("""
        min_targs = np.min(targets, axis=0).reshape(targets.shape[1],1)
        max_targs = np.max(targets, axis=0).reshape(targets.shape[1],1)
        min_targs[min_targs > 0] *=0.8
        min_targs[min_targs < 0] *=1.2
        max_targs[max_targs > 0] *=1.2
        max_targs[max_targs < 0] *=0.8
        y_range = np.hstack((min_targs, max_targs))
        tail = ClassRegMulti(n_in=100, n_out=6, objective='regression',
                             y_range=y_range,
                             lookup_init=lookup_uniform_init)
        """, "tail", 6),
}  # fmt: skip


@every(TAILS)
def test_tails(example):
    tail = run(example)
    assert tail.get_out_size() == example.size
    y = check(tail, torch.randn(EVENTS, 100), (EVENTS, example.size)).detach()
    targets = namespace([])["targets"]
    if tail.objective == "multiclass":
        torch.testing.assert_close(y.exp().sum(1), torch.ones(EVENTS))
    elif tail.objective == "classification":
        assert 0 < float(y.min()) < float(y.max()) < 1
    elif example.size == 1:
        assert 0.8 * targets.min() < float(y.min()) < float(y.max()) < 1.2 * targets.max()
    else:  # the ranges of the six targets lie apart
        far = torch.full((2, 100), 1e3) * tail.dense.weight[:1].detach().sign() * torch.tensor([[-1.0], [1.0]])
        lowest, highest = tail(far)[:, 0].tolist()
        assert lowest == pytest.approx(1.2 * targets[:, 0].min(), rel=1e-5)
        assert highest == pytest.approx(0.8 * targets[:, 0].max(), rel=1e-5)


# ----------------------------------------------------------------------------------------------------- names, arguments

LOOKUPS = "lookup_init=lookup_normal_init, lookup_act=lookup_act"
MATRIX = "cont_feats, vecs, feats_per_vec"
CONVOLUTION = "padding='auto', stride=1, act='relu', bn=False"
SIGNATURES = {
    "AbsBody.get_param_count": "trainable=True",
    **{f"AbsBody.{name}": "" for name in ("freeze_layers", "unfreeze_layers", "get_out_size")},
    "FullyConnected": f"n_in, feat_map, depth, width, do=0, bn=False, act='relu', res=False, dense=False, "
                      f"growth_rate=0, {LOOKUPS}, freeze=False",
    "MultiBlock": f"n_in, feat_map, blocks, feats_per_block, bottleneck_sz=0, bottleneck_act=None, {LOOKUPS}, "
                  "freeze=False",
    "Conv1DBlock": f"in_c, out_c, kernel_sz, {CONVOLUTION}, {LOOKUPS}",
    "Conv1DBlock.get_conv_layer": "in_c, out_c, kernel_sz, padding='auto', stride=1, pre_act=False, groups=1",
    "Conv1DBlock.forward": "x",
    "Conv1DBlock.get_padding": "kernel_sz",
    **{f"{name}.set_layers": "" for name in ("Conv1DBlock", "Res1DBlock", "ResNeXt1DBlock")},
    "Res1DBlock": f"in_c, out_c, kernel_sz, {CONVOLUTION}, {LOOKUPS}",
    "ResNeXt1DBlock": f"in_c, inter_c, cardinality, out_c, kernel_sz, {CONVOLUTION}, {LOOKUPS}",
    "AbsEndcap": "model",
    "AbsEndcap.forward": "x",
    "AbsEndcap.func": "x",
    "AbsEndcap.predict": "inputs, as_np=True",
    "CatEmbHead": "cont_feats, do_cont=0, do_cat=0, cat_embedder=None, lookup_init=lookup_normal_init, freeze=False",
    "CatEmbedder": "cat_names, cat_szs, emb_szs=None, max_emb_sz=50, emb_load_path=None",
    "CatEmbedder.from_fy": "fy, emb_szs=None, max_emb_sz=50, emb_load_path=None",
    **{f"{name}.forward": "x" for name in NAMES["blocks.heads"]},
    "CatEmbHead.get_embeds": "",
    "CatEmbHead.save_embeds": "path",
    "CatEmbHead.plot_embeds": "savename=None, settings=None",  # None is PlotSettings(): nothing is drawn, none is made
    "MultiHead": "cont_feats, matrix_head, flat_head=CatEmbHead, cat_embedder=None, lookup_init=lookup_normal_init, "
                 "freeze=False, **kargs",
    "InteractionNet": f"{MATRIX}, intfunc_depth, intfunc_width, intfunc_out_sz, outfunc_depth, outfunc_width, "
                      f"outfunc_out_sz, agg_method, do=0, bn=False, act='relu', {LOOKUPS}, freeze=False, **kargs",
    "RecurrentHead": f"{MATRIX}, depth, width, bidirectional=False, rnn=nn.RNN, do=0.0, act='tanh', stateful=False, "
                     "freeze=False, **kargs",
    "AbsConv1dHead": f"{MATRIX}, act='relu', bn=False, layer_kargs=None, {LOOKUPS}, freeze=False, **kargs",
    "AbsConv1dHead.check_out_sz": "",
    "AbsConv1dHead.get_layers": "in_c, act='relu', bn=False, **kargs",
    "AbsConv1dHead.get_conv1d_block": f"in_c, out_c, kernel_sz, {CONVOLUTION}",
    "AbsConv1dHead.get_conv1d_res_block": f"in_c, out_c, kernel_sz, {CONVOLUTION}",
    "AbsConv1dHead.get_conv1d_resNeXt_block": f"in_c, inter_c, cardinality, out_c, kernel_sz, {CONVOLUTION}",
    "LorentzBoostNet": f"{MATRIX}, n_particles, feat_extractor=None, bn=True, {LOOKUPS}, freeze=False, **kargs",
    "LorentzBoostNet.check_out_sz": "",
    "LorentzBoostNet.feat_extractor": "x",
    "AutoExtractLorentzBoostNet": f"{MATRIX}, n_particles, depth, width, n_singles=0, n_pairs=0, act='swish', do=0, "
                                  f"bn=False, {LOOKUPS}, freeze=False, **kargs",
    "AutoExtractLorentzBoostNet.feat_extractor": "x",
    "ClassRegMulti": "n_in, n_out, objective, y_range=None, bias_init=None, y_mean=None, y_std=None, "
                     "lookup_init=lookup_normal_init, freeze=False",
}  # fmt: skip


def by_place(function):
    """The arguments that may be given by their place, and whether others are taken by name."""
    parameters = list(inspect.signature(function).parameters.values())
    placed = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    return placed, any(p.kind is p.VAR_KEYWORD for p in parameters)


@pytest.mark.parametrize(("name", "arguments"), SIGNATURES.items(), ids=list(SIGNATURES))
def test_arguments_have_the_names_places_and_defaults_of_the_reference(name, arguments):
    owner, _, method = name.partition(".")
    defined = {"lookup_normal_init": lookup_normal_init, "lookup_act": lookup_act, "nn": nn, "CatEmbHead": CatEmbHead}
    exec(f"def documented({arguments}): pass", defined)
    cls = CatEmbedder if owner == "CatEmbedder" else IMPORTED[owner]
    ours, takes_others = by_place(getattr(cls, method) if method else cls)
    theirs, took_others = by_place(defined["documented"])
    assert ours[: len(theirs)] == theirs
    assert takes_others or not took_others
    assert all(default is not inspect.Parameter.empty for _, default in ours[len(theirs) :])


@pytest.mark.parametrize(("module", "names"), NAMES.items(), ids=list(NAMES))
def test_names_stand_in_the_modules_of_the_reference(module, names):
    found = importlib.import_module(f"lumigraph.{module}")
    assert set(names) <= set(found.__all__)
    assert all(getattr(found, name) is getattr(importlib.import_module("lumigraph.blocks"), name) for name in names)
