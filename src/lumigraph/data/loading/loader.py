"""Batches of successive epochs, on any number of ranks, resumed exactly where they were stopped."""

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader
from torch_geometric.data import Batch

__all__ = ["EpochPlan", "EventLoader", "made_by_workers"]


@runtime_checkable
class EpochPlan(Protocol):
    """The batches of an epoch, as planned by data sets and streams."""

    def num_batches(self) -> int:
        """Return the number of batches of an epoch, the same in each epoch and on each rank."""

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Return the batches of an epoch from batch ``start`` on."""


class EventLoader:
    """A loader of ready Batches, made by `EventDataset.loader` and `EventStream.loader`.

    Each pass is an epoch, counted from 0 unless `set_epoch` sets the next one. The batches of an epoch depend on its
    number and the seed alone, not on earlier loading. Lightning keeps the state of a loader in its checkpoints.

    Parameters
    ----------
    plan
        The batches of an epoch.

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
        self._now = (0, 0)  # epoch and batch that come next in the current pass

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """An object whose ``sampler`` is this loader: there Lightning calls ``set_epoch``."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; if a loaded state is in the middle of it, it continues there."""
        if self._next[0] != epoch:
            self._next = self._now = (epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """Return the position: the epoch, and how many of its batches have been returned."""
        epoch, batch = self._now
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where another loader of the same events was."""
        epoch, batch = int(state["epoch"]), int(state["batch"])
        self._next = self._now = (epoch + 1, 0) if batch >= len(self) else (epoch, batch)

    def __len__(self) -> int:
        """Return the number of batches of an epoch, on this rank."""
        return self._plan.num_batches()

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._next
        self._next, self._now = (epoch + 1, 0), (epoch, start)
        for number, batch in enumerate(self._plan.batches(epoch, start), start + 1):
            self._now = (epoch, number)
            yield batch


class _WorkerError(Exception):
    """The traceback of an exception in a worker process, as the cause of the exception in this process."""


class _Failure(NamedTuple):
    """What went wrong in a worker process."""

    pickled: bytes  # the exception; empty if it cannot be pickled
    traceback: str


class _Revived:
    """An exception unpickled from its fields, as its class may be constructed from other arguments."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self.error), self.error.args, self.error.__dict__)


def _revived(kind: type[Exception], args: tuple[Any, ...], fields: dict[str, Any]) -> Exception:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


def _failure(error: Exception) -> _Failure:
    for sent in (error, _Revived(error)):
        with suppress(Exception):  # a user's class may raise anything
            pickle.loads(pickled := pickle.dumps(sent))  # noqa: S301 -- it was made here
            return _Failure(pickled, traceback.format_exc())
    return _Failure(b"", traceback.format_exc())


class _Attempt:
    """A function that returns its exceptions: torch's loader would raise a new one with their text."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __call__(self, item: Any) -> Any:
        try:
            return self.make(item)
        except Exception as error:
            return _failure(error)


def made_by_workers(make: Callable[[Any], Any], items: Sequence[Any], num_workers: int) -> Iterator[Any]:
    """Yield the results of a function for each item, in order, computed by worker processes if there are any.

    Raises
    ------
    Exception
        Any exception of the function. One from a worker process keeps its class and fields, and its traceback there
        becomes its cause.
    """
    if not num_workers:
        yield from map(make, items)
        return
    attempt: Any = _Attempt(make)
    inputs: Any = items
    # a separate generator: a loader must not draw from the random numbers of the training
    for made in DataLoader(
        inputs, batch_size=None, collate_fn=attempt, num_workers=num_workers, generator=torch.Generator()
    ):
        if isinstance(made, _Failure):
            cause = _WorkerError(f"in a worker process:\n{made.traceback}")
            if not made.pickled:
                raise RuntimeError(made.traceback.strip().splitlines()[-1]) from cause
            raise pickle.loads(made.pickled) from cause  # noqa: S301 -- made by our own process
        yield made
