"""Weights that give one class the spectrum of another."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np

from ...events.errors import EventError, SchemaError, near
from .dataset import EventDataset
from .events import Events

__all__ = ["SpectrumWeights", "quantile_edges", "reweighted"]

Kind = TypeVar("Kind", bound=Events)


class SpectrumWeights:
    r"""Weight the events of one class so that their spectrum is that of another class.

    A network then cannot distinguish the classes by, say, the transverse momentum and pseudorapidity of a jet. With
    the sums of weights S of the source and T of the target in a bin, a source event in it gets the weight

    .. math:: w' = w \, \frac{T_{bin}}{S_{bin}} \, c

    where c keeps the total weight of the source, or is 1.

    Parameters
    ----------
    bins
        Edges of the bins, ascending, one sequence per variable; see `quantile_edges`. Values below the first edge or
        above the last count in the first or last bin.
    source, target
        Labels of the class to weight, and of the class whose spectrum it gets.
    keep_total
        Whether the source keeps its sum of weights; otherwise it gets that of the target in the bins that match.

    Raises
    ------
    ValueError
        If edges are not ascending, or the labels are the same.

    Notes
    -----
    Weights of either sign are added up as they are. A bin where the sum of source or target is not positive does not
    match: no weight would help, and source events in it get the weight 0. ``matched`` marks the bins that match;
    ``lost`` and ``missed`` are the shares of the weights of source and target in bins that do not: coarser bins make
    them smaller.

    Use such weights for training only: count events and compare models with the original weights.

    Examples
    --------
    >>> pt, label = np.array([10.0, 20.0, 30.0, 70.0, 20.0, 60.0, 80.0, 90.0]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> spectrum = SpectrumWeights([[0.0, 50.0, 100.0]], source=0, target=1)
    >>> spectrum.update(pt, label)
    >>> spectrum.weights(pt, label)
    array([0.33333333, 0.33333333, 0.33333333, 3.        , 1.        , 1.        , 1.        , 1.        ])
    """

    def __init__(self, bins: Sequence[Any], source: Any, target: Any, *, keep_total: bool = True) -> None:
        self.edges = [np.asarray(edges, dtype=np.float64) for edges in bins]
        for number, edges in enumerate(self.edges):
            if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
                raise ValueError(
                    f"bins[{number}] must be at least two ascending edges, got {np.asarray(bins[number]).tolist()}; "
                    "bins holds one such sequence per variable"
                )
        if not self.edges:
            raise ValueError("bins must hold the edges of at least one variable")
        if source == target:
            raise ValueError(f"source and target must be different classes, got {source!r} twice")
        self.source, self.target, self.keep_total = source, target, keep_total
        self.shape = tuple(len(edges) - 1 for edges in self.edges)
        #: sums of weights in the bins
        self.source_spectrum, self.target_spectrum = np.zeros(self.shape), np.zeros(self.shape)

    def update(self, values: Any, labels: Any, weights: Any = None) -> None:
        """Take events into account; may be called repeatedly, for one part of the events at a time.

        Parameters
        ----------
        values
            Variables (B, D), or (B,) for a single one.
        labels
            Class of each event, (B,) or (B, 1); classes other than source and target are ignored.
        weights
            Weights (B,), 1 if not given.

        Raises
        ------
        ValueError
            If shapes do not fit, or a number is not finite.
        """
        bins, classes, w = self._read(values, labels, weights)
        for label, spectrum in ((self.source, self.source_spectrum), (self.target, self.target_spectrum)):
            chosen = classes == label
            counted = np.bincount(bins[chosen], w[chosen], minlength=spectrum.size)
            spectrum += counted.reshape(self.shape)

    def weights(self, values: Any, labels: Any, weights: Any = None) -> np.ndarray:
        """Return the new weight of each event (B,), unchanged for classes other than the source.

        Parameters
        ----------
        values, labels, weights
            As in `update`.

        Raises
        ------
        ValueError
            If shapes do not fit, a number is not finite, or no bin matches.
        """
        bins, classes, w = self._read(values, labels, weights)
        return np.where(classes == self.source, w * self.ratio.ravel()[bins], w)

    @property
    def matched(self) -> np.ndarray:
        """Mask of the bins with a positive sum of weights in both classes."""
        found: np.ndarray = (self.source_spectrum > 0) & (self.target_spectrum > 0)
        return found

    @property
    def ratio(self) -> np.ndarray:
        """Factor on the weights of source events in each bin; a ValueError if no bin matches."""
        matched = self.matched
        if not matched.any():
            raise ValueError(
                f"no bin has a positive sum of weights of both classes {self.source!r} (total "
                f"{self.source_spectrum.sum():g}) and {self.target!r} ({self.target_spectrum.sum():g}): check labels "
                "and bins, and give events to update first"
            )
        ratio = np.zeros(self.shape)
        ratio[matched] = self.target_spectrum[matched] / self.source_spectrum[matched]
        if self.keep_total:
            total = self.source_spectrum.sum()
            if total <= 0:
                raise ValueError(
                    f"the weights of class {self.source!r} must have a positive sum to keep it, got {total:g}: use "
                    "keep_total=False"
                )
            ratio *= total / self.target_spectrum[matched].sum()
        return ratio

    @property
    def lost(self) -> float:
        """Share of the weights of the source, by size, that lies in bins that do not match."""
        return _share(self.source_spectrum, ~self.matched)

    @property
    def missed(self) -> float:
        """Share of the weights of the target, by size, that lies in bins that do not match."""
        return _share(self.target_spectrum, ~self.matched)

    def _read(self, values: Any, labels: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number of the bin, the class and the weight of each event."""
        rows = np.asarray(values, dtype=np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != len(self.edges):
            raise ValueError(f"values must have the shape (events, {len(self.edges)}), got {rows.shape}")
        classes = np.asarray(labels)
        if classes.shape == (len(rows), 1):
            classes = classes[:, 0]
        w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
        for name, numbers in (("labels", classes), ("weights", w)):
            if numbers.shape != (len(rows),):
                raise ValueError(f"{name} must have the shape ({len(rows)},), one per event, got {numbers.shape}")
        _check_finite(rows, w)
        places = [
            np.searchsorted(edges[1:-1], column, side="right") for edges, column in zip(self.edges, rows.T, strict=True)
        ]
        return np.ravel_multi_index(places, self.shape), classes, w


def _check_finite(values: np.ndarray, weights: np.ndarray) -> None:
    for name, numbers in (("values", values), ("weights", weights)):
        if not np.isfinite(numbers).all():
            event = int(np.argwhere(~np.isfinite(numbers))[0, 0])
            raise EventError(f"{name} must be finite, got {numbers[event].tolist()}", event=event)


def quantile_edges(values: Any, num_bins: int) -> np.ndarray:
    """Return edges of bins with about equally many values; fewer bins if many values are equal.

    If there are no more different values than bins, as for a multiplicity or a flag, each has its own bin.

    Parameters
    ----------
    values
        Values of one variable, such as those of the target class, or of a part of the events.
    num_bins
        Number of bins.

    Raises
    ------
    ValueError
        If there are no two different finite values, or no bins.

    Examples
    --------
    >>> quantile_edges([0.0, 1.0, 2.0, 3.0, 100.0], 2)
    array([  0.,   2., 100.])
    >>> quantile_edges([0, 0, 0, 1], 2).round(6)
    array([0., 1., 1.])
    """
    numbers = np.asarray(values, dtype=np.float64)
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or not len(numbers) or np.ptp(numbers) == 0:
        raise ValueError(f"values must be a vector of finite numbers, not all the same, got shape {numbers.shape}")
    edges = np.unique(numbers)
    if len(edges) > num_bins:
        quantiles = np.quantile(numbers, np.linspace(0, 1, num_bins + 1))
        edges = np.unique(quantiles)
        if quantiles[-2] < quantiles[-1]:
            return edges
    return np.append(edges, np.nextafter(edges[-1], np.inf))  # otherwise the largest value would share the bin below


def _share(spectrum: np.ndarray, chosen: np.ndarray) -> float:
    size = np.abs(spectrum)
    return float(size[chosen].sum() / size.sum()) if size.any() else 0.0


def reweighted(
    events: Kind,
    feats: Sequence[str],
    *,
    source: float | int,
    target: float | int,
    num_bins: int = 20,
    keep_total: bool = True,
) -> Kind:
    """Return training events reweighted so that one class has the spectrum of another.

    Parameters
    ----------
    events
        Events with one target, in memory or in files; files are read once.
    feats
        Event features of the joint spectrum, such as pT and eta of a jet.
    source, target
        Labels of the class to weight, and of the class whose spectrum it gets.
    num_bins
        Number of bins per feature, with equally many target events in each.
    keep_total
        As in `SpectrumWeights`.

    Raises
    ------
    SchemaError
        If a feature is not an event feature.
    ValueError
        If a feature has fewer than two different values in the target class, or no bin matches.

    Examples
    --------
    >>> from lumigraph import load_sample
    >>> train, _, _ = load_sample().split()
    >>> flat = reweighted(train, ["ht"], source=0, target=1)
    >>> tt = flat.y[:, 0] == 0
    >>> [round(float((w * train.u[tt, 0]).sum() / w.sum())) for w in (train.weight[tt], flat.weight[tt])]  # mean of ht
    [362, 472]
    """
    schema = events.schema
    for name in feats:
        if name not in schema.event_feats:
            raise SchemaError(
                f"{name!r} is not an event feature: {near(name, schema.event_feats)}; name it in event_feats"
            )
    columns = [list(schema.event_feats).index(name) for name in feats]

    def parts(of: EventDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        if of.y is None or of.y.size(1) != 1:
            raise SchemaError(f"events must have one target, the label, for reweighting, got {list(schema.targets)}")
        u = np.empty((len(of), 0)) if of.u is None else of.u.numpy()
        return u[:, columns], of.y[:, 0].numpy(), None if of.weight is None else of.weight.numpy()

    found = []
    for chunk in events.chunks():
        feats_of, _, weights = part = parts(chunk)
        found.append(part)
        with events.locating(chunk):
            _check_finite(feats_of, np.ones(1) if weights is None else weights)
    values, labels = (np.concatenate(column) for column in list(zip(*found, strict=True))[:2])
    wanted = values[labels == target]
    for name, column in zip(feats, wanted.T, strict=True):
        if len(np.unique(column)) < 2:
            raise ValueError(
                f"class {target!r} must have at least two different values of {name!r}, got "
                f"{np.unique(column).tolist()} in {len(column)} events: check target and feats"
            )
    edges = [quantile_edges(column, num_bins) for column in wanted.T]
    spectrum = SpectrumWeights(edges, source, target, keep_total=keep_total)
    for part in found:
        spectrum.update(*part)
    return cast("Kind", events.weighted(lambda chunk: spectrum.weights(*parts(chunk))))
