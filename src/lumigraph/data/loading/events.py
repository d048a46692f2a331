"""The interface common to data sets in memory and streams of files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from ...events.schema import EventSchema
from .dataset import EventDataset
from .loader import EventLoader

__all__ = ["Events"]


@runtime_checkable
class Events(Protocol):
    """Events, in memory (`EventDataset`) or in files (`EventStream`); other code need not know which."""

    schema: EventSchema

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the events are read from; none for events in memory."""

    @property
    def name(self) -> str | None:
        """The files, as text for messages; None for events in memory."""

    def __len__(self) -> int: ...

    def chunks(self, chunk_size: int | None = None) -> Iterator[EventDataset]:
        """Yield the events in order, in parts of at most ``chunk_size``."""

    def locating(self, part: EventDataset) -> AbstractContextManager[None]:
        """Let an error about an event of a part name its file and its number there."""

    def read(self) -> EventDataset:
        """Return all events in memory."""

    def loader(self, batch_size: int | None = None, *further: Any, **options: Any) -> EventLoader:
        """Return a loader of ready Batches."""

    def split(self, fractions: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int = 0) -> tuple["Events", ...]:
        """Split the events at random into disjoint parts."""

    def weighted(self, weights: Callable[[EventDataset], Any]) -> "Events":
        """Return the same events with new weights, which a function returns for a part of them."""

    def checked(self, check: Callable[[EventDataset], Any]) -> "Events":
        """Return the same events, checked by a function, at once or as they are read."""

    def mean_weight(self) -> float:
        """Return the mean weight of the events, 1 without weights."""

    def cat_szs(self) -> list[int]:
        """Return the cardinality of each category, its largest code plus one."""
