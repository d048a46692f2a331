"""The bootstrap: replicas of a sample, drawn from its own events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .estimate import Estimate, NotEnoughEvents, as_column

__all__ = ["bootstrap", "replicas"]


def bootstrap(
    statistic: Callable[[Float[np.ndarray, " events"]], float],
    weights: ArrayLike,
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Estimate:
    r"""Compute the uncertainty of any statistic of weighted events.

    .. math:: \sigma^2 = \frac{1}{R - 1} \sum_r \left( T_r - \bar T \right)^2, \qquad T_r = T(n_{ri}\,w_i)

    where each of the :math:`R` replicas draws event :math:`i` :math:`n_{ri}` times, a Poisson number of mean 1.

    Parameters
    ----------
    statistic
        A function of the weights of the events that returns a number.
    weights
        Weights of the events; ones if they have none.
    n_bootstrap
        Number of replicas, at least 2: the uncertainty is known to one part in :math:`\sqrt{2 n}`.
    seed
        Seed of the random numbers: the same seed gives the same uncertainty.

    Returns
    -------
    Estimate
        The statistic for the given weights, with the spread of the replicas.

    Raises
    ------
    ValueError
        If there are fewer than two replicas, or the weights are not as described.

    Notes
    -----
    **Limits.** Replicas in which the statistic is not finite, or that have too few events, do not count. The bootstrap
    fails if a single event decides, as for a maximum.

    References
    ----------
    Efron, Ann. Statist. 7 (1979) 1.

    Examples
    --------
    >>> from lumigraph.metrics import auc
    >>> labels, scores = np.arange(400) % 2, np.arange(400) % 7 + np.arange(400) % 2
    >>> print(bootstrap(lambda weights: auc(labels, scores, weights).value, np.ones(400)), auc(labels, scores))
    0.631 ± 0.025 0.631 ± 0.027
    """
    if n_bootstrap < 2:
        raise ValueError(f"n_bootstrap must be at least 2, got {n_bootstrap}")
    factors = as_column("weights", weights).astype(np.float64)
    found = []
    for (replica,) in replicas(n_bootstrap, seed, factors, fixed=False):
        try:
            found.append(statistic(replica))
        except NotEnoughEvents:
            continue
    finite = np.array(found, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    spread = float(finite.std(ddof=1)) if finite.size > 1 else float("nan")
    return Estimate(float(statistic(factors)), spread)


def replicas(
    n_bootstrap: int, seed: int, *classes: Float[np.ndarray, " _"], fixed: bool
) -> Iterator[list[Float[np.ndarray, " _"]]]:
    """Yield the weights of each class, multiplied by how often each event is drawn.

    Each replica has as many events of a class as the sample if ``fixed``, otherwise a Poisson number of them.

    Examples
    --------
    >>> drawn = [weights.sum() for weights, in replicas(3, 0, np.ones(5), fixed=True)]
    >>> [int(events) for events in drawn]
    [5, 5, 5]
    """
    random = np.random.default_rng(seed)
    for _ in range(n_bootstrap):
        sizes = [len(weights) if fixed else random.poisson(len(weights)) for weights in classes]
        yield [
            weights * np.bincount(random.integers(len(weights), size=size), minlength=len(weights))
            for weights, size in zip(classes, sizes, strict=True)
        ]
