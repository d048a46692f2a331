"""Operators and functions of expressions, on arrays of numbers, each with the kinds it takes and gives.

Numbers. Integers are computed as int64 and never wrap around: a result that int64 may not hold is refused. float32
stays float32, unless it meets an int64 or float64 array. ``/``, roots, logarithms, angles and roundings give floats,
and so do ``//`` and ``%`` unless they divide integers by a literal other than 0. Dividing by zero and the logarithm of
a negative number give infinity or NaN.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

__all__ = ["COMPARISONS", "FUNCTIONS", "OPERATORS", "Operation", "Unfit", "chain", "condition", "flag", "join"]

_LARGEST = np.iinfo(np.int64).max


class Unfit(ValueError):
    """Operands that an operation cannot take; the message continues a sentence about the expression."""

    def __init__(self, message: str, *, event: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.event, self.column = event, column


class Operation(NamedTuple):
    """An operator or a function of an expression."""

    apply: Callable[..., Any]  # on arrays of one length and Python numbers; for a reduction, on values and offsets
    takes: tuple[Callable[[Any], Any], ...]  # applied to each operand first
    gives: str | None  # "number", "condition", or None: the kind of its last operands
    says: str = ""
    reduces: bool = False  # the list of an event to one number


def _is_kind(x: Any, kinds: str) -> bool:
    return np.asarray(x).dtype.kind in kinds


def number(x: Any) -> Any:
    """Return numbers as they are, and conditions as 0 and 1."""
    if not _is_kind(x, "b"):
        return x
    return int(x) if isinstance(x, bool) else x.astype(np.int64)


def floating(x: Any) -> Any:
    """Return floats as they are, and integers and conditions as float64."""
    if _is_kind(x, "f"):
        return x
    return x.astype(np.float64) if isinstance(x, np.ndarray) else float(x)


def anything(x: Any) -> Any:
    """Return numbers and conditions as they are."""
    return x


def flag(x: Any) -> Any:
    """Return conditions as they are, and integers, as files store flags, as true if not 0."""
    if _is_kind(x, "f"):
        raise Unfit("takes conditions, got floating-point numbers: compare them with something")
    return x if _is_kind(x, "b") else x != 0


def condition(x: Any) -> Any:
    """Return conditions as they are, and refuse numbers."""
    if not _is_kind(x, "b"):
        raise Unfit("takes conditions, got numbers: it binds tighter than comparisons, write and, or, not, or brackets")
    return x


def _size(x: Any) -> int:
    if not isinstance(x, np.ndarray):
        return abs(x)
    return max(abs(int(x.min())), abs(int(x.max()))) if x.size else 0


def _check_holds(largest: int) -> None:
    if largest > _LARGEST:
        raise Unfit("may give integers that int64 cannot hold: make an operand a float, as in 1.0 * n")


def _exact(apply: Callable[..., Any], largest: Callable[..., int]) -> Callable[..., Any]:
    """Accept integers only if the bound on the result fits into int64."""

    def exact(*operands: Any) -> Any:
        if all(_is_kind(x, "i") for x in operands):
            _check_holds(largest(*map(_size, operands)))
        return apply(*operands)

    return exact


def _by_literal(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Divide integers by literals exactly, and by columns, which may be 0, as floats."""
    exact = _exact(apply, lambda a, b: a)

    def divide(a: Any, b: Any) -> Any:
        return apply(floating(a), floating(b)) if isinstance(b, np.ndarray) or not b else exact(a, b)

    return divide


def _power(base: Any, exponent: Any) -> Any:
    """Return a power with a literal exponent: integers stay integers if it is a whole number from 0."""
    if _is_kind(base, "i"):
        if isinstance(exponent, int) and exponent >= 0:
            _check_holds(_size(base) ** exponent)
        else:
            base = floating(base)
    return np.asarray(base) ** exponent


def chain(compare: list[np.ufunc]) -> Operation:
    """Return the operation that compares each operand with the next, as in ``20 < pt < 50``."""

    def apply(*operands: Any) -> Any:
        pairs = zip(compare, operands[:-1], operands[1:], strict=True)
        return reduce(np.logical_and, [f(a, b) for f, a, b in pairs])

    return Operation(apply, (number,) * (len(compare) + 1), "condition")


def join(word: str, number_of_operands: int) -> Operation:
    """Return the operation that joins conditions by ``And`` or ``Or``."""
    f = {"And": np.logical_and, "Or": np.logical_or}[word]
    return Operation(lambda *operands: reduce(f, operands), (flag,) * number_of_operands, "condition")


def _where(condition: Any, a: Any, b: Any) -> Any:
    both = _is_kind(a, "b") and _is_kind(b, "b")
    return np.where(condition, a, b) if both else np.where(condition, number(a), number(b))


def _delta_phi(a: Any, b: Any) -> Any:
    dtype = np.result_type(a, b)
    angle = np.subtract(a, b, dtype=np.float64)  # wrapping in float32 would lose the last digits
    angle = angle - 2 * math.pi * np.round(angle / (2 * math.pi))
    angle = np.where(angle <= -math.pi, angle + 2 * math.pi, angle)
    limit = dtype.type(math.pi)
    if float(limit) > math.pi:  # float32(pi) is outside (-pi, pi]
        limit = np.nextafter(limit, dtype.type(0))
    return np.clip(angle.astype(dtype), -limit, limit)


def _delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    return np.hypot(np.subtract(eta1, eta2), _delta_phi(phi1, phi2))


def _by_event(f: np.ufunc, values: np.ndarray, offsets: np.ndarray, empty: Any, dtype: Any = None) -> np.ndarray:
    starts = offsets[:-1]
    filled = starts < offsets[1:]
    result = np.full(len(starts), empty, dtype=values.dtype)
    if filled.any():
        result[filled] = f.reduceat(values, starts[filled], dtype=dtype)
    return result


def _sum(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    if _is_kind(values, "i"):
        _check_holds(_size(values) * _size(np.diff(offsets)))
        return _by_event(np.add, values, offsets, 0)
    return _by_event(np.add, values, offsets, 0, np.promote_types(values.dtype, np.float64))


def _mean(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return _sum(values, offsets) / np.diff(offsets).astype(values.dtype)  # 0 / 0 is NaN


def _reduction(apply: Callable[..., Any], takes: Callable[[Any], Any], gives: str, says: str) -> Operation:
    return Operation(apply, (takes,), gives, says, reduces=True)


def _extreme(f: np.ufunc) -> Callable[..., Any]:
    return partial(_by_event, f, empty=np.nan)


def _elementwise(names: str, takes: Callable[[Any], Any], gives: str = "number") -> dict[str, Operation]:
    return {name: Operation(getattr(np, name), (takes,), gives, f"{name}(x), as in NumPy") for name in names.split()}


#: Operators by the name of their node in the syntax tree.
OPERATORS: dict[str, Operation] = {
    "Add": Operation(_exact(np.add, lambda a, b: a + b), (number, number), "number"),
    "Sub": Operation(_exact(np.subtract, lambda a, b: a + b), (number, number), "number"),
    "Mult": Operation(_exact(np.multiply, lambda a, b: a * b), (number, number), "number"),
    "Div": Operation(np.true_divide, (number, number), "number"),
    "FloorDiv": Operation(_by_literal(np.floor_divide), (number, number), "number"),
    "Mod": Operation(_by_literal(np.mod), (number, number), "number"),
    "Pow": Operation(_power, (number, number), "number"),
    "BitAnd": Operation(np.logical_and, (condition, condition), "condition"),
    "BitOr": Operation(np.logical_or, (condition, condition), "condition"),
    "BitXor": Operation(np.logical_xor, (condition, condition), "condition"),
    "Not": Operation(np.logical_not, (flag,), "condition"),
    "Invert": Operation(np.logical_not, (condition,), "condition"),
    "USub": Operation(_exact(np.negative, lambda a: a), (number,), "number"),
    "UAdd": Operation(np.positive, (number,), "number"),
}

#: Comparisons by the name of their node in the syntax tree.
COMPARISONS: dict[str, np.ufunc] = {
    "Eq": np.equal,
    "NotEq": np.not_equal,
    "Lt": np.less,
    "LtE": np.less_equal,
    "Gt": np.greater,
    "GtE": np.greater_equal,
}

#: Functions by their name in an expression.
FUNCTIONS: dict[str, Operation] = {
    **_elementwise("sqrt exp log log10 log1p expm1 sin cos tan arcsin arccos arctan", floating),
    **_elementwise("sinh cosh tanh arcsinh", floating),
    **_elementwise("floor ceil round", floating),
    **_elementwise("sign", number),
    **_elementwise("isnan isfinite", number, "condition"),
    "abs": Operation(_exact(np.abs, lambda a: a), (number,), "number", "abs(x), as in NumPy"),
    "arctan2": Operation(np.arctan2, (floating, floating), "number", "arctan2(y, x), as in NumPy"),
    "hypot": Operation(np.hypot, (floating, floating), "number", "hypot(x, y), as in NumPy"),
    "minimum": Operation(np.minimum, (number, number), "number", "minimum(a, b), as in NumPy"),
    "maximum": Operation(np.maximum, (number, number), "number", "maximum(a, b), as in NumPy"),
    "clip": Operation(np.clip, (number, number, number), "number", "clip(x, least, most), as in NumPy"),
    "where": Operation(
        _where, (flag, anything, anything), None, "where(c, a, b): a where the condition c is true, else b"
    ),
    "delta_phi": Operation(_delta_phi, (floating, floating), "number", "delta_phi(a, b): a - b brought into (-pi, pi]"),
    "delta_r": Operation(
        _delta_r,
        (floating,) * 4,
        "number",
        "delta_r(eta1, phi1, eta2, phi2): distance of two directions in eta and phi",
    ),
    "sum": _reduction(_sum, number, "number", "sum(x): sum over the list of an event; 0 if it is empty"),
    "count": _reduction(
        lambda values, offsets: np.diff(offsets), anything, "number", "count(x): length of the list of an event"
    ),
    "any": _reduction(
        partial(_by_event, np.logical_or, empty=False), flag, "condition", "any(x): whether any is true; false if empty"
    ),
    "all": _reduction(
        partial(_by_event, np.logical_and, empty=True), flag, "condition", "all(x): whether all are true; true if empty"
    ),
    "max": _reduction(
        _extreme(np.maximum), floating, "number", "max(x): largest in the list of an event; NaN if empty"
    ),
    "min": _reduction(
        _extreme(np.minimum), floating, "number", "min(x): smallest in the list of an event; NaN if empty"
    ),
    "mean": _reduction(_mean, floating, "number", "mean(x): mean over the list of an event; NaN if it is empty"),
}
