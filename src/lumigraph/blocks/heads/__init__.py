"""Heads: the input side of a model (elsewhere the word means its output side; here, as in LUMIN, that is the tail).

A head takes a flat tensor, a tuple (flat, matrix) or a Batch, and returns one vector per event.
"""

from .abs_head import AbsHead, AbsMatrixHead
from .auto_extract_lorentz_boost_net import AutoExtractLorentzBoostNet
from .cat_emb_head import CatEmbHead
from .conv1d_head import AbsConv1dHead
from .interaction_net import InteractionNet
from .lorentz_boost_net import LorentzBoostNet
from .multi_head import MultiHead
from .recurrent_head import RecurrentHead

__all__ = [
    "AbsConv1dHead",
    "AbsHead",
    "AbsMatrixHead",
    "AutoExtractLorentzBoostNet",
    "CatEmbHead",
    "InteractionNet",
    "LorentzBoostNet",
    "MultiHead",
    "RecurrentHead",
]
