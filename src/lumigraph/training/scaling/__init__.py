"""Scaling of features before the first layer of a model, measured on training events."""

from .scaling_fit import ScalingFit, ScalingMethod, fit_scaling
from .statistics import FeatureStatistics, weighted_quantile

__all__ = ["FeatureStatistics", "ScalingFit", "ScalingMethod", "fit_scaling", "weighted_quantile"]
