"""How good a prediction is: every number weighted by event, and every number with its uncertainty.

Labels are 1 for signal and 0 for background, higher scores mean more signal-like. Inputs are anything that numpy reads
(arrays, lists, Series, tensors on any device), of shape ``(events,)`` or ``(events, 1)``; weights are 1 if not given.
Weights may be negative, as in next-to-leading-order samples, as long as those of each class add up to more than zero;
where they don't, or a class has no event, the error is `NotEnoughEvents`, a ValueError.

The same over batches and ranks, as torchmetrics, is in `lumigraph.metrics.torchmetrics`.
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
