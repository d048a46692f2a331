"""Train any torch module on batches of events."""

from .config import TrainConfig
from .fitting import BatchLoss, fit

__all__ = ["BatchLoss", "TrainConfig", "fit"]
