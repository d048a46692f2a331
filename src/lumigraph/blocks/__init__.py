"""The blocks of a model: head (the input side), body (hidden layers), tail (the output side)."""

from ..nn.lookups import lookup_act, lookup_normal_init, lookup_uniform_init
from .block import AbsBlock
from .bodies import AbsBody, FullyConnected, MultiBlock
from .conv_blocks import Conv1DBlock, Res1DBlock, ResNeXt1DBlock
from .embedding import CatEmbedder
from .endcap import AbsEndcap
from .heads import (
    AbsConv1dHead,
    AbsHead,
    AbsMatrixHead,
    AutoExtractLorentzBoostNet,
    CatEmbHead,
    InteractionNet,
    LorentzBoostNet,
    MultiHead,
    RecurrentHead,
)
from .tail import AbsTail, ClassRegMulti

__all__ = [
    "AbsBlock",
    "AbsBody",
    "AbsConv1dHead",
    "AbsEndcap",
    "AbsHead",
    "AbsMatrixHead",
    "AbsTail",
    "AutoExtractLorentzBoostNet",
    "CatEmbHead",
    "CatEmbedder",
    "ClassRegMulti",
    "Conv1DBlock",
    "FullyConnected",
    "InteractionNet",
    "LorentzBoostNet",
    "MultiBlock",
    "MultiHead",
    "RecurrentHead",
    "Res1DBlock",
    "ResNeXt1DBlock",
    "lookup_act",
    "lookup_normal_init",
    "lookup_uniform_init",
]
