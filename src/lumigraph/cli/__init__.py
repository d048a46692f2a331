"""The ``lumigraph`` command."""

from .command import DataConfig, ModelConfig, evaluate, export, fit, inspect, main, predict, report

__all__ = ["DataConfig", "ModelConfig", "evaluate", "export", "fit", "inspect", "main", "predict", "report"]
