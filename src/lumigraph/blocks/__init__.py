"""The blocks of a model: head (the input side), body (hidden layers), tail (the output side)."""

from ..nn.lookups import lookup_act, lookup_normal_init, lookup_uniform_init
from .block import AbsBlock
from .body import AbsBody, FullyConnected
from .embedding import CatEmbedder
from .head import AbsHead, AbsMatrixHead, CatEmbHead, InteractionNet, LorentzBoostNet, MultiHead
from .tail import AbsTail, ClassRegMulti

__all__ = [
    "AbsBlock",
    "AbsBody",
    "AbsHead",
    "AbsMatrixHead",
    "AbsTail",
    "CatEmbHead",
    "CatEmbedder",
    "ClassRegMulti",
    "FullyConnected",
    "InteractionNet",
    "LorentzBoostNet",
    "MultiHead",
    "lookup_act",
    "lookup_normal_init",
    "lookup_uniform_init",
]
