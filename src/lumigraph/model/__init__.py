"""Models of head, body and tail: described, trained, applied, saved and loaded."""

from .description import ModelBuilder
from .model import Model

__all__ = ["Model", "ModelBuilder"]
