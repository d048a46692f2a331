"""Train any torch module on batches of events."""

from .config import BatchLoss, TrainConfig
from .fitting import fit

__all__ = ["BatchLoss", "TrainConfig", "fit"]
