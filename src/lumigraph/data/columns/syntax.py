"""From the text of an expression to operations on columns, by an allow-list.

The text may come from somebody else. It is never run as Python: its syntax tree is translated into operations on
arrays, and anything not on the list is refused.
"""

import ast
import math
import string
import warnings
from typing import Any, NamedTuple

import numpy as np

from ...events.errors import near
from .operations import COMPARISONS, FUNCTIONS, OPERATORS, Operation, Unfit, chain, condition, flag, join

__all__ = ["Call", "Column", "gives", "short", "translate"]

_MAX_LENGTH = 2000  # characters of a text
_MAX_DEPTH = 50  # nested operations, and operands in a row
_MAX_EXPONENT = 16
_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.whitespace + "_.,+-*/%<>=!&|^~()")
_REFUSED = {
    "Await": "await",
    "BinOp": "this operator",
    "Attribute": "attribute access",
    "Call": "a call other than of a named function with positional arguments",
    "Compare": "a comparison with in or is",
    "GeneratorExp": "a comprehension",
    "Starred": "a starred argument",
    "Tuple": "a tuple",
    "Yield": "yield",
    "YieldFrom": "yield",
}


class Column(NamedTuple):
    """A column, by its name."""

    name: str


class Call(NamedTuple):
    """An operation on columns, on Python numbers and on results of other operations."""

    text: str
    operation: Operation
    operands: tuple[Any, ...]


def short(text: str) -> str:
    """Return a text, shortened to fit into a message."""
    return text if len(text) <= 100 else f"{text[:97]}..."


def translate(text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the operations of a text, and the columns named in it."""
    if len(text) > _MAX_LENGTH:
        raise Unfit(f"it must have at most {_MAX_LENGTH} characters, got {len(text)}")
    for character in text:
        if character not in _CHARACTERS:
            raise Unfit(
                f"the character {character!r} is not allowed: write ASCII letters, digits, operators and round brackets"
            )
    line = " ".join(text.split())
    if not line:
        raise Unfit("it is empty")
    depth = 0
    for character in line:
        depth += (character == "(") - (character == ")")
        if depth > _MAX_DEPTH or depth < 0:  # before parsing, which is slow for many open brackets
            raise Unfit(_too_deep() if depth > 0 else "a bracket is closed but was not opened")
    if depth:
        raise Unfit("a bracket is not closed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as for 30and
            tree = ast.parse(line, mode="eval")
    except SyntaxError as fault:
        raise Unfit(f"it is not a single expression: {fault.msg}") from fault
    except (RecursionError, MemoryError) as fault:
        raise Unfit(_too_deep()) from fault
    reader = _Reader(line)
    root = reader.read(tree.body)
    return root, tuple(name for _, name in sorted((place, name) for name, place in reader.names.items()))


def _too_deep() -> str:
    return f"it has more than {_MAX_DEPTH} operations nested or in a row: split it into several columns"


class _Reader:
    """Translate a syntax tree into operations; nodes not named here are refused."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.names: dict[str, int] = {}  # of columns, each with its first place in the text

    def read(self, node: ast.AST, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise Unfit(_too_deep())
        match node:
            case ast.Constant():
                return self._literal(node)
            case ast.Name():
                return self._column(node)
            case ast.BinOp(left=left, op=op, right=right) if type(op).__name__ in OPERATORS:
                if isinstance(op, ast.Pow):
                    self._check_exponent(right)
                return self._call(node, OPERATORS[type(op).__name__], [left, right], depth)
            case ast.UnaryOp(op=op, operand=operand):
                return self._call(node, OPERATORS[type(op).__name__], [operand], depth)
            case ast.BoolOp(op=op, values=values):
                return self._call(node, join(type(op).__name__, len(values)), values, depth)
            case ast.Compare(left=left, ops=ops, comparators=others):
                if all(type(op).__name__ in COMPARISONS for op in ops):
                    compare = chain([COMPARISONS[type(op).__name__] for op in ops])
                    return self._call(node, compare, [left, *others], depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._call(node, FUNCTIONS["where"], [test, body, orelse], depth)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return self._call(node, FUNCTIONS[name], args, depth)
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                raise Unfit(f"{name!r} is not a function of expressions: {near(name, FUNCTIONS)}")
        kind = type(node).__name__
        raise Unfit(f"{_REFUSED.get(kind, kind)} is not allowed in {self._source(node)!r}")

    def _source(self, node: ast.AST) -> str:
        return short(self.line[getattr(node, "col_offset", 0) : getattr(node, "end_col_offset", None)])

    def _literal(self, node: ast.Constant) -> bool | int | float:
        value = node.value
        if isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, int) and value <= np.iinfo(np.int64).max:
            return value
        raise Unfit(f"{self._source(node)!r} is not allowed: a literal must be a finite number of at most 64 bits")

    def _column(self, node: ast.Name) -> Column:
        if node.id.startswith("__"):
            raise Unfit(f"the name {node.id!r} is not allowed: it begins with two underscores")
        self.names[node.id] = min(node.col_offset, self.names.get(node.id, node.col_offset))
        return Column(node.id)

    def _check_exponent(self, node: ast.expr) -> None:
        literal = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd) else node
        value = literal.value if isinstance(literal, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MAX_EXPONENT:
            raise Unfit(
                f"the exponent must be a literal number of size at most {_MAX_EXPONENT}, got {self._source(node)!r}"
            )

    def _call(self, node: ast.expr, operation: Operation, nodes: list[ast.expr], depth: int) -> Any:
        if len(nodes) > _MAX_DEPTH:
            raise Unfit(_too_deep())
        operands = tuple(self.read(operand, depth + 1) for operand in nodes)
        if len(operands) != len(operation.takes):
            raise Unfit(f"{self._source(node)!r} has {len(operands)} arguments: write {operation.says}")
        for source, operand, take in zip(nodes, operands, operation.takes, strict=True):
            if take in (flag, condition) and gives(operand) == "number":
                raise Unfit(
                    f"{self._source(source)!r} in {self._source(node)!r} must be a condition, got a number: "
                    "compare it with something, and put comparisons joined by & | ^ into brackets"
                )
        call = Call(self._source(node), operation, operands)
        return call if any(isinstance(operand, Column | Call) for operand in operands) else _constant(call)


def _constant(call: Call) -> bool | int | float:
    """Return the value of an operation on literals: a Python number, so that float32 stays float32."""
    if call.operation.reduces:
        raise Unfit(f"{call.text!r} takes a list per event, got a number")
    try:
        values = [take(operand) for take, operand in zip(call.operation.takes, call.operands, strict=True)]
        with np.errstate(all="ignore"):
            value = np.asarray(call.operation.apply(*values)).item()
    except Unfit as fault:
        raise Unfit(f"{call.text!r} {fault}") from None
    if not math.isfinite(value):
        raise Unfit(f"{call.text!r} must be a finite number, got {value}")
    return value


def gives(operand: Any) -> str | None:
    """Return whether an operand is a number or a condition, None if that depends on the columns."""
    if isinstance(operand, Column):
        return None
    if not isinstance(operand, Call):
        return "condition" if isinstance(operand, bool) else "number"
    if operand.operation.gives is None:
        kinds = {gives(choice) for choice in operand.operands[1:]}
        return "number" if "number" in kinds else kinds.pop() if len(kinds) == 1 else None
    return operand.operation.gives
