"""Metrics of predictions, weighted by event, each with its uncertainty.

Labels are 1 for signal and 0 for background; higher scores are more signal-like. Inputs are anything that numpy reads
(arrays, lists, Series, tensors on any device), of shape ``(events,)`` or ``(events, 1)``; weights default to 1.
Weights may be negative, as in next-to-leading-order samples, as long as those of each class have a positive sum;
if they do not, or a class has no event, the error is `NotEnoughEvents`, a ValueError.

`lumigraph.metrics.torchmetrics` has the same metrics over batches and ranks.
"""

from .agreement import BinnedResolution, accuracy, binned_resolution, residuals, resolution
from .bootstrap import bootstrap
from .calibration import Calibration, calibration, calibration_error
from .confusion import Confusion, confusion_matrix
from .estimate import Estimate, NotEnoughEvents, check_total, event_columns
from .rejection_matrix import RejectionMatrix, rejection_matrix
from .roc import RocBand, RocCurve, auc, background_rejection, roc_band, roc_curve
from .significance import BestCut, SignificanceScan, ams, significance_scan

__all__ = [
    "BestCut",
    "BinnedResolution",
    "Calibration",
    "Confusion",
    "Estimate",
    "NotEnoughEvents",
    "RejectionMatrix",
    "RocBand",
    "RocCurve",
    "SignificanceScan",
    "accuracy",
    "ams",
    "auc",
    "background_rejection",
    "binned_resolution",
    "bootstrap",
    "calibration",
    "calibration_error",
    "check_total",
    "confusion_matrix",
    "event_columns",
    "rejection_matrix",
    "residuals",
    "resolution",
    "roc_band",
    "roc_curve",
    "significance_scan",
]
