"""Columns computed from columns: a small language of arithmetic, comparisons and listed functions only.

An expression may come from somebody else's configuration or model file. It is therefore never run as Python: its syntax
tree is translated (`syntax`), by an allow-list, into the operations on arrays of `operations`. Anything not on the list
is refused before anything is computed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...events.errors import EventError, SchemaError, near
from . import operations
from .jagged import Jagged, sharing
from .operations import Unfit
from .syntax import Call, Column, gives, short, translate

__all__ = ["FUNCTIONS", "Expression"]

#: What each function of an expression does, by its name.
FUNCTIONS: dict[str, str] = {name: function.says for name, function in operations.FUNCTIONS.items()}


class Expression:
    """Compute a column from others: ``"Jet_pt > 30 and abs(Jet_eta) < 2.5"``, ``"sqrt(MET_px**2 + MET_py**2)"``.

    An expression consists of names of columns, numbers, ``True`` and ``False``; of ``+ - * / // % **``, comparisons
    (also chained, ``20 < Jet_pt < 50``), ``and or not``, ``& | ^ ~`` between conditions, and ``a if c else b``; and of
    calls of `FUNCTIONS`. All work number by number. A number of the event is combined with every entry of its lists,
    and ``sum any all count max min mean`` reduce the list of an event to one number.

    Parameters
    ----------
    text
        The expression.

    Attributes
    ----------
    text : str
        The expression as it was given.
    names : tuple of str
        The columns needed, in order of appearance.
    gives_number : bool
        Whether its value is a number rather than a condition, whatever the columns hold.

    Raises
    ------
    SchemaError
        If the text holds anything else: attributes, subscripts, other calls, keyword arguments, strings, names that
        begin with ``__``, characters that are not ASCII, integers beyond int64, an exponent that is not a literal of
        size at most 16, more than 2000 characters, or more than 50 operations nested or in a row.

    Notes
    -----
    **Numbers.** Integers are computed as int64; a result that int64 may not hold is an error; integers to a negative or
    fractional power are float64. float32 stays float32 with float32 and literals; with columns of integers and
    conditions (0 and 1 in arithmetic) it becomes float64. ``/`` gives floats, and so do ``//`` and ``%`` unless they
    divide integers by a literal other than 0. Dividing by zero and the logarithm of a negative number give infinity or
    NaN; a missing number counts as NaN.

    **Conditions.** Integers are allowed where ``and or not if where any all`` expect a condition (files store flags as
    integers) and are true if not 0; floats and results of arithmetic are not. ``& | ^ ~`` take results of
    comparisons and columns of booleans only, so that ``a > 1 & b < 2``, which means ``a > (1 & b) < 2``, is an error.

    **Empty lists.** Their sum and count are 0, their max, min and mean NaN, any is false and all is true.

    Examples
    --------
    >>> import numpy as np
    >>> central = Expression("Jet_pt > 30 and abs(Jet_eta) < 2.5")
    >>> central.names
    ('Jet_pt', 'Jet_eta')
    >>> central.evaluate({"Jet_pt": [[50.0, 20.0], []], "Jet_eta": [[1.0, 0.0], []]}).to_list()
    [[True, False], []]
    >>> Expression("sum(Jet_pt) / 2").evaluate({"Jet_pt": [[50.0, 20.0], []]})
    array([35.,  0.])
    >>> Expression("Jet_pt.__class__")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lumigraph.events.errors.SchemaError: expression 'Jet_pt.__class__': attribute access is not allowed in ...
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"an expression must be a string, got {text!r} of type {type(text).__name__}")
        self.text = str(text)
        try:
            self._root, self.names = translate(self.text)
        except Unfit as fault:
            raise self._error(fault) from fault.__cause__
        self.gives_number = gives(self._root) == "number"

    def evaluate(self, columns: Mapping[str, Any]) -> Any:
        """Return the value of the expression for each event.

        Parameters
        ----------
        columns
            The columns by name, one entry per event in each: numbers, or lists of numbers, as NumPy or awkward arrays
            or lists. Columns that are not needed are ignored.

        Returns
        -------
        numpy.ndarray or awkward.Array
            Numbers or booleans: one per event, or a list per event.

        Raises
        ------
        SchemaError
            If a column is missing or holds something other than numbers, if columns or lists that are used together
            have different lengths, if an operand is a number where a condition belongs, or if int64 cannot hold a
            result.
        """
        result = self.compute(columns)
        return result.values if result.offsets is None else result.to_awkward()

    def compute(self, columns: Mapping[str, Any]) -> Jagged:
        """Return the value of the expression for each event, see `evaluate`."""
        try:
            with np.errstate(all="ignore"):
                return self._computed(columns)
        except Unfit as fault:
            raise self._error(fault) from fault.__cause__

    def _computed(self, columns: Mapping[str, Any]) -> Jagged:
        for name in self.names:
            if name not in columns:
                raise Unfit(f"column {name!r} is missing: {near(name, map(str, columns))}", column=name)
        # without a column in it, an expression has the same value for every event of the columns given
        names = self.names or tuple(columns)[:1]
        if not names:
            raise Unfit("the number of events is unknown without columns: give at least one")
        num_events = len(columns[names[0]])
        for name in names:
            if len(columns[name]) != num_events:
                raise Unfit(
                    f"column {name!r} has {len(columns[name])} events, but {names[0]!r} has {num_events}", column=name
                )
        result = _value(self._root, _loaded({name: columns[name] for name in self.names}))
        return result if isinstance(result, Jagged) else Jagged(np.full(num_events, result))

    def _error(self, fault: Unfit) -> SchemaError:
        text = f"expression {short(self.text)!r}: {fault}"
        if fault.event is None:
            return SchemaError(text, column=fault.column)
        return EventError(text, event=fault.event, column=fault.column)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Expression, (self.text,)  # a pickled expression is checked again

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Expression) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _value(node: Any, columns: Mapping[str, Jagged]) -> Any:
    """Return the value of a node: numbers, or the Python number of a literal."""
    if isinstance(node, Column):
        return columns[node.name]
    if not isinstance(node, Call):
        return node
    operands = [_value(operand, columns) for operand in node.operands]
    offsets = _common_offsets(operands, node.text, columns)
    try:
        values = [
            take(operand.values if isinstance(operand, Jagged) else operand)
            for take, operand in zip(node.operation.takes, operands, strict=True)
        ]
        if node.operation.reduces:
            if offsets is None:
                raise Unfit("takes a list per event, got one number per event")
            return Jagged(node.operation.apply(*values, offsets))
        for i, operand in enumerate(operands):
            if offsets is not None and isinstance(operand, Jagged) and operand.offsets is None:
                values[i] = np.repeat(values[i], np.diff(offsets))
        result = node.operation.apply(*values)
    except Unfit as fault:
        raise Unfit(f"{node.text!r} {fault}") from None
    return Jagged(result, offsets)


def _common_offsets(operands: list[Any], text: str, columns: Mapping[str, Jagged]) -> Any:
    """Return the offsets that operands share, None if all have one number per event."""
    common: Jagged | None = None
    for operand in operands:
        if not isinstance(operand, Jagged) or operand.offsets is None:
            continue
        common = common or operand
        if operand.offsets is not common.offsets:
            one, other = (next(n for n, c in columns.items() if c.offsets is x.offsets) for x in (common, operand))
            event = int(np.not_equal(common.lengths, operand.lengths).argmax())
            raise Unfit(
                f"{text!r} combines lists of different lengths: {one!r} has {common.lengths[event]} entries and "
                f"{other!r} {operand.lengths[event]}",
                event=event,
                column=other,
            )
    return None if common is None else common.offsets


def _loaded(columns: Mapping[str, Any]) -> dict[str, Jagged]:
    """Return columns as numbers to compute with; those with lists of the same lengths share their offsets."""
    loaded = {}
    for name, column in columns.items():
        try:
            found = Jagged.of(name, column)
        except SchemaError as fault:
            raise Unfit(fault.detail, column=name) from fault.__cause__
        loaded[name] = Jagged(_computable(name, found.values), found.offsets)
    return sharing(loaded)


def _computable(name: str, values: np.ndarray) -> np.ndarray:
    """Return numbers as int64, as floats of at least 32 bits, or as booleans."""
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind == "f":
        return values.astype(np.promote_types(values.dtype, np.float32), copy=False)
    if values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise Unfit(f"column {name!r} must fit into int64, got {values.max()}", column=name)
    return values.astype(np.int64, copy=False)
