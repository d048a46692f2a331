"""Take weights and outputs from LUMIN: writes data/lumin.pt, which test_lumin.py reads.

LUMIN wants other versions than lumigraph: run this in an environment of its own, with Python 3.11 and
``pip install torch==2.13.0``, then ``pip install --no-deps lumin==0.9.1 pdpbox pqdm bounded-pool-executor``, then what
these import ("numpy<2", "pandas<2.1", "statsmodels<0.15", "fastcore<=1.3.5", "fastprogress==0.1.21", torch-geometric,
h5py, matplotlib, seaborn, plotly, prettytable, rfpimp, scikit-learn, psutil, joblib).
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lumin.nn.models.blocks import body, head, tail
from lumin.nn.models.helpers import CatEmbedder
from torch import Tensor, nn

EVENTS = 5
VECS = ["a", "b", "c", "d"]
FEATS = ["px", "py", "pz", "E"]
MATRIX_FEATS = [f"{v}_{f}" for v in VECS for f in FEATS if (v, f) != ("d", "pz")]  # a MET has no pz
EVENT_FEATS = ["ht", "met", "sphericity"]
CATS = {"cat_names": ["channel", "year"], "cat_szs": [3, 5]}
N_IN = 6  # of bodies and tails
FEAT_MAP = {"f0": [0], "f1": [1, 2], "f2": [3], "f3": [4, 5]}
PARTICLES: dict[str, Any] = {"vecs": VECS, "feats_per_vec": FEATS}

#: layers of a convolutional head: method of the head or layer of torch, and its arguments
CONVOLUTIONS: dict[str, Any] = {
    "plain": lambda act, bn: [
        ("get_conv1d_block", {"in_c": 4, "out_c": 5, "kernel_sz": 3, "act": act, "bn": bn}),
        ("get_conv1d_block", {"in_c": 5, "out_c": 4, "kernel_sz": 3, "stride": 2, "padding": 1, "act": act, "bn": bn}),
    ],
    "residual": lambda act, bn: [
        ("get_conv1d_block", {"in_c": 4, "out_c": 4, "kernel_sz": 1, "act": "linear"}),
        ("get_conv1d_res_block", {"in_c": 4, "out_c": 4, "kernel_sz": 3, "act": act, "bn": bn}),
        ("get_conv1d_res_block", {"in_c": 4, "out_c": 6, "kernel_sz": 3, "stride": 2, "act": act, "bn": bn}),
        ("AdaptiveAvgPool1d", {"output_size": 1}),
    ],
    "resnext": lambda act, bn: [
        ("get_conv1d_block", {"in_c": 4, "out_c": 4, "kernel_sz": 3, "act": "linear"}),
        ("get_conv1d_resNeXt_block",
         {"in_c": 4, "inter_c": 2, "cardinality": 3, "out_c": 4, "kernel_sz": 3, "act": act, "bn": bn}),
        ("get_conv1d_resNeXt_block",
         {"in_c": 4, "inter_c": 2, "cardinality": 2, "out_c": 5, "kernel_sz": 3, "stride": 2, "act": act, "bn": bn}),
        ("AdaptiveMaxPool1d", {"output_size": 1}),
    ],
    "even": lambda act, bn: [  # padding='auto' of LUMIN adds a column to each end, which is one too many
        ("get_conv1d_block", {"in_c": 4, "out_c": 3, "kernel_sz": 2, "padding": 1, "act": act, "bn": bn}),
        ("AdaptiveMaxPool1d", {"output_size": 2}),
    ],
}  # fmt: skip


def interaction(agg_method: str = "sum", depth: int = 2, **options: Any) -> dict[str, Any]:
    sizes = {"intfunc_depth": depth, "intfunc_width": 4, "intfunc_out_sz": 3}
    return {**PARTICLES, **sizes, "outfunc_depth": depth, "outfunc_width": 5, "outfunc_out_sz": 4, **options,
            "agg_method": agg_method}  # fmt: skip


def lorentz(**options: Any) -> dict[str, Any]:
    return {**PARTICLES, "n_particles": 3, **options}


#: name -> (block, arguments, without cont_feats)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cat": ("CatEmbHead", {"cats": CATS}),
    "cat, dropout, no continuous": ("CatEmbHead", {"cats": CATS, "do_cat": 0.2, "cont_feats": []}),
    "cat, no categories": ("CatEmbHead", {"do_cont": 0.1}),
    **{
        f"interaction {agg}, depth {depth}": ("InteractionNet", interaction(agg, depth, act="swish"))
        for agg in ("sum", "flatten")
        for depth in (1, 2, 3)
    },
    **{
        f"interaction {act}, batch norm": ("InteractionNet", interaction(act=act, bn=True, do=0.2))
        for act in ("relu", "prelu", "selu", "swish", "sigmoid", "linear", "mish")
    },
    "interaction, two objects": ("InteractionNet", {**interaction(act="prelu", bn=True), "vecs": VECS[:2]}),
    "interaction, one object": ("InteractionNet", {**interaction("flatten"), "vecs": VECS[:1]}),
    **{
        f"recurrent {rnn} {depth}": ("RecurrentHead", {**PARTICLES, "rnn": rnn, "depth": depth, "width": 3})
        for rnn in ("RNN", "LSTM", "GRU")
        for depth in (1, 2)
    },
    "recurrent relu": ("RecurrentHead", {**PARTICLES, "depth": 1, "width": 3, "act": "relu"}),
    "recurrent bidirectional, 2": (
        "RecurrentHead", {**PARTICLES, "rnn": "GRU", "depth": 2, "width": 3, "bidirectional": True}
    ),
    "recurrent bidirectional": ("RecurrentHead", {**PARTICLES, "depth": 1, "width": 3, "bidirectional": True}),
    **{
        f"convolution {kind}, {act}{', batch norm' * bn}": (
            "AbsConv1dHead", {**PARTICLES, "layer_kargs": {"described": described(act, bn)}}
        )
        for kind, described in CONVOLUTIONS.items()
        for act, bn in (("relu", False), ("swish", True), ("prelu", True), ("linear", True))
    },
    "lorentz": ("LorentzBoostNet", lorentz(bn=False)),
    "lorentz, batch norm": ("LorentzBoostNet", lorentz()),
    "lorentz, module": ("LorentzBoostNet", lorentz(feat_extractor="module")),
    "lorentz, one": ("LorentzBoostNet", lorentz(n_particles=1)),
    **{
        f"extract {n_singles}, {n_pairs}, {act}{', batch norm' * bn}": (
            "AutoExtractLorentzBoostNet",
            lorentz(depth=2, width=5, n_singles=n_singles, n_pairs=n_pairs, act=act, bn=bn, do=0.1 * bn),
        )
        for n_singles, n_pairs in ((2, 3), (2, 0), (0, 3))
        for act, bn in (("swish", False), ("prelu", True))
    },
    "multi head, sum": ("MultiHead", {"matrix_head": ("InteractionNet", interaction()), "cats": CATS}),
    "multi head, flatten": (
        "MultiHead", {"matrix_head": ("InteractionNet", interaction("flatten", bn=True)), "cats": CATS}
    ),
    "multi head, recurrent": (
        "MultiHead", {"matrix_head": ("RecurrentHead", {**PARTICLES, "rnn": "LSTM", "depth": 1, "width": 3})}
    ),
    "multi head, extract": (
        "MultiHead",
        {"matrix_head": ("AutoExtractLorentzBoostNet", lorentz(depth=2, width=4, n_singles=2, n_pairs=1, bn=True))},
    ),
    "multi head, lorentz": ("MultiHead", {"matrix_head": ("LorentzBoostNet", lorentz())}),
    **{
        f"connected {act}{', batch norm' * bn}": ("FullyConnected", {"depth": 3, "width": 5, "act": act, "bn": bn})
        for act in ("relu", "prelu", "selu", "swish", "sigmoid", "softmax", "logsoftmax", "linear", "mish")
        for bn in (False, True)
    },
    **{
        f"connected growth {growth}": ("FullyConnected", {"depth": 4, "width": 7, "growth_rate": growth})
        for growth in (-0.5, -0.3, 0.5)
    },
    **{
        f"residual {depth}, {act}{', batch norm' * bn}": (
            "FullyConnected", {"depth": depth, "width": 5, "act": act, "res": True, "bn": bn, "do": 0.1}
        )
        for depth, act, bn in ((1, "relu", False), (2, "relu", True), (4, "prelu", False), (5, "selu", True),
                               (3, "linear", True))
    },
    "dense": ("FullyConnected", {"depth": 4, "width": 5, "dense": True, "growth_rate": 0.5}),
    "dense, batch norm": ("FullyConnected", {"depth": 3, "width": 5, "dense": True, "bn": True, "act": "prelu"}),
    "multi block": (
        "MultiBlock",
        {"blocks": [{"depth": 1, "width": 3}, {"depth": 3, "width": 4, "res": True}],
         "feats_per_block": [["f1", "f0"], ["f2"]]},
    ),
    "multi block, bottleneck": (
        "MultiBlock",
        {"blocks": [{"depth": 1, "width": 3}, {"depth": 2, "width": 4, "act": "swish", "dense": True}],
         "feats_per_block": [["f1"], ["f2", "f3"]], "bottleneck_sz": 2, "bottleneck_act": "prelu"},
    ),
    "tail, classification": ("ClassRegMulti", {"n_out": 2, "objective": "classification"}),
    "tail, multiclass": ("ClassRegMulti", {"n_out": 3, "objective": "multiclass"}),
    "tail, regression": ("ClassRegMulti", {"n_out": 2, "objective": "regression", "bias_init": 0.5}),
    "tail, range": ("ClassRegMulti", {"n_out": 2, "objective": "regression", "y_range": (-3.0, 10.0)}),
    "tail, ranges": ("ClassRegMulti", {"n_out": 2, "objective": "regression", "y_range": [[0.0, 2.0], [5.0, -1.0]]}),
    "tail, moments": (
        "ClassRegMulti", {"n_out": 2, "objective": "regression", "y_mean": [1.0, 2.0], "y_std": [3.0, 0.5]}
    ),
    "model": (
        "Model",
        {"head": ("MultiHead", {"matrix_head": ("InteractionNet", interaction(bn=True)), "cats": CATS,
                                "cont_feats": EVENT_FEATS + MATRIX_FEATS}),
         "body": {"depth": 4, "width": 5, "res": True}, "tail": {"n_out": 2, "objective": "multiclass"}},
    ),
}  # fmt: skip


class Convolutions(head.AbsConv1dHead):
    def get_layers(self, described: list[Any], **_: Any) -> nn.Module:
        return nn.Sequential(*((getattr(self, kind, None) or getattr(nn, kind))(**given) for kind, given in described))


HEADS = {
    "CatEmbHead": head.CatEmbHead,
    "InteractionNet": head.OldInteractionNet,  # the head that is documented as InteractionNet
    "RecurrentHead": head.RecurrentHead,
    "AbsConv1dHead": Convolutions,
    "LorentzBoostNet": head.LorentzBoostNet,
    "AutoExtractLorentzBoostNet": head.AutoExtractLorentzBoostNet,
    "MultiHead": head.MultiHead,
}


def build(block: str, arguments: dict[str, Any]) -> nn.Module:
    arguments = dict(arguments)
    if block in HEADS:
        if "cats" in arguments:
            arguments["cat_embedder"] = CatEmbedder(**arguments.pop("cats"))
        if "feat_extractor" in arguments:
            arguments["feat_extractor"] = nn.Linear(4, 2)  # LUMIN saves it, but never calls it
        if "matrix_head" in arguments:
            inner, options = arguments["matrix_head"]
            arguments["matrix_head"] = partial(HEADS[inner], **with_cell(options))
        return HEADS[block](**with_cell(arguments))
    if block == "FullyConnected":
        return body.FullyConnected(N_IN, FEAT_MAP, **arguments)
    if block == "MultiBlock":
        arguments["blocks"] = [partial(body.FullyConnected, **options) for options in arguments["blocks"]]
        return body.MultiBlock(N_IN, FEAT_MAP, **arguments)
    if block == "ClassRegMulti":
        if isinstance(arguments.get("y_range"), list):
            arguments["y_range"] = np.array(arguments["y_range"])
        return tail.ClassRegMulti(N_IN, **arguments)
    first = build(*arguments["head"])
    second = body.FullyConnected(first.get_out_size(), first.feat_map, **arguments["body"])
    return nn.Sequential(first, second, tail.ClassRegMulti(second.get_out_size(), **arguments["tail"]))


def with_cell(arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: getattr(nn, value) if key == "rnn" else value for key, value in arguments.items()}


def cont_feats(block: str, arguments: dict[str, Any]) -> list[str]:
    if block == "CatEmbHead":
        return EVENT_FEATS
    own = [name for name in MATRIX_FEATS if name.split("_")[0] in arguments.get("vecs", VECS)]
    return EVENT_FEATS + own if block == "MultiHead" else own


def make_generic(module: nn.Module) -> None:
    """Move all numbers away from where they start."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
        for m in module.modules():
            if isinstance(m, nn.BatchNorm1d):
                m.running_mean.normal_(std=0.3)
                m.running_var.uniform_(0.5, 2.0)
                m.num_batches_tracked.fill_(7)


def make_input(block: str, arguments: dict[str, Any]) -> Tensor:
    """Events as a flat table: four-momenta are physical."""
    if block == "Model":
        return make_input(*arguments["head"])
    if block not in HEADS:
        return torch.randn(EVENTS, N_IN)
    rows = torch.randn(EVENTS, len(VECS), len(FEATS))
    rows[:, -1, 2] = 0.0
    rows[..., 3] = (rows[..., :3].square().sum(-1) + 0.5).sqrt()
    rows[0, 1] = 0.0  # numbers like others: LUMIN knows no absent objects
    column = {f"{v}_{f}": rows[:, i, j] for i, v in enumerate(VECS) for j, f in enumerate(FEATS)}
    column |= {name: torch.randn(EVENTS) for name in EVENT_FEATS}
    names = arguments["cont_feats"]
    codes = [torch.randint(size, (EVENTS,)).float() for size in arguments.get("cats", {"cat_szs": []})["cat_szs"]]
    return torch.stack([column[name] for name in names] + codes, dim=1)


def main() -> None:
    torch.manual_seed(1)
    index: list[tuple[str, str, list[int]]] = []
    values: list[Tensor] = []
    for name, (block, arguments) in CASES.items():
        if block in HEADS:
            arguments.setdefault("cont_feats", cont_feats(block, arguments))
        module, x = build(block, arguments), make_input(block, arguments)
        make_generic(module)
        module.eval()
        with torch.no_grad():
            tensors = {"x": x, "y": module(x), **module.state_dict()}
        for key, tensor in tensors.items():
            index.append((name, key, list(tensor.shape)))
            values.append(tensor.float().flatten())
    # one vector: thousands of small tensors would take more room for their names than for their numbers
    file = {"cases": CASES, "feat_map": FEAT_MAP, "index": index, "values": torch.cat(values)}
    torch.save(file, Path(__file__).parent / "data" / "lumin.pt")


if __name__ == "__main__":
    main()
