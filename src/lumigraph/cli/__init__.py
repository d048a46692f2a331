"""The ``lumigraph`` command."""

from .command import DataConfig, ModelConfig, export, fit, inspect, main, metrics, predict, report

__all__ = ["DataConfig", "ModelConfig", "export", "fit", "inspect", "main", "metrics", "predict", "report"]
