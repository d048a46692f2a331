"""Layers in PyG's style, on tensors whose shapes are declared."""

from .interaction import InteractionConv
from .kinematic_features import pair_features, particle_features
from .lookups import lookup_act, lookup_normal_init, lookup_uniform_init
from .lorentz_boost import LorentzBoostConv
from .mlp import BatchNorm, Dense, Layers, mlp
from .pooling import Pool
from .scaling import Scaling, Standardise

__all__ = [
    "BatchNorm",
    "Dense",
    "InteractionConv",
    "Layers",
    "LorentzBoostConv",
    "Pool",
    "Scaling",
    "Standardise",
    "lookup_act",
    "lookup_normal_init",
    "lookup_uniform_init",
    "mlp",
    "pair_features",
    "particle_features",
]
