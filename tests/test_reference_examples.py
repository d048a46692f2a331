"""Every example of LUMIN's reference of blocks runs as it stands there, once the import lines name lumigraph.

Minus signs, which the text of the reference has lost, are put back.
"""

import inspect
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from lumigraph import EventDataset, EventSchema, blocks
from lumigraph.blocks import body, conv_blocks, embedding, endcap, head, tail
from lumigraph.nn.lookups import lookup_normal_init, lookup_uniform_init

TRAIN_FEATS = ["DER_mass", "DER_pt", "PRI_pt", "PRI_eta", "PRI_met"]
CONT_FEATS = ["ht", "met"]
VECS = ["jet_0", "jet_1", "lepton", "met"]
CATEGORIES = {"channel": 3, "n_jets": 5}
EVENTS = 7

FULLY_CONNECTED = [
    "body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4, width=100, act='relu')",
    "body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4, width=200, act='relu', growth_rate=-0.3)",
    "body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=4, width=100, act='swish', do=0.1, res=True)",
    """
body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=6, width=32, act='selu', dense=True,
                      growth_rate=0.5)""",
    """
body = FullyConnected(n_in=32, feat_map=head.feat_map, depth=6, width=50, act='prelu', bn=True,
                      lookup_init=lookup_uniform_init)""",
]
MULTI_BLOCK = [
    f"""
body = MultiBlock(
    blocks=[partial(FullyConnected, depth=1, width=50, act='swish'),
            partial(FullyConnected, depth=6, width=55, act='swish', dense=True, growth_rate=-0.1)],
    feats_per_block=[[f for f in train_feats if 'DER_' in f],
                     [f for f in train_feats if 'PRI_' in f]]{further})"""
    for further in ("", ", bottleneck=True", ", bottleneck=True, bottleneck_act='swish'")
]
CONV_BLOCKS = {
    "Conv1DBlock": [
        "conv = Conv1DBlock(in_c=3, out_c=16, kernel_sz=3)",
        "conv = Conv1DBlock(in_c=16, out_c=32, kernel_sz=3, stride=2)",
        "conv = Conv1DBlock(in_c=3, out_c=16, kernel_sz=3, act='swish', bn=True)",
    ],
    "Res1DBlock": [
        "conv = Res1DBlock(in_c=16, out_c=16, kernel_sz=3)",
        "conv = Res1DBlock(in_c=16, out_c=32, kernel_sz=3, stride=2)",
        "conv = Res1DBlock(in_c=16, out_c=16, kernel_sz=3, act='swish', bn=True)",
    ],
    "ResNeXt1DBlock": [
        "conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3)",
        "conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3, stride=2)",
        "conv = ResNeXt1DBlock(in_c=32, inter_c=4, cardinality=4, out_c=32, kernel_sz=3, act='swish', bn=True)",
    ],
}
CAT_EMB_HEAD = [
    "head = CatEmbHead(cont_feats=cont_feats)",
    "head = CatEmbHead(cont_feats=cont_feats, cat_embedder=CatEmbedder.from_fy(train_fy))",
    "head = CatEmbHead(cont_feats=cont_feats, cat_embedder=CatEmbedder.from_fy(train_fy), do_cont=0.1, do_cat=0.05)",
    """
head = CatEmbHead(cont_feats=cont_feats, cat_embedder=CatEmbedder.from_fy(train_fy),
                  lookup_init=lookup_uniform_init)""",
]
MULTI_HEAD = [
    """
inet = partial(InteractionNet, intfunc_depth=2,intfunc_width=4,intfunc_out_sz=3,
               outfunc_depth=2,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten',
               feats_per_vec=feats_per_vec,vecs=vecs, act='swish')
head = MultiHead(cont_feats=cont_feats+matrix_feats, matrix_head=inet, cat_embedder=CatEmbedder.from_fy(train_fy))"""
]
INTERACTION_NET = [
    """
head = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                      intfunc_depth=2,intfunc_width=4,intfunc_out_sz=3,
                      outfunc_depth=2,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten')""",
    """
head = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                      intfunc_depth=2,intfunc_width=4,intfunc_out_sz=6,
                      outfunc_depth=2,outfunc_width=5,outfunc_out_sz=8,agg_method='sum')""",
    """
head = InteractionNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                      intfunc_depth=3,intfunc_width=4,intfunc_out_sz=3,
                      outfunc_depth=3,outfunc_width=5,outfunc_out_sz=4,agg_method='flatten',
                      do=0.1, bn=True, act='swish', lookup_init=lookup_uniform_init)""",
]
RECURRENT_HEAD = [
    "head = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, depth=1, width=20)",
    """
head = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                     depth=2, width=10, act='relu', bidirectional=True)""",
    """
head = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                     depth=1, width=10, rnn=nn.LSTM)""",
    """
head = RecurrentHead(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs,
                     depth=3, width=10, rnn=nn.GRU, bidirectional=True)""",
]
ABS_CONV1D_HEAD = [
    """
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

head = MyCNN(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)""",
    """
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

head = MyResNet(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)""",
    """
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

head = MyResNeXt(cont_feats=matrix_feats, vecs=vectors, feats_per_vec=feats_per_vec)""",
]
# the second example of the reference says InteractionNet and n_particle, which exist for neither head
LORENTZ_BOOST_NET = [
    "head = LorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, n_particles=6)",
    """
def feat_extractor(x:Tensor) -> Tensor:  # Return masses of boosted particles, x dimensions = [batch,particle,4-mom]
    momenta,energies = x[:,:,:3], x[:,:,3:]
    mass = torch.sqrt((energies**2)-torch.sum(momenta**2, dim=-1)[:,:,None])
    return mass
head = LorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, n_particles=6,
                       feat_extractor=feat_extractor)""",
]
AUTO_EXTRACT = [
    """
head = AutoExtractLorentzBoostNet(cont_feats=matrix_feats, feats_per_vec=feats_per_vec,vecs=vecs, n_particles=6,
                                  depth=3, width=10, n_singles=3, n_pairs=2)"""
]
CLASS_REG_MULTI = [
    "tail = ClassRegMulti(n_in=100, n_out=1, objective='classification')",
    "tail = ClassRegMulti(n_in=100, n_out=5, objective='multiclass')",
    """
y_range = (0.8*targets.min(), 1.2*targets.max())
tail = ClassRegMulti(n_in=100, n_out=1, objective='regression', y_range=y_range)""",
    """
min_targs = np.min(targets, axis=0).reshape(targets.shape[1],1)
max_targs = np.max(targets, axis=0).reshape(targets.shape[1],1)
min_targs[min_targs > 0] *=0.8
min_targs[min_targs < 0] *=1.2
max_targs[max_targs > 0] *=1.2
max_targs[max_targs < 0] *=0.8
y_range = np.hstack((min_targs, max_targs))
tail = ClassRegMulti(n_in=100, n_out=6, objective='regression', y_range=y_range,
                     lookup_init=lookup_uniform_init)""",
]


def numbered(**examples: list[str]) -> list:
    return [pytest.param(code, id=f"{n}-{i}") for n, codes in examples.items() for i, code in enumerate(codes, 1)]


def namespace(*feats: str) -> dict:
    """What is at hand where the examples are used."""
    columns = {name: np.random.default_rng(i).normal(size=EVENTS) for i, name in enumerate(CONT_FEATS)}
    columns |= {name: np.arange(EVENTS) % size for name, size in CATEGORIES.items()}
    schema = EventSchema(event_feats=tuple(CONT_FEATS), cat_feats=tuple(CATEGORIES))
    return {
        **{name: getattr(blocks, name) for name in blocks.__all__},
        "MultiBlock": partial(body.MultiBlock, n_in=5, feat_map={name: [i] for i, name in enumerate(TRAIN_FEATS)}),
        "lookup_uniform_init": lookup_uniform_init,
        "train_fy": EventDataset.from_columns(pd.DataFrame(columns), schema),
        "head": blocks.CatEmbHead(TRAIN_FEATS),
        "targets": np.random.default_rng(0).normal(size=(20, 6)),
        "cont_feats": CONT_FEATS,
        "train_feats": TRAIN_FEATS,
        "vecs": VECS,
        "vectors": VECS,
        "feats_per_vec": list(feats),
        "matrix_feats": [f"{v}_{f}" for v in VECS for f in feats if (v, f) != ("met", "pz")],
        **{"np": np, "nn": nn, "partial": partial, "torch": torch, "Tensor": Tensor, "Tuple": tuple},
    }


def run(code: str, result: str, *feats: str) -> nn.Module:
    names = namespace(*feats)
    exec(code, names)
    return names[result]


def check(module: nn.Module, *inputs: object, width: int | None = None) -> None:
    """Forward and backward, in training and evaluation: finite, of the promised size, and the same for all inputs."""
    width = module.get_out_size() if width is None else width
    for x in inputs:
        y = module.train()(x)
        assert y.shape == (EVENTS, width)
        assert bool(y.isfinite().all())
        module.zero_grad()
        y.square().sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters())
    outputs = [module.eval()(x) for x in inputs]
    for y in outputs:
        torch.testing.assert_close(y, outputs[0])


def particles(head: nn.Module) -> tuple[Tensor, Tensor]:
    """Events as a flat table, and as the matrix that the head wants."""
    rows = torch.randn(EVENTS, len(VECS), head.n_fpv)
    if head.n_fpv == 4:
        rows[:, -1, 2] = 0.0
        rows[..., 3] = rows[..., :3].norm(dim=-1) + 0.5
    elif "pz" in head.feats_per_vec:
        rows[:, -1, 2] = 0.0
    column = {f"{v}_{f}": rows[:, i, j] for i, v in enumerate(head.vecs) for j, f in enumerate(head.feats_per_vec)}
    columns = head.cells.cont_feats
    return torch.stack([column[name] for name in columns], dim=1), rows if head.row_wise else rows.transpose(1, 2)


@pytest.mark.parametrize("code", numbered(FullyConnected=FULLY_CONNECTED))
def test_fully_connected(code):
    check(run(code, "body"), torch.randn(EVENTS, 32))


@pytest.mark.parametrize("code", numbered(MultiBlock=MULTI_BLOCK))
def test_multi_block(code):
    check(run(code, "body"), torch.randn(EVENTS, 5), width=50 + 55 + int(55 * 5 * -0.1))


@pytest.mark.parametrize("code", numbered(**CONV_BLOCKS))
def test_convolutional_blocks(code):
    conv = run(code, "conv")
    y = conv(torch.randn(EVENTS, conv.in_c, 9))
    assert y.shape == (EVENTS, conv.out_c, math.ceil(9 / conv.stride))
    y.square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in conv.parameters())


@pytest.mark.parametrize("code", numbered(CatEmbHead=CAT_EMB_HEAD))
def test_cat_emb_head(code):
    made = run(code, "head")
    codes = [torch.arange(EVENTS).float() % size for size in made.cat_embedder.cat_szs]
    x = torch.stack([*torch.randn(EVENTS, 2).unbind(1), *codes], dim=1).requires_grad_()
    check(made, x, width=2 + (2 + 3 if codes else 0))


@pytest.mark.parametrize("code", numbered(MultiHead=MULTI_HEAD))
def test_multi_head(code):
    made = run(code, "head", "px", "py", "pz")
    flat, matrix = particles(made.matrix_head)
    cont, codes = torch.randn(EVENTS, 2), torch.stack([torch.arange(EVENTS) % s for s in CATEGORIES.values()], dim=1)
    whole = torch.cat([cont, flat, codes], dim=1)
    check(made, whole, (torch.cat([cont, codes], dim=1), matrix), width=2 + 2 + 3 + 4 * len(VECS))


@pytest.mark.parametrize("code", numbered(InteractionNet=INTERACTION_NET, RecurrentHead=RECURRENT_HEAD))
@pytest.mark.parametrize("feats", [("px", "py", "pz"), ("px", "py", "pz", "E")])
def test_heads_for_particles(code, feats):
    made = run(code, "head", *feats)
    flat, matrix = particles(made)
    check(made, flat, (flat, matrix))


@pytest.mark.parametrize("code", numbered(AbsConv1dHead=ABS_CONV1D_HEAD))
def test_convolutional_heads(code):
    made = run(code, "head", "px", "py", "pz")
    flat, matrix = particles(made)
    check(made, flat, (flat, matrix), width=32)


@pytest.mark.parametrize(
    ("code", "width"),
    [
        pytest.param(LORENTZ_BOOST_NET[0], 4 * 6 + 15, id="LorentzBoostNet-1"),
        pytest.param(LORENTZ_BOOST_NET[1], 6, id="LorentzBoostNet-2"),
        pytest.param(AUTO_EXTRACT[0], 3 * 6 + 2 * 15, id="AutoExtractLorentzBoostNet-1"),
    ],
)
def test_boost_networks(code, width):
    made = run(code, "head", "px", "py", "pz", "E")
    flat, matrix = particles(made)
    check(made, flat, (flat, matrix), width=width)


@pytest.mark.parametrize("code", numbered(ClassRegMulti=CLASS_REG_MULTI))
def test_class_reg_multi(code):
    made = run(code, "tail")
    check(made, torch.randn(EVENTS, 100))
    if made.objective == "multiclass":
        torch.testing.assert_close(made(torch.randn(2, 100)).exp().sum(1), torch.ones(2))


# --------------------------------------------------------------------------------------------------------- the names

REQUIRED = inspect.Parameter.empty
PARTICLES = {"cont_feats": REQUIRED, "vecs": REQUIRED, "feats_per_vec": REQUIRED}
LOOKUPS = {"lookup_init": lookup_normal_init, "lookup_act": blocks.lookup_act}
CONVOLUTION = {"out_c": REQUIRED, "kernel_sz": REQUIRED, "padding": "auto", "stride": 1, "act": "relu", "bn": False,
               **LOOKUPS}  # fmt: skip
SIGNATURES = {
    body.FullyConnected: {
        "n_in": REQUIRED, "feat_map": REQUIRED, "depth": REQUIRED, "width": REQUIRED, "do": 0, "bn": False,
        "act": "relu", "res": False, "dense": False, "growth_rate": 0, **LOOKUPS, "freeze": False,
    },
    body.MultiBlock: {
        "n_in": REQUIRED, "feat_map": REQUIRED, "blocks": REQUIRED, "feats_per_block": REQUIRED, "bottleneck_sz": 0,
        "bottleneck_act": None, **LOOKUPS, "freeze": False,
    },
    conv_blocks.Conv1DBlock: {"in_c": REQUIRED, **CONVOLUTION},
    conv_blocks.Res1DBlock: {"in_c": REQUIRED, **CONVOLUTION},
    conv_blocks.ResNeXt1DBlock: {"in_c": REQUIRED, "inter_c": REQUIRED, "cardinality": REQUIRED, **CONVOLUTION},
    endcap.AbsEndcap: {"model": REQUIRED},
    head.CatEmbHead: {
        "cont_feats": REQUIRED, "do_cont": 0, "do_cat": 0, "cat_embedder": None, "lookup_init": lookup_normal_init,
        "freeze": False,
    },
    head.MultiHead: {
        "cont_feats": REQUIRED, "matrix_head": REQUIRED, "flat_head": head.CatEmbHead, "cat_embedder": None,
        "lookup_init": lookup_normal_init, "freeze": False,
    },
    head.InteractionNet: {
        **PARTICLES, "intfunc_depth": REQUIRED, "intfunc_width": REQUIRED, "intfunc_out_sz": REQUIRED,
        "outfunc_depth": REQUIRED, "outfunc_width": REQUIRED, "outfunc_out_sz": REQUIRED, "agg_method": REQUIRED,
        "do": 0, "bn": False, "act": "relu", **LOOKUPS, "freeze": False,
    },
    head.RecurrentHead: {
        **PARTICLES, "depth": REQUIRED, "width": REQUIRED, "bidirectional": False, "rnn": nn.RNN, "do": 0.0,
        "act": "tanh", "stateful": False, "freeze": False,
    },
    head.AbsConv1dHead: {**PARTICLES, "act": "relu", "bn": False, "layer_kargs": None, **LOOKUPS, "freeze": False},
    head.LorentzBoostNet: {
        **PARTICLES, "n_particles": REQUIRED, "feat_extractor": None, "bn": True, **LOOKUPS, "freeze": False,
    },
    head.AutoExtractLorentzBoostNet: {
        **PARTICLES, "n_particles": REQUIRED, "depth": REQUIRED, "width": REQUIRED, "n_singles": 0, "n_pairs": 0,
        "act": "swish", "do": 0, "bn": False, **LOOKUPS, "freeze": False,
    },
    tail.ClassRegMulti: {
        "n_in": REQUIRED, "n_out": REQUIRED, "objective": REQUIRED, "y_range": None, "bias_init": None, "y_mean": None,
        "y_std": None, "lookup_init": lookup_normal_init, "freeze": False,
    },
    embedding.CatEmbedder: {
        "cat_names": REQUIRED, "cat_szs": REQUIRED, "emb_szs": None, "max_emb_sz": 50, "emb_load_path": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("cls", SIGNATURES, ids=lambda cls: cls.__name__)
def test_arguments_have_the_names_order_and_defaults_of_the_reference(cls):
    ours = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    assert list(ours.items())[: len(SIGNATURES[cls])] == list(SIGNATURES[cls].items())
    # whatever ours has beyond it can be left out
    assert REQUIRED not in [ours[name] for name in list(ours)[len(SIGNATURES[cls]) :] if name != "kargs"]


METHODS = {
    blocks.AbsBlock: ["forward", "freeze_layers", "get_out_size", "get_param_count", "unfreeze_layers"],
    head.AbsHead: ["forward"],
    head.AbsMatrixHead: ["forward"],
    head.CatEmbHead: ["get_embeds", "plot_embeds", "save_embeds"],
    head.AbsConv1dHead: ["check_out_sz", "get_conv1d_block", "get_conv1d_res_block", "get_conv1d_resNeXt_block",
                         "get_layers"],
    head.LorentzBoostNet: ["check_out_sz", "feat_extractor"],
    head.AutoExtractLorentzBoostNet: ["feat_extractor"],
    conv_blocks.Conv1DBlock: ["forward", "get_conv_layer", "get_padding", "set_layers"],
    endcap.AbsEndcap: ["forward", "func", "predict"],
    embedding.CatEmbedder: ["from_fy"],
}  # fmt: skip


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_methods_have_the_names_of_the_reference(cls):
    assert [name for name in METHODS[cls] if not callable(getattr(cls, name, None))] == []


@pytest.mark.parametrize("cls", [blocks.AbsBlock, body.AbsBody, head.AbsHead, head.AbsMatrixHead, tail.AbsTail])
def test_abstract_classes_cannot_be_built(cls):
    with pytest.raises(TypeError, match="abstract"):
        cls()
