"""The metrics as torchmetrics, over all events of an epoch and all ranks of a training.

Each collects predictions, targets and weights, and computes its function of `lumigraph.metrics` exactly, on the events
of all ranks together. No other module imports this one, because importing torchmetrics takes two seconds.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from .agreement import accuracy, resolution
from .calibration import calibration_error
from .estimate import NotEnoughEvents
from .rejection_matrix import rejection_matrix
from .roc import auc, background_rejection
from .significance import significance_scan

__all__ = [
    "AMS",
    "AUC",
    "Accuracy",
    "BackgroundRejection",
    "Bias",
    "CalibrationError",
    "EventMetric",
    "RejectionMatrix",
    "Resolution",
]


class EventMetric(Metric):
    """Any metric of labels, predictions and weights, over the events of all updates and all ranks.

    Parameters
    ----------
    function
        Called as ``function(targets, predictions, weights=weights)`` with arrays of all events; returns an
        `lumigraph.metrics.Estimate`, or another pair of a value and its uncertainty.
    part
        Extracts this pair from the result of ``function``; None if the result is the pair.
    options
        Arguments of ``function``, such as ``threshold``, and of every torchmetric, such as ``process_group``.

    Attributes
    ----------
    uncertainty : Tensor
        Uncertainty of the value that `compute` returned last; NaN before.

    Notes
    -----
    **Limits.** The value is NaN if there are too few events for it, for example if a class is missing in a trainer's
    sanity check. Events are kept in float64 on the device of the metric until `reset`: 24 bytes each for a
    classification.

    Examples
    --------
    >>> from lumigraph.metrics import accuracy
    >>> metric = EventMetric(accuracy, threshold=0.5)
    >>> metric.update(torch.tensor([0.2, 0.9]), torch.tensor([0, 1]))
    >>> metric.update(torch.tensor([[0.4], [0.1]]), torch.tensor([[1], [0]]), torch.tensor([2.0, 1.0]))
    >>> metric.compute(), metric.uncertainty
    (tensor(0.6000, dtype=torch.float64), tensor(0.3434, dtype=torch.float64))
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor] | Tensor
    columns: Tensor
    classes: Tensor

    def __init__(self, function: Callable[..., Any], part: Callable[[Any], Any] | None = None, **options: Any) -> None:
        known = inspect.signature(function).parameters
        super().__init__(**{name: value for name, value in options.items() if name not in known})
        self.function = partial(function, **{name: value for name, value in options.items() if name in known})
        self.part = part
        self.set_dtype(torch.float64)  # a rank without events must gather the same dtype
        self.add_state("rows", default=[], dist_reduce_fx="cat")  # flat, as such a rank does not know the columns
        self.add_state("columns", default=torch.tensor(0), dist_reduce_fx="max")
        self.add_state("classes", default=torch.tensor(0), dist_reduce_fx="max")  # 1: predictions are integers
        self.uncertainty = torch.tensor(math.nan, dtype=torch.float64)

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add events.

        Parameters
        ----------
        preds
            Predictions (events,), or one column per class.
        target
            Labels or true values, (events,) or (events, 1).
        weight
            Weights of the events, (events,) or (events, 1); 1 if None.

        Raises
        ------
        ValueError
            If lengths differ, or shapes are not as described.
        """
        weight = torch.ones_like(target, dtype=torch.float64) if weight is None else weight
        for name, part in (("preds", preds), ("target", target), ("weight", weight)):
            if len(part) != len(preds):
                raise ValueError(f"{name} must have {len(preds)} events, as preds has, got {len(part)}")
            if part.dim() not in (1, 2) or (name != "preds" and part.shape[1:].numel() != 1):
                wanted = "(events,) or (events, classes)" if name == "preds" else "(events,) or (events, 1)"
                raise ValueError(f"{name} must have the shape {wanted}, got {tuple(part.shape)}")
        parts = [part.detach().double() for part in (preds, target, weight)]
        events = torch.cat([part if part.dim() == 2 else part[:, None] for part in parts], dim=1).to(self.device)
        if self.columns not in (0, events.shape[1]):
            raise ValueError(f"preds must have {int(self.columns) - 2} columns, as before, got {events.shape[1] - 2}")
        self.rows.append(events.flatten())  # type: ignore[union-attr]
        self.columns = torch.full_like(self.columns, events.shape[1])
        self.classes = torch.full_like(self.classes, not preds.is_floating_point())

    def compute(self) -> Tensor:
        """Return the value for all events so far, in float64."""
        rows = (
            self.rows if isinstance(self.rows, Tensor) else torch.cat([*self.rows, torch.empty(0, device=self.device)])
        )
        events = rows.cpu().double().numpy().reshape(-1, max(int(self.columns), 3))
        preds = events[:, 0] if events.shape[1] == 3 else events[:, :-2]
        preds = preds.astype(np.int64) if self.classes else preds
        try:
            found = self.function(events[:, -2], preds, weights=events[:, -1])
            value, uncertainty = found if self.part is None else self.part(found)
        except NotEnoughEvents:
            value, uncertainty = math.nan, math.nan
        self.uncertainty = torch.as_tensor(uncertainty, dtype=torch.float64, device=self.device)
        return torch.as_tensor(value, dtype=torch.float64, device=self.device)


class AUC(EventMetric):
    """Area under the ROC curve: `lumigraph.metrics.auc`.

    Examples
    --------
    >>> metric = AUC()
    >>> metric.update(torch.tensor([0.1, 0.3, 0.6, 0.4, 0.8, 0.9]), torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> metric.compute()
    tensor(0.8889, dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(auc, **kwargs)


class BackgroundRejection(EventMetric):
    """Background rejection at a signal efficiency: `lumigraph.metrics.background_rejection`."""

    higher_is_better = True

    def __init__(self, signal_efficiency: float | int = 0.5, **kwargs: Any) -> None:
        super().__init__(background_rejection, signal_efficiency=signal_efficiency, **kwargs)


class RejectionMatrix(EventMetric):
    """Matrix of the rejections of each class at an efficiency of each other: `lumigraph.metrics.rejection_matrix`."""

    higher_is_better = True

    def __init__(self, signal_efficiency: float | int = 0.5, **kwargs: Any) -> None:
        super().__init__(rejection_matrix, signal_efficiency=signal_efficiency, **kwargs)


class AMS(EventMetric):
    """Expected significance of a given or the best cut: `lumigraph.metrics.significance_scan`.

    Parameters
    ----------
    threshold
        The cut on the score; None for the best one, less the optimism of its choice.
    options
        Options of `lumigraph.metrics.significance_scan`, such as ``yields``, and of every torchmetric.

    Examples
    --------
    >>> metric = AMS(threshold=0.5, yields=(10, 100))
    >>> metric.update(torch.tensor([0.6, 0.7, 0.2, 0.8, 0.3, 0.1]), torch.tensor([1, 1, 1, 0, 0, 0]))
    >>> metric.compute()  # of 6.7 signal over 33.3 background events
    tensor(1.1191, dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self, threshold: float | int | None = None, **options: Any) -> None:
        thresholds = 1000 if threshold is None else [threshold]
        super().__init__(significance_scan, attrgetter("best.significance"), thresholds=thresholds, **options)


class Accuracy(EventMetric):
    """Fraction of events in the right class: `lumigraph.metrics.accuracy`."""

    higher_is_better = True

    def __init__(self, threshold: float | int = 0.5, **kwargs: Any) -> None:
        super().__init__(accuracy, threshold=threshold, **kwargs)


class CalibrationError(EventMetric):
    """Difference between a score and the probability of signal: `lumigraph.metrics.calibration_error`."""

    higher_is_better = False

    def __init__(self, bins: int | Sequence[float] = 10, debias: bool = True, **kwargs: Any) -> None:
        super().__init__(calibration_error, bins=bins, debias=debias, **kwargs)


class Bias(EventMetric):
    """Mean residual of a regression: the first value of `lumigraph.metrics.resolution`."""

    def __init__(self, relative: bool = False, **kwargs: Any) -> None:
        super().__init__(resolution, itemgetter(0), relative=relative, **kwargs)


class Resolution(EventMetric):
    """Spread of the residuals of a regression: the second value of `lumigraph.metrics.resolution`."""

    higher_is_better = False

    def __init__(self, relative: bool = False, **kwargs: Any) -> None:
        super().__init__(resolution, itemgetter(1), relative=relative, **kwargs)
