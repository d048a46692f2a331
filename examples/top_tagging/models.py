"""The models of the top-tagging benchmark: their features of a constituent, and their parts.

To add a row to the table, add an entry to `MODELS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigraph import (
    AutoExtractLorentzBoostNet,
    EventDataset,
    EventSchema,
    InteractionNet,
    LorentzBoostNet,
    ModelBuilder,
    RecurrentHead,
)
from lumigraph.blocks import AbsMatrixHead
from lumigraph.nn import Pool, Standardise, mlp

MOMENTA = ("px", "py", "pz", "E")
#: The features of ParticleNet (H. Qu, L. Gouskos, arXiv:1902.08570, table 2).
KINEMATICS = ("deta", "dphi", "log_pt", "log_E", "log_pt_rel", "log_E_rel", "dr")
_JET = {
    "jet_pt": "hypot(sum(Constituent_px), sum(Constituent_py))",
    "jet_eta": "arcsinh(sum(Constituent_pz) / jet_pt)",
    "jet_phi": "arctan2(sum(Constituent_py), sum(Constituent_px))",
    "Constituent_pt": "hypot(Constituent_px, Constituent_py)",
    "Constituent_deta": "arcsinh(Constituent_pz / Constituent_pt) - jet_eta",
    "Constituent_dphi": "delta_phi(arctan2(Constituent_py, Constituent_px), jet_phi)",
    "Constituent_dr": "hypot(Constituent_deta, Constituent_dphi)",
    "Constituent_log_pt_rel": "log(Constituent_pt / jet_pt)",
    "Constituent_log_E_rel": "log(Constituent_E / sum(Constituent_E))",
}


def jet_schema(inputs: Sequence[str], constituents: int) -> EventSchema:
    """Return the schema of a model with a given number of leading constituents; the jet axis is that of all."""
    return EventSchema(
        collections=("Constituent",),
        feats_per_vec=inputs,
        targets=("is_signal_new",),
        max_particles=constituents,
        derived=_JET if set(inputs) & set(KINEMATICS) else {},
    )


class DeepSets(AbsMatrixHead):
    """Embed each constituent, and sum (M. Zaheer et al., arXiv:1703.06114; P. Komiske et al., arXiv:1810.05165)."""

    row_wise = True

    def __init__(
        self,
        cont_feats: Sequence[str],
        vecs: Sequence[str],
        feats_per_vec: Sequence[str],
        width: int,
        agg_method: str,
        freeze: bool = False,
        **kargs: Any,
    ) -> None:
        super().__init__(cont_feats, vecs, feats_per_vec, **kargs)
        self.scale = Standardise(self.n_fpv)
        self.particle = mlp([self.n_fpv, width, width, width])
        self.pool = Pool(width, agg_method)
        self.feat_map = {name: list(range(width)) for name in self.cont_feats}
        if freeze:
            self.freeze_layers()

    @property
    def max_particles(self) -> None:
        """Any number of constituents."""
        return

    def get_out_size(self) -> int:
        """Return the width of the output."""
        return self.pool.get_out_size()

    def set_scaling(self, *, u: Any = None, x: Any = None) -> None:
        """Standardise the features with measured scales."""
        if x is not None:
            self.scale.set(*x)

    def embed(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return one vector per jet, from plain tensors."""
        each = self.particle(self.scale(rows).flatten(0, 1))
        return self.pool.dense(each.view(*mask.shape, -1), mask)


class Entry(NamedTuple):
    """A row of the table: features of a constituent, head and its arguments, body and learning rate."""

    inputs: tuple[str, ...]
    head: type[AbsMatrixHead]
    head_args: Mapping[str, Any]
    body: Mapping[str, Any] = {"depth": 2, "width": 64}
    lr: float = 3e-3

    def builder(self, train: EventDataset) -> ModelBuilder:
        """Return the builder of the model, its scales measured on training events."""
        args = {"head": dict(self.head_args), "body": dict(self.body)}
        return ModelBuilder.from_dataset(train, head=self.head, model_args=args)


def _interaction(agg_method: str, **options: Any) -> dict[str, Any]:
    layers = {f"{part}_{key}": value for part in ("intfunc", "outfunc") for key, value in _LAYERS.items()}
    return {**layers, "agg_method": agg_method, **options}


_LAYERS = {"depth": 2, "width": 64, "out_sz": 64}
_WIDE = {"depth": 2, "width": 100}
_BOTH = {"node_feats": True, "pair_feats": True}

MODELS: dict[str, Entry] = {
    "interaction network, sum, four-momenta": Entry(MOMENTA, InteractionNet, _interaction("sum")),
    "interaction network, sum": Entry(KINEMATICS, InteractionNet, _interaction("sum")),
    "interaction network, mean": Entry(KINEMATICS, InteractionNet, _interaction("mean")),
    "interaction network, max": Entry(KINEMATICS, InteractionNet, _interaction("max")),
    "interaction network, attention": Entry(KINEMATICS, InteractionNet, _interaction("attention")),
    "interaction network, mean, node_feats": Entry(MOMENTA, InteractionNet, _interaction("mean", node_feats=True)),
    "interaction network, mean, pair_feats": Entry(MOMENTA, InteractionNet, _interaction("mean", pair_feats=True)),
    "interaction network, mean, node_feats, pair_feats": Entry(MOMENTA, InteractionNet, _interaction("mean", **_BOTH)),
    "interaction network, sum, node_feats, pair_feats": Entry(MOMENTA, InteractionNet, _interaction("sum", **_BOTH)),
    "interaction network, attention, node_feats, pair_feats": Entry(
        MOMENTA, InteractionNet, _interaction("attention", **_BOTH)
    ),
    "interaction network, mean, node_feats, pair_feats, swish": Entry(
        MOMENTA, InteractionNet, _interaction("mean", **_BOTH, act="swish")
    ),
    "interaction network, mean, node_feats, pair_feats, two layers": Entry(
        MOMENTA, InteractionNet, _interaction("mean", **_BOTH, n_layers=2)
    ),
    "Lorentz boost network": Entry(MOMENTA, LorentzBoostNet, {"n_particles": 16}, _WIDE),
    "Lorentz boost network, learned features": Entry(
        MOMENTA, AutoExtractLorentzBoostNet, {"n_particles": 16, "depth": 2, "width": 32, "n_singles": 8, "n_pairs": 8},
        _WIDE,
    ),
    "deep sets, four-momenta": Entry(MOMENTA, DeepSets, {"width": 100, "agg_method": "sum"}, _WIDE),
    "deep sets": Entry(KINEMATICS, DeepSets, {"width": 100, "agg_method": "sum"}, _WIDE),
    "deep sets, mean": Entry(KINEMATICS, DeepSets, {"width": 100, "agg_method": "mean"}, _WIDE),
    "recurrent head (GRU)": Entry(KINEMATICS, RecurrentHead, {"depth": 1, "width": 64, "rnn": torch.nn.GRU}),
}  # fmt: skip
