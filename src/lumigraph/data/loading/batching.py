"""The events of each batch of an epoch: by number, within a budget of particles or pairs, by multiplicity."""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from ...events.checks import check_counts
from ...events.errors import EventError
from .drawing import Numbers, as_array, balanced_weights, chances, draw

__all__ = ["EventBatches", "balanced_weights"]

#: The quantity that each limit of a batch counts, as a function of the particles per event.
_COSTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "batch_size": np.ones_like,
    "particles_per_batch": lambda n: n,
    "pairs_per_batch": lambda n: n * (n - 1),
}
#: An epoch of weighted draws makes at most this many draws per event.
_MOST_ROUNDS = 4


class EventBatches(Sampler[np.ndarray]):
    """Event numbers, batch by batch, from seed and epoch alone: a ``batch_sampler`` for a DataLoader.

    Without weights each event occurs exactly once per epoch, on one rank. There are three ways to fill batches:

    - *By number*, if ``batch_size`` is the only limit. Rank r of R takes every R-th event of the order, and its
      batches hold ``batch_size`` of these: batch b of all ranks together is batch b of one process with R times the
      batch size. Only the last one may differ: it takes the rest, at most one event more than ``batch_size``.
    - *By budget*, with ``particles_per_batch`` or ``pairs_per_batch``: no batch exceeds any given limit.
      Events are ranked by multiplicity and cut into strata of as many events as there are batches, and each batch gets
      one event of each stratum: batches cover the whole range of multiplicities, with nearly the same load. The number
      of batches is the smallest for which no shuffle can exceed the limits.
    - *By multiplicity* (``bucketed``): events of nearly the same multiplicity share a batch that is as full as the
      limits allow. Batches come in random order; those of one step are close in multiplicity on all ranks.

    Each pass is an epoch, counted from 0 unless `set_epoch` sets the next one.

    Parameters
    ----------
    lengths
        Particles per event, (B,); the number of events suffices if ``batch_size`` is the only limit.
    batch_size
        Maximum number of events in a batch.
    particles_per_batch
        Maximum number of particles in a batch.
    pairs_per_batch
        Maximum number of ordered pairs of different particles in a batch, the sum of n(n-1) over its events, to which
        the memory of a fully connected graph is proportional.
    bucketed
        Whether events of nearly the same multiplicity share a batch.
    shuffle
        Whether to shuffle events and batches, anew in each epoch. Otherwise the events of a batch are in rising order.
    seed
        Seed of all random numbers.
    weights
        Draw events with replacement, with probability proportional to these, (B,), at random even without
        ``shuffle``. An epoch has as many batches as without weights. It makes as many draws as there are
        events if batches are filled by number, otherwise at most four times as many. The limits still hold.
    rank, num_ranks
        The rank of this process and the number of ranks, by default those of ``torch.distributed`` at each use, or 0 of
        1 if it is not initialised.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, no limit is given, there are no events, or a single event exceeds a limit. At use, if
        the events cannot be shared among the ranks.

    Examples
    --------
    >>> [numbers.tolist() for numbers in EventBatches(5, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    >>> particles = np.array([6, 1, 3, 2, 5, 4])
    >>> [particles[numbers].tolist() for numbers in EventBatches(particles, particles_per_batch=12)]
    [[6, 3, 2], [1, 5, 4]]
    >>> [particles[numbers].tolist() for numbers in EventBatches(particles, particles_per_batch=12, bucketed=True)]
    [[1, 3, 2, 4], [6, 5]]
    """

    def __init__(
        self,
        lengths: Numbers | int,
        *,
        batch_size: int | None = None,
        particles_per_batch: int | None = None,
        pairs_per_batch: int | None = None,
        bucketed: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        weights: Numbers | None = None,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> None:
        given = {
            "batch_size": batch_size,
            "particles_per_batch": particles_per_batch,
            "pairs_per_batch": pairs_per_batch,
        }
        self.limits = {name: limit for name, limit in given.items() if limit is not None}
        if not self.limits:
            raise ValueError("a batch must have a limit: give batch_size, particles_per_batch or pairs_per_batch")
        check_counts(1, **self.limits)
        check_counts(0, seed=seed)
        for name, flag in {"bucketed": bucketed, "shuffle": shuffle}.items():
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be True or False, got {flag!r}")
        check_rank(rank, num_ranks)
        self.bucketed, self.shuffle, self.seed, self.epoch = bucketed, shuffle, seed, 0
        self.rank, self.num_ranks = rank, num_ranks
        self._by_number = not bucketed and set(self.limits) == {"batch_size"}
        self.num_events, self._lengths = _as_lengths(lengths, needed=not self._by_number)
        self._chances = None if weights is None else chances(weights, self.num_events)
        self._random = shuffle or weights is not None
        self._fewest = 0 if self._by_number else self._fewest_batches()

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch."""
        check_counts(0, epoch=epoch)
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches of this rank, the same on each rank and in each epoch."""
        num_ranks = this_rank(self.rank, self.num_ranks)[1]
        if self._by_number:
            if num_ranks > self.num_events:
                raise ValueError(f"{self.num_events} events are too few for {num_ranks} ranks: use fewer processes")
            return _ceil_div(self.num_events // num_ranks, self.limits["batch_size"])
        steps = _ceil_div(self._fewest, num_ranks)
        if steps * num_ranks > self.num_events:
            within = " and ".join(f"{name}={limit}" for name, limit in self.limits.items())
            raise ValueError(
                f"{self.num_events} events need {self._fewest} batches within {within}, and cannot fill {steps} for "
                f"each of {num_ranks} ranks: raise the limit, or use fewer processes"
            )
        return steps

    def __iter__(self) -> Iterator[np.ndarray]:
        # only when the first batch is requested: a loader with workers makes two iterators and uses one
        batches = self.batches(self.epoch)
        self.epoch += 1
        yield from batches

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the event numbers of each batch of this rank in an epoch."""
        check_counts(0, epoch=epoch)
        steps, (rank, num_ranks) = len(self), this_rank(self.rank, self.num_ranks)
        rng = np.random.default_rng((self.seed, epoch))
        if self._by_number:
            own = np.ascontiguousarray(self._order(rng)[rank::num_ranks])
            return _slices(own, [*range(0, steps * (size := self.limits["batch_size"]), size), len(own)])
        if self.bucketed or self._chances is not None:
            batches = self._fill(steps, num_ranks, rng)
        else:
            batches = _deal(self._ranked(self._order(rng))[::-1], steps * num_ranks, rng if self.shuffle else None)
        for numbers in batches:  # of all ranks: a batch must not depend on the rank that asks
            if self._random:
                rng.shuffle(numbers)
            else:
                numbers.sort()
        return batches[rank::num_ranks]

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        """Return all events, shuffled if requested, or as many draws."""
        if self._chances is not None:
            return draw(self._chances, rng)
        return rng.permutation(self.num_events) if self.shuffle else np.arange(self.num_events)

    def _ranked(self, events: np.ndarray) -> np.ndarray:
        """Return events by rising multiplicity, in a stable order."""
        return events[np.argsort(self._lengths[events], kind="stable")]

    def _loads(self, lengths: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Return the load of each event under each limit, and the limit."""
        lengths = lengths.astype(np.int64)
        loads = ((_COSTS[name](lengths), limit) for name, limit in self.limits.items())
        return [(load, min(limit, int(load.sum()))) for load, limit in loads]  # a limit that fits 64 bits

    def _fewest_batches(self) -> int:
        """Return the number of batches needed in any epoch, or raise an EventError if one event exceeds a limit."""
        largest = int(self._lengths.argmax())
        crowd = int(self._lengths[largest])
        for name, found, what in (
            ("particles_per_batch", crowd, "particles"),
            ("pairs_per_batch", crowd * (crowd - 1), "pairs"),
        ):
            if found > self.limits.get(name, found):
                raise EventError(
                    f"it must have at most {name}={self.limits[name]} {what}, got {found}: raise {name}, or keep "
                    "only the leading particles of each event, with max_particles of the schema",
                    event=largest,
                )
        loads = self._loads(np.sort(self._lengths))
        if self.bucketed:
            return len(_cuts(loads)) - 1
        # No deal gives a batch more than the largest event of each stratum. That sum never rises with the number of
        # batches, and with as many batches as events it is the largest event.
        every = range(1, self.num_events + 1)
        return 1 + bisect_left(
            every, True, key=lambda count: all(load[::-count].sum() <= limit for load, limit in loads)
        )

    def _fill(self, steps: int, num_ranks: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the batches of all ranks, each filled until the next event would exceed a limit."""
        count = steps * num_ranks
        drawn = np.empty(0, dtype=np.int64)
        while True:
            drawn = np.concatenate([drawn, self._order(rng)])
            events = self._ranked(drawn) if self.bucketed else drawn
            cuts = _cuts(self._loads(self._lengths[events]))
            if self._chances is None or len(cuts) > count or len(drawn) >= _MOST_ROUNDS * self.num_events:
                break  # too few batches, as the events drawn are light: draw more
        batches = _slices(events, _halve(cuts, count))
        if not self._random:
            return batches
        # each batch has the same chance, and light and crowded ones are taken in proportion
        taken = (np.arange(count) * len(batches) + rng.integers(len(batches))) // count
        # the steps, and the ranks within a step
        chosen = rng.permuted(rng.permutation(taken.reshape(steps, num_ranks)), axis=1)
        return [batches[i] for i in chosen.ravel().tolist()]


def this_rank(rank: int | None, num_ranks: int | None) -> tuple[int, int]:
    """Return the rank of this process and the number of ranks: as given, or else those of torch.distributed."""
    if rank is not None and num_ranks is not None:
        return rank, num_ranks
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def check_rank(rank: Any, num_ranks: Any) -> None:
    """Raise an error unless rank and num_ranks are a valid pair, or neither is given."""
    if (rank is None) != (num_ranks is None):
        raise ValueError(f"rank and num_ranks must be given together, got rank={rank!r} and num_ranks={num_ranks!r}")
    if num_ranks is not None:
        check_counts(0, rank=rank)
        check_counts(1, num_ranks=num_ranks)
        if rank >= num_ranks:
            raise ValueError(f"rank must be below num_ranks={num_ranks}, as ranks count from 0, got {rank}")


def _as_lengths(lengths: Any, needed: bool) -> tuple[int, np.ndarray]:
    """Return the number of events, and their particles if needed, in the smallest type, which sorts much faster."""
    if isinstance(lengths, Integral) and not isinstance(lengths, bool):
        check_counts(0, lengths=lengths)
        num_events, array = int(lengths), np.empty(0, dtype=np.uint8)
        if needed:
            raise ValueError(
                "lengths must be the particles of each event for particles_per_batch, pairs_per_batch or bucketed, got "
                f"{lengths}"
            )
    else:
        array = as_array(lengths)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
            raise TypeError(f"lengths must be whole numbers, one per event, got {array.dtype} of shape {array.shape}")
        num_events = len(array)
    if num_events == 0:
        raise ValueError("there are no events to load in the data set")
    if array.min(initial=0) < 0:
        raise EventError(f"lengths must be at least 0, got {array.min()}", event=int(array.argmin()))
    return num_events, array.astype(np.min_scalar_type(array.max(initial=0)))


def _ceil_div(total: int, part: int) -> int:
    return -(-total // part)


def _slices(events: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return [events[start:stop] for start, stop in pairwise(cuts)]


def _cuts(loads: list[tuple[np.ndarray, int]]) -> list[int]:
    """Cut events into consecutive batches, each as long as the limits allow; return the cuts, both ends included."""
    sums = [(np.concatenate([[0], load.cumsum()]), limit) for load, limit in loads]
    cuts, end = [0], len(sums[0][0]) - 1
    while cuts[-1] < end:
        cuts.append(min(int(s.searchsorted(s[cuts[-1]] + limit, side="right")) - 1 for s, limit in sums))
    return cuts


def _halve(cuts: list[int], count: int) -> list[int]:
    """Halve the batches with the most events until there are at least ``count``, and return the cuts."""
    if len(cuts) > count:
        return cuts
    heap = [(start - stop, start, stop) for start, stop in pairwise(cuts)]
    heapq.heapify(heap)
    while len(heap) < count:
        _, start, stop = heap[0]
        middle = (start + stop) // 2
        heapq.heapreplace(heap, (start - middle, start, middle))
        heapq.heappush(heap, (middle - stop, middle, stop))
    return sorted({cuts[-1], *(start for _, start, _ in heap)})


def _deal(events: np.ndarray, count: int, rng: np.random.Generator | None) -> list[np.ndarray]:
    """Give each of ``count`` batches one event of each stratum of ``count`` consecutive events.

    The last stratum may have fewer events than there are batches. It holds the lightest events, so that the sum
    of the heaviest event of each stratum bounds any batch. Without random numbers every other stratum is dealt in
    reverse, which evens out the loads.
    """
    strata = _ceil_div(len(events), count)
    table = np.full((strata, count), -1)
    table.ravel()[: len(events)] = events
    if rng is None:
        table[1::2] = table[1::2, ::-1]
    else:
        rng.permuted(table, axis=1, out=table)
    rows = np.ascontiguousarray(table.T)  # a batch a row
    held = rows >= 0
    return _slices(rows[held], [0, *held.sum(1).cumsum().tolist()])
