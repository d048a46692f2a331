"""What the columns of a Batch are called."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

from .schema import EventSchema, different_names

__all__ = ["Names", "difference"]


@dataclass(frozen=True)
class Names:
    """The names of what a Batch holds, in the words of `EventSchema`; a field that nobody named is empty.

    Parameters
    ----------
    feats_per_vec
        Features of the particles: the columns of ``x``.
    vecs
        Named objects: ``slot`` is the place in this list.
    collections
        Collections that the particles are from, in their order; ``slot`` is the place in the event.
    event_feats, cat_feats, targets
        The columns of ``u``, ``cat`` and ``y``.

    Raises
    ------
    SchemaError
        If a field is not a list of different names.

    Examples
    --------
    >>> Names(feats_per_vec=["px", "py"], targets=["label"])
    Names(feats_per_vec=('px', 'py'), targets=('label',))
    """

    feats_per_vec: Sequence[str] = ()
    vecs: Sequence[str] = ()
    collections: Sequence[str] = ()
    event_feats: Sequence[str] = ()
    cat_feats: Sequence[str] = ()
    targets: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value != ():
                object.__setattr__(self, name, tuple(different_names(name, value)))

    @classmethod
    @lru_cache(maxsize=16)  # a data set asks for each batch
    def of_schema(cls, schema: EventSchema) -> "Names":
        """Return the names of the events of a schema."""
        return cls(**{field.name: getattr(schema, field.name) for field in fields(cls)})

    @classmethod
    def common(cls, parts: Sequence["Names"]) -> "Names":
        """Return the names of events that are put together; a field that is not named in all of them is empty.

        Raises
        ------
        ValueError
            If two events have different names in a field.

        Examples
        --------
        >>> Names.common([Names(["px"]), Names(["pt"])])
        Traceback (most recent call last):
        ...
        ValueError: events of a Batch must have the same feats_per_vec, event 0 has ('px',) and event 1 has ('pt',): \
pt instead of px
        """
        first = parts[0]
        if not all(isinstance(names, Names) for names in parts):
            raise TypeError(f"names of a Batch must be Names, got {parts!r:.80}: such as Names(feats_per_vec=[...])")
        if all(names is first or names == first for names in parts):
            return first
        kept: dict[str, Sequence[str]] = {}
        for field in fields(cls):
            values = [getattr(names, field.name) for names in parts]
            named = [event for event, value in enumerate(values) if value]
            for event in named:
                if values[event] != values[named[0]]:
                    raise ValueError(
                        f"events of a Batch must have the same {field.name}, event {named[0]} has {values[named[0]]} "
                        f"and event {event} has {values[event]}: {difference(values[named[0]], values[event])}"
                    )
            kept[field.name] = values[0] if len(named) == len(parts) else ()
        return cls(**kept)

    def __getitem__(self, event: int) -> "Names":
        """Return the names of one event of a Batch, which are those of all: PyG's indexing asks for them."""
        return self

    __iter__ = None  # without it Python would iterate by __getitem__, forever

    def __repr__(self) -> str:
        named = (f"{name}={value!r}" for name, value in vars(self).items() if value)
        return f"{type(self).__name__}({', '.join(named)})"


def difference(expected: Sequence[str], got: Sequence[str]) -> str:
    """Return in words how a list of names differs from the one that is expected.

    Examples
    --------
    >>> difference(["px", "py"], ["py", "px"])
    'the same names in another order'
    >>> difference(["px", "py"], ["px", "pt", "eta"])
    'pt, eta instead of py'
    """
    missing = ", ".join(name for name in expected if name not in got)
    further = ", ".join(name for name in got if name not in expected)
    if missing and further:
        return f"{further} instead of {missing}"
    return f"without {missing}" if missing else f"also {further}" if further else "the same names in another order"
