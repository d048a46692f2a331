"""The errors of lumigraph: they carry the numbers of what is wrong, and are completed on their way up."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["EventError", "SchemaError", "located", "near"]


class SchemaError(ValueError):
    """A table, a file or a configuration does not hold what is asked of it.

    Parameters
    ----------
    message
        What was got, what was expected, and the way out.
    column
        Name of the column that is wrong.
    file
        The file that it is in; the text of the error begins with it.

    Examples
    --------
    >>> str(SchemaError("column 'ht' is missing", column="ht", file="ttH.root"))
    "ttH.root: column 'ht' is missing"
    """

    def __init__(self, message: str = "", *, column: str | None = None, file: str | None = None) -> None:
        super().__init__(message)
        self.column, self.file = column, file

    @property
    def detail(self) -> str:
        """The text of the error without the file."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.file}: {self.detail}" if self.file else self.detail


class EventError(SchemaError):
    """Something is wrong in one event.

    Parameters
    ----------
    message
        What was got, what was expected, and the way out.
    event
        Number of the event, from 0: at first in the part of the events that was looked at, in the end in ``file``.
    column, file
        As of `SchemaError`.

    Examples
    --------
    >>> str(EventError("column 'ht' is nan, expected a number", event=17, column="ht", file="ttH.root"))
    "ttH.root: event 17: column 'ht' is nan, expected a number"
    """

    def __init__(
        self, message: str = "", *, event: int | None = None, column: str | None = None, file: str | None = None
    ) -> None:
        super().__init__(message, column=column, file=file)
        self.event = event

    @property
    def detail(self) -> str:
        """The text of the error without the file."""
        return super().detail if self.event is None else f"event {self.event}: {super().detail}"


@contextmanager
def located(file: str | None = None, events: int | Sequence[int] | np.ndarray = 0) -> Iterator[None]:
    """Complete the errors of lumigraph that pass: add the file, and turn the number of an event into that in the whole.

    An error that has its file already is complete. Errors of other classes pass untouched.

    Parameters
    ----------
    file
        The file that is read.
    events
        Number of the first event of the part that is looked at, or the number of each of its events.

    Examples
    --------
    >>> with located("ttH.root", events=100):
    ...     raise EventError("column 'ht' is nan", event=3)
    Traceback (most recent call last):
    ...
    lumigraph.events.errors.EventError: ttH.root: event 103: column 'ht' is nan
    """
    try:
        yield
    except SchemaError as error:
        if error.file is None:
            error.file = file
            if isinstance(error, EventError) and error.event is not None:
                error.event = error.event + events if isinstance(events, int) else int(events[error.event])
        raise


def near(name: Any, names: Iterable[str]) -> str:
    """Return a hint with the names nearest to a name that was not found.

    Examples
    --------
    >>> near("Jet_pxx", ["Jet_px", "Jet_py", "event"])
    'did you mean Jet_px or Jet_py?'
    >>> near("q", ["a", "b"])
    'there are: a, b'
    """
    names = list(dict.fromkeys(names))
    lowered = {n.lower(): n for n in reversed(names)}
    close = [lowered[n] for n in difflib.get_close_matches(str(name).lower(), list(lowered), n=3, cutoff=0.7)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"there are: {shown}" if names else "there are none"
