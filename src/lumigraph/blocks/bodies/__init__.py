"""Bodies: the hidden layers of a model, between head and tail."""

from .abs_body import AbsBody
from .fully_connected import FullyConnected
from .multi_block import MultiBlock

__all__ = ["AbsBody", "FullyConnected", "MultiBlock"]
