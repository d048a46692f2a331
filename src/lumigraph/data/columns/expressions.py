"""Columns computed from columns: a small language of arithmetic, comparisons and listed functions, and nothing else.

An expression may come from a configuration or a model file of somebody else. It is therefore never run as Python: its
syntax tree is translated, by a white list, into operations on arrays (`syntax`), those of `operations`, and whatever is
not on the list is refused before anything is computed.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ...events.errors import EventError, SchemaError, near
from . import operations
from .operations import Unfit
from .syntax import Call, Column, gives, short, translate

__all__ = ["FUNCTIONS", "Expression"]

#: What each function of an expression does, by its name.
FUNCTIONS: dict[str, str] = {name: function.says for name, function in operations.FUNCTIONS.items()}


_Loaded = Mapping[str, Any]  # the values are _Array


class _Lists(NamedTuple):
    """Lists of the events: the first column that has them, and where each begins and ends in its numbers."""

    column: str
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


class _Array(NamedTuple):
    """One number for each event or, with lists, for each entry of the lists of all events."""

    values: np.ndarray
    lists: _Lists | None


class Expression:
    """Compute a column from others: ``"Jet_pt > 30 and abs(Jet_eta) < 2.5"``, ``"sqrt(MET_px**2 + MET_py**2)"``.

    An expression is made of names of columns, numbers, ``True`` and ``False``; of ``+ - * / // % **``, comparisons
    (also chained, ``20 < Jet_pt < 50``), ``and or not``, ``& | ^ ~`` between conditions, and ``a if c else b``; and of
    calls of `FUNCTIONS`. All work number by number. A number of the event goes with every entry of the event's lists,
    and ``sum any all count max min mean`` make one number of the event of its list.

    Parameters
    ----------
    text
        The expression.

    Attributes
    ----------
    text : str
        The expression as it was given.
    names : tuple of str
        The columns it needs, in order of appearance.
    gives_number : bool
        Whether its value is a number and no condition, whatever the columns hold.

    Raises
    ------
    SchemaError
        If the text holds anything else: attributes, subscripts, other calls, keyword arguments, strings, names that
        begin with ``__``, characters that are not ASCII, integers beyond int64, an exponent that is not a literal of
        size at most 16, more than 2000 characters, or more than 50 operations inside one another or in a row.

    Notes
    -----
    **Numbers.** Integers are computed as int64, and what int64 may not hold is an error; integers to a negative or
    broken power are float64. float32 stays float32 with float32 and literals; with columns of integers, and conditions
    (0 and 1 in arithmetic), it becomes float64. ``/`` gives floats, and so do ``//`` and ``%`` unless they divide
    integers by a literal other than 0. Dividing by zero and the logarithm of a negative number give infinity or NaN; a
    number that is missing counts as NaN.

    **Conditions.** Integers may stand where ``and or not if where any all`` expect a condition (a file has flags as
    integers) and are true if they are not 0; floats and results of arithmetic may not. ``& | ^ ~`` take results of
    comparisons and columns of booleans only, so that ``a > 1 & b < 2``, which means ``a > (1 & b) < 2``, is an error.

    **Empty lists.** Their sum and count are 0, their max, min and mean NaN; of none any is true and all are.

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
    >>> Expression("Jet_pt.__class__")
    Traceback (most recent call last):
        ...
    lumigraph.events.errors.SchemaError: expression 'Jet_pt.__class__': attribute access is not allowed in ...
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"an expression must be a text, got {text!r} of type {type(text).__name__}")
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
            or lists. Others than those needed are not looked at.

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
        try:
            with np.errstate(all="ignore"):
                return self._evaluate(columns)
        except Unfit as fault:
            raise self._error(fault) from fault.__cause__

    def _evaluate(self, columns: Mapping[str, Any]) -> Any:
        for name in self.names:
            if name not in columns:
                raise Unfit(f"column {name!r} is missing: {near(name, map(str, columns))}", column=name)
        # an expression without a column is the same number for every event of whatever columns there are
        lengths = {name: len(columns[name]) for name in self.names or list(columns)[:1]}
        if not lengths:
            raise Unfit("there is no column that would tell how many events there are")
        (first, num_events), *others = lengths.items()
        for name, length in others:
            if length != num_events:
                raise Unfit(f"column {name!r} has {length} events, but {first!r} has {num_events}", column=name)
        result = _value(self._root, _load({name: columns[name] for name in self.names}))
        if not isinstance(result, _Array):
            return np.full(num_events, result)
        return result.values if result.lists is None else _in_lists(result.values, result.lists.offsets)

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


def _value(node: Any, columns: _Loaded) -> Any:
    """Return the value of a node: an array, or the Python number of a literal."""
    if isinstance(node, Column):
        return columns[node.name]
    if not isinstance(node, Call):
        return node
    operands = [_value(operand, columns) for operand in node.operands]
    lists = _common_lists(operands, node.text)
    try:
        values = [
            take(operand.values if isinstance(operand, _Array) else operand)
            for take, operand in zip(node.operation.takes, operands, strict=True)
        ]
        if node.operation.reduces:
            if lists is None:
                raise Unfit("takes a list per event, got one number per event")
            return _Array(node.operation.apply(*values, lists.lengths), None)
        for i, operand in enumerate(operands):
            if lists is not None and isinstance(operand, _Array) and operand.lists is None:
                values[i] = np.repeat(values[i], lists.lengths)
        result = node.operation.apply(*values)
    except Unfit as fault:
        raise Unfit(f"{node.text!r} {fault}") from None
    return _Array(result, lists)


def _common_lists(operands: list[Any], text: str) -> Any:
    """Return the _Lists that operands share, None where all have one number per event."""
    common: _Lists | None = None
    for lists in (operand.lists for operand in operands if isinstance(operand, _Array)):
        if common is None or lists is None:
            common = common or lists
        elif lists is not common:
            one, other = common.lengths, lists.lengths
            event = int(np.not_equal(one, other).argmax())
            raise Unfit(
                f"{text!r} puts lists of different lengths together: {common.column!r} has {one[event]} entries and "
                f"{lists.column!r} {other[event]}",
                event=event,
                column=lists.column,
            )
    return common


def _load(columns: Mapping[str, Any]) -> _Loaded:
    """Strip columns of their lists; columns with lists of the same lengths share them."""
    loaded: dict[str, _Array] = {}
    known: list[_Lists] = []
    for name, column in columns.items():
        values, offsets = _flat(name, column)
        lists = None
        if offsets is not None:
            lists = next((other for other in known if np.array_equal(other.offsets, offsets)), None)
            if lists is None:
                lists = _Lists(name, offsets)
                known.append(lists)
        loaded[name] = _Array(_computable(name, values), lists)
    return loaded


def _flat(name: str, column: Any) -> tuple[Any, np.ndarray | None]:
    """Return the numbers of a column, masked where one is missing, and for lists where each begins and ends."""
    import awkward as ak

    array: Any = ak.Array(list(column)) if isinstance(column, list | tuple) else column
    values: Any = np.empty(0, object)
    offsets = None
    if isinstance(array, ak.Array):
        if array.ndim == 2:
            array, offsets = _without_lists(array)
        with suppress(TypeError, ValueError):  # lists of lists, numbers mixed with text
            values = ak.to_numpy(array, allow_missing=True)
    else:
        values = np.ma.asarray(array) if np.ma.isMaskedArray(array) else np.asarray(array)
        if values.ndim == 2:
            values, offsets = values.ravel(), np.arange(len(values) + 1) * values.shape[1]
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        found = array.type if isinstance(array, ak.Array) else f"{values.ndim} axes of {values.dtype}"
        raise Unfit(f"column {name!r} must hold a number or a list of numbers per event, got {found}", column=name)
    return values, offsets


def _without_lists(array: Any) -> tuple[Any, np.ndarray]:
    """Return the entries of lists, and where each list begins and ends in them; a missing list is empty."""
    import awkward as ak

    layout = array.layout
    if isinstance(layout, ak.contents.ListOffsetArray):  # what files give: nothing needs to be moved
        offsets = np.asarray(layout.offsets, dtype=np.int64)
        return ak.Array(layout.content[offsets[0] : offsets[-1]]), offsets - offsets[0]
    lengths = ak.to_numpy(ak.fill_none(ak.num(array), 0))
    return ak.flatten(array), np.concatenate([[0], np.cumsum(lengths)])


def _in_lists(values: np.ndarray, offsets: np.ndarray) -> Any:
    import awkward as ak

    lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.contents.NumpyArray(values))
    return ak.Array(lists)


def _computable(name: str, values: Any) -> np.ndarray:
    """Return numbers as int64, as floats of at least 32 bits with NaN where one is missing, or as booleans."""
    if np.ma.is_masked(values):
        values = values.astype(np.promote_types(values.dtype, np.float32)).filled(np.nan)
    values = np.asarray(values)
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind == "f":
        return values.astype(np.promote_types(values.dtype, np.float32), copy=False)
    if values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise Unfit(f"column {name!r} has the number {values.max()}, which int64 cannot hold", column=name)
    return values.astype(np.int64, copy=False)
