"""Batches of one epoch after the other, on any number of ranks, that go on exactly where they were stopped."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader
from torch_geometric.data import Batch

__all__ = ["EpochPlan", "EventLoader", "made_by_workers"]


@runtime_checkable
class EpochPlan(Protocol):
    """Which batches an epoch has, as data sets and streams know it."""

    def num_batches(self) -> int:
        """Return how many batches an epoch has, the same number in each epoch and on each rank."""

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Return the batches of an epoch from a certain one on."""


class EventLoader:
    """Ready Batches, as `EventDataset.loader` and `EventStream.loader` make it.

    Each pass is an epoch, counted from 0, unless `set_epoch` says which one comes next. What an epoch gives follows
    from its number and the seed alone, not from what was loaded before. Lightning keeps the state of a loader in its
    checkpoints.

    Parameters
    ----------
    plan
        Which batches an epoch has.

    Examples
    --------
    >>> from lumigraph import load_sample
    >>> loader = load_sample().loader(100, shuffle=True, seed=1)
    >>> batches = iter(loader)
    >>> _, second, third = next(batches), next(batches), next(batches)
    >>> state = loader.state_dict()
    >>> fourth = next(batches)
    >>> loader.load_state_dict(state)  # as another process would
    >>> bool((next(iter(loader)).x == fourth.x).all())
    True
    """

    def __init__(self, plan: EpochPlan) -> None:
        self._plan = plan
        self._next = (0, 0)  # epoch and batch at which the next pass begins
        self._now = (0, 0)  # epoch and batch that come next in the pass that is running

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Something whose ``sampler`` is this loader: where Lightning looks for whom to tell the epoch."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; one that was begun in a loaded state goes on where it was."""
        if self._next[0] != epoch:
            self._next = self._now = (epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is: the epoch, and how many of its batches have been given."""
        epoch, batch = self._now
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loader of the same events was."""
        epoch, batch = int(state["epoch"]), int(state["batch"])
        self._next = self._now = (epoch + 1, 0) if batch >= len(self) else (epoch, batch)

    def __len__(self) -> int:
        """Return the batches of an epoch, on this rank."""
        return self._plan.num_batches()

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._next
        self._next, self._now = (epoch + 1, 0), (epoch, start)
        for number, batch in enumerate(self._plan.batches(epoch, start), start + 1):
            self._now = (epoch, number)
            yield batch


class _Attempt:
    """A function that returns what goes wrong, where a worker process would raise it with a traceback in its text."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __call__(self, item: Any) -> Any:
        try:
            return self.make(item)
        except (ValueError, OSError) as error:  # what data can be the cause of
            return error


def made_by_workers(make: Callable[[Any], Any], items: Sequence[Any], num_workers: int) -> Iterator[Any]:
    """Yield what a function makes of each item, in their order, made in worker processes if there are any.

    Raises
    ------
    ValueError, OSError
        What the function raises, with the same message in a worker process as without.
    """
    if not num_workers:
        yield from map(make, items)
        return
    attempt: Any = _Attempt(make)
    inputs: Any = items
    # a generator of its own: a loader must not draw from the random numbers of the training
    for made in DataLoader(
        inputs, batch_size=None, collate_fn=attempt, num_workers=num_workers, generator=torch.Generator()
    ):
        if isinstance(made, Exception):
            raise made
        yield made
