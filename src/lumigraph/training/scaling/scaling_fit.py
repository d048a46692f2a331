"""The scaling of the features of a schema, measured on training events in chunks."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from ...data import EventDataset
from ...events.errors import EventError, SchemaError, located, near
from ...events.schema import EventSchema
from ...nn.scaling import TRANSFORMS, Scaling, Standardise
from .statistics import FeatureStatistics

__all__ = ["ScalingFit", "ScalingMethod", "fit_scaling"]

#: ``standard``: mean and standard deviation; ``robust``: median and interquartile range; ``none``: neither.
ScalingMethod: TypeAlias = Literal["standard", "robust", "none"]

_NORMAL_IQR = 1.349  # interquartile range of a normal distribution, in standard deviations
_ROWS = 2**16  # rows per step, which limits the memory for intermediate results


class ScalingFit:
    """Measure the scaling of features in one pass over training events.

    Events count with their weights, including negative ones, and particles with that of their event, so that the scaled
    features of the weighted sample have mean 0 and standard deviation 1.

    Parameters
    ----------
    schema
        Names of the features.
    scaling
        ``standard``: mean and standard deviation; ``robust``: median and interquartile range / 1.349, which long tails
        and outliers do not affect (of a uniform sample of 131,072 rows if there are more); ``none``: neither. A
        constant feature is shifted, not scaled; with ``robust``, a feature whose middle half is a single value is
        scaled by its standard deviation.
    transforms
        ``log`` or ``symlog`` by name of an event feature or a feature of particles: its logarithm, or
        sign(x) log(1 + abs(x)), is measured and scaled. A logarithm is cut off below 0.001, or below the lower limit in
        ``clip`` if that is positive.
    clip
        Limits (low, high) of features by name, in their own units: values outside are set to the limit first. Or one
        number: the limit on the absolute value of each scaled feature.
    targets
        Whether to also measure mean and standard deviation of the targets.

    Raises
    ------
    SchemaError
        If a name is not a feature.
    ValueError
        If a method or a transform is unknown, or limits are invalid.

    Examples
    --------
    >>> import numpy as np
    >>> schema = EventSchema(event_feats=("ht",))
    >>> fit = ScalingFit(schema, transforms={"ht": "log"})
    >>> for part in (np.array([1.0, 10.0]), np.array([100.0])):
    ...     fit.update(EventDataset.from_columns({"ht": part}, schema))
    >>> fit.scaling()["u"].mean
    tensor([2.3026])
    """

    def __init__(
        self,
        schema: EventSchema,
        *,
        scaling: ScalingMethod = "standard",
        transforms: Mapping[str, str] | None = None,
        clip: Mapping[str, Sequence[float | int]] | float | int | None = None,
        targets: bool = False,
    ) -> None:
        if scaling not in get_args(ScalingMethod):
            raise ValueError(f"scaling must be a method, got {scaling!r}: {near(scaling, get_args(ScalingMethod))}")
        self.method = scaling
        names = {"u": schema.event_feats, "x": schema.feats_per_vec}
        known = [*schema.event_feats, *schema.feats_per_vec]
        self.limit = None if clip is None or isinstance(clip, Mapping) else _limit(clip)
        chosen, limits = _transforms(transforms or {}, known), _limits(clip, known)
        self._names = {field: list(feats) for field, feats in names.items() if feats}
        self._steps = {field: _steps(feats, chosen, limits) for field, feats in self._names.items()}
        # measure features as the model takes them: through the same layer, but without shift, scale and limit
        self._layers = {field: _layer(steps) for field, steps in self._steps.items()}
        if targets and schema.targets:
            self._names["y"] = list(schema.targets)
        rows = 2**17 if scaling == "robust" else 0
        self._statistics = {
            field: FeatureStatistics(len(feats), max_rows=0 if field == "y" else rows)
            for field, feats in self._names.items()
        }

    @property
    def of_targets(self) -> bool:
        """Whether targets are measured."""
        return "y" in self._names

    @property
    def idle(self) -> bool:
        """Whether features are unchanged, so that only targets may have to be measured."""
        return self.method == "none" and self.limit is None and not any(s.altered() for s in self._steps.values())

    @property
    def measures(self) -> bool:
        """Whether there is anything to measure or to check."""
        return self.of_targets or not self.idle

    def update(self, events: EventDataset) -> None:
        """Add a part of the training events.

        Raises
        ------
        EventError
            If a feature is NaN or infinite, or negative although its logarithm is needed; ``event`` is the number
            of the event in this part.
        """
        weight = events.weight
        for field in self._statistics:
            values: Tensor | None = getattr(events, field)
            if values is None:
                raise SchemaError(f"the events have no field {field!r} for the features {self._names[field]}")
            own = weight
            if field == "x" and weight is not None and events.ptr is not None:
                own = weight.repeat_interleave(events.ptr.diff())
            for start in range(0, len(values), _ROWS):
                rows = values[start : start + _ROWS].double()
                self._check(field, rows, start, events)
                if field in self._layers:
                    if self.method == "none":
                        continue
                    rows = self._layers[field](rows)
                weights = None if own is None else own[start : start + _ROWS].numpy()
                self._statistics[field].update(rows.numpy(), weights)

    def _check(self, field: str, rows: Tensor, start: int, events: EventDataset) -> None:
        bad, must, way_out = ~rows.isfinite(), "a finite number", ""
        if not bool(bad.any()) and field in self._steps:
            scaling = self._steps[field]
            no_floor = [scaling.low is None or bool(scaling.low[i].isneginf()) for i in range(rows.size(1))]
            logs = [i for i, name in enumerate(scaling.transforms or ()) if name == "log" and no_floor[i]]
            bad[:, logs] = rows[:, logs] < 0
            must, way_out = "at least 0 for its logarithm", ": use symlog, or set a lower limit in clip"
        if bool(bad.any()):
            row, column = bad.nonzero()[0].tolist()
            event = row + start
            if field == "x" and events.ptr is not None:
                event = int(torch.searchsorted(events.ptr, event, right=True)) - 1
            name, value = self._names[field][column], float(rows[row, column])
            raise EventError(f"{name!r} must be {must}, got {value:g}{way_out}", event=event, column=name)

    def scaling(self) -> dict[str, Scaling]:
        """Return the scalings of ``u`` and ``x``, for `lumigraph.blocks.AbsHead.set_scaling`.

        Raises
        ------
        ValueError
            If the weights do not have a positive sum.
        """
        return {} if self.idle else {field: self._scaling(field, steps) for field, steps in self._steps.items()}

    def _scaling(self, field: str, steps: Scaling) -> Scaling:
        measured = self._statistics[field]
        shift, scale = torch.zeros(len(steps.mean)), torch.ones(len(steps.mean))
        if self.method != "none":
            shift, scale = torch.from_numpy(measured.mean), torch.from_numpy(measured.std)
        if self.method == "robust" and measured.count:
            shift = torch.from_numpy(measured.quantile(0.5))
            middle = torch.from_numpy(measured.quantile(0.75) - measured.quantile(0.25))
            scale = torch.where(middle > 0, middle / _NORMAL_IQR, scale)
        return steps._replace(mean=shift.float(), std=scale.float(), limit=self.limit)

    def targets(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each target, the latter 1 for a constant target."""
        measured = self._statistics["y"]
        std = torch.from_numpy(measured.std).float()
        return torch.from_numpy(measured.mean).float(), torch.where(std > 0, std, 1.0)


def fit_scaling(parts: Iterable[EventDataset], schema: EventSchema, **options: Any) -> dict[str, Scaling]:
    """Return the scalings of features, measured on training events in parts.

    Parameters
    ----------
    parts
        Training events, such as ``[dataset]`` or the chunks of a stream.
    schema, **options
        As in `ScalingFit`.

    Examples
    --------
    >>> from lumigraph import load_sample
    >>> train, _, _ = load_sample().split()
    >>> fit_scaling([train], train.schema, scaling="robust", clip=5.0)["u"].mean.round()    # medians of ht and met
    tensor([366.,  61.])
    """
    fit = ScalingFit(schema, **options)
    seen = 0
    for part in parts:
        with located(events=seen):
            fit.update(part)
        seen += len(part)
    return fit.scaling()


def _limit(clip: Any) -> float:
    if isinstance(clip, bool) or not isinstance(clip, Real) or not 0 < float(clip) < torch.inf:
        raise ValueError(f"clip must be a positive number, or limits by name of feature, got {clip!r}")
    return float(clip)


def _known(argument: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise SchemaError(f"{argument} must name features of the schema, got {name!r}: {near(name, known)}")


def _transforms(given: Mapping[str, str], known: Sequence[str]) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise TypeError(f"transforms must map names of features to {' or '.join(TRANSFORMS)}, got {given!r}")
    _known("transforms", given, known)
    for name, transform in given.items():
        if transform not in TRANSFORMS:
            raise ValueError(
                f"transforms[{name!r}] must be a transform, got {transform!r}: {near(transform, TRANSFORMS)}"
            )
    return given


def _limits(clip: Any, known: Sequence[str]) -> dict[str, tuple[float, float]]:
    limits: dict[str, tuple[float, float]] = {}
    given = clip if isinstance(clip, Mapping) else {}
    _known("clip", given, known)
    for name, pair in given.items():
        ends: list[Any] = list(pair) if isinstance(pair, Sequence) and not isinstance(pair, str) else []
        numbers = len(ends) == 2 and all(isinstance(end, Real) for end in ends)
        if not numbers or not float(ends[0]) < float(ends[1]):
            raise ValueError(f"clip[{name!r}] must be two numbers (low, high), low below high, got {pair!r}")
        limits[name] = (float(ends[0]), float(ends[1]))
    return limits


def _steps(feats: Sequence[str], chosen: Mapping[str, str], limits: Mapping[str, tuple[float, float]]) -> Scaling:
    """Return the limits and transforms applied to features before they are measured."""
    ends = [limits.get(name, (-torch.inf, torch.inf)) for name in feats]
    low, high = torch.tensor(ends, dtype=torch.float64).unbind(1)
    limited, transformed = any(n in limits for n in feats), any(n in chosen for n in feats)
    return Scaling(
        torch.zeros(len(feats)),
        torch.ones(len(feats)),
        low if limited else None,
        high if limited else None,
        tuple(chosen.get(name) for name in feats) if transformed else None,
    )


def _layer(steps: Scaling) -> Standardise:
    layer = Standardise(len(steps.mean)).double()
    layer.set(*steps)
    return layer
