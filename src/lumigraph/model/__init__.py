"""Models of head, body and tail: described, trained, applied, saved and loaded."""

from .builder import ModelBuilder
from .description import Description
from .model import Model

__all__ = ["Description", "Model", "ModelBuilder"]
