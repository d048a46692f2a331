"""Expressions compute what a plain loop computes, and refuse, before anything is run, all that is none."""

import ast
import builtins
import copy
import inspect
import math
import os
import pickle
import time

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import vector
from hypothesis import given, settings
from hypothesis import strategies as st

from lumigraph.data.columns import expressions, operations, syntax
from lumigraph.data.columns.expressions import FUNCTIONS, Expression
from lumigraph.events.errors import SchemaError

NAN, INF = math.nan, math.inf

#: Texts that are no expressions, and a word of what the error says is wrong with each.
REFUSED = {
    "bases of a tuple": ("().__class__.__bases__", "attribute access"),
    "subclasses": ("().__class__.__bases__[0].__subclasses__()", r"'\['"),
    "import": ("__import__('os').system('touch sentinel')", '"\'"'),
    "import without a string": ("__import__(os)", "'__import__'"),
    "class of a column": ("Jet_pt.__class__", "attribute access"),
    "method of a column": ("Jet_pt.tofile(a)", "named function"),
    "method of a number": ("1.0.hex()", "named function"),
    "globals of a function": ("sum.__globals__", "attribute access"),
    "attribute of a call": ("sum(Jet_pt).real", "attribute access"),
    "lambda": ("(lambda: sentinel())()", "':'"),
    "list comprehension": ("[sentinel() for x in (1,)]", r"'\['"),
    "generator": ("sum(sentinel() for x in a)", "a comprehension"),
    "set": ("{1, 2}", "'{'"),
    "dict": ("{1: 2}", "'{'"),
    "tuple": ("(a, b)", "a tuple"),
    "tuple without brackets": ("a, b", "a tuple"),
    "empty tuple": ("()", "a tuple"),
    "f-string": ('f"{sentinel()}"', "'\"'"),
    "string": ("'abc'", '"\'"'),
    "bytes": ("b'abc'", '"\'"'),
    "format": ("'{0.__class__}'.format(a)", '"\'"'),
    "None": ("None", "literal"),
    "ellipsis": ("...", "literal"),
    "complex": ("1j * a", "literal"),
    "walrus": ("(a := 1)", "':'"),
    "assignment": ("a = 1", "single expression"),
    "import statement": ("import os", "single expression"),
    "two statements": ("a; sentinel()", "';'"),
    "two lines": ("a\nsentinel()", "single expression"),
    "comment": ("a # b", "'#'"),
    "line continued": ("a \\\n + b", r"'\\\\'"),
    "subscript": ("a[0]", r"'\['"),
    "slice": ("a[1:]", r"'\['"),
    "await": ("await a", "await"),
    "yield": ("(yield a)", "yield"),
    "yield from": ("(yield from a)", "yield"),
    "membership": ("a in b", "in or is"),
    "identity": ("a is b", "in or is"),
    "matrix product": ("a @ b", "'@'"),
    "shift": ("1 << a", "this operator"),
    "keyword argument": ("clip(a, 1, 2, out=b)", "named function"),
    "starred argument": ("sum(*a)", "starred"),
    "starred keywords": ("sum(**a)", "named function"),
    "call of a call": ("sum(a)(b)", "named function"),
    "call of a bracket": ("(abs)(a)(b)", "named function"),
    "eval": ("eval(a)", "'eval' is not a function"),
    "print": ("print(a)", "'print' is not a function"),
    "getattr": ("getattr(a, b)", "'getattr' is not a function"),
    "sentinel": ("sentinel()", "'sentinel' is not a function"),
    "misspelt function": ("sqr(a)", "did you mean sqrt"),
    "too few arguments": ("where(a, b)", r"has 2 arguments.*where\(c, a, b\)"),
    "too many arguments": ("max(a, b)", r"has 2 arguments.*max\(x\)"),
    "dunder name": ("__builtins__", "two underscores"),
    "full width letters": ("\uff45\uff56\uff41\uff4c(1)", "'\uff45'"),
    "full width column": ("\uff2aet_pt", "'\uff2a'"),
    "Cyrillic letter": ("Jet_\u0440t", "'\u0440'"),
    "full width underscore": ("_\uff3fclass__", "'\uff3f'"),
    "full width digits": ("a > \uff13", "'\uff13'"),
    "no-break space": ("a\xa0> 3", r"'\\xa0'"),
    "surrogate": ("a\ud800", r"'\\ud800'"),
    "null byte": ("a\0b", r"'\\x00'"),
    "tower of powers": ("9**9**9**9", "exponent"),
    "power of a column": ("2**a", "exponent"),
    "power of a power": ("a**(2**2)", "exponent"),
    "huge power": ("9**99999999", "exponent"),
    "huge negative power": ("a**-17", "exponent"),
    "infinite power": ("1e308**2", "got inf"),
    "powers of powers": ("(9**16)**16", "int64"),
    "integer sum": ("9223372036854775807 + 1", "int64"),
    "huge integer": ("9223372036854775808", "64 bits"),
    "integer of 2000 digits": ("9" * 2000, "64 bits"),
    "infinite literal": ("1e999", "finite"),
    "division by nothing": ("1 / 0", "got inf"),
    "root of a negative number": ("sqrt(-1) * a", "got nan"),
    "too long": ("a" * 2001, "got 2001"),
    "brackets": ("(" * 500 + "a" + ")" * 500, "more than 50"),
    "brackets left open": ("(" * 2000, "more than 50"),
    "some left open": ("(" * 40 + "a", "not closed"),
    "closed too often": ("a)", "not opened"),
    "calls in calls": ("abs(" * 60 + "a" + ")" * 60, "more than 50"),
    "unary minus": ("-" * 1999 + "a", "more than 50"),
    "unary not": ("not " * 490 + "a", "more than 50"),
    "sum of a thousand": ("a+" * 999 + "a", "more than 50"),
    "comparisons in a row": ("a<" * 999 + "a", "more than 50"),
    "conditions in a row": ("a and " * 300 + "a", "more than 50"),
    "conditionals in a row": ("a if a else " * 150 + "a", "more than 50"),
    "attributes in a row": ("a" + ".a" * 900, "attribute access"),
    "calls in a row": ("a" + "()" * 900, "named function"),
    "for in a row": ("a for *a in x if x else " * 40 + "a", "single expression"),
    "empty": ("", "empty"),
    "spaces": (" \n ", "empty"),
    "unfinished": ("a >", "single expression"),
    "number glued to a word": ("30and a", "single expression"),
    "precedence of &": ("a > 1 & b < 2", "'1' in '1 & b' must be a condition"),
    "precedence of |": ("a == 1 | b == 2", r"'1' in '1 \| b' must be a condition"),
    "number as a condition": ("a == 1 or 2", "'2' in 'a == 1 or 2' must be a condition"),
    "sum as a condition": ("not a + b", r"'a \+ b' in 'not a \+ b' must be a condition"),
    "inverted number": ("~(a * 2)", "must be a condition"),
    "conditional number": ("1 if a + 1 else 2", "must be a condition"),
    "sum over a literal": ("sum(1)", "list per event"),
}


def evaluate(text, **columns):
    return Expression(text).evaluate(columns)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_expression_is_refused_and_nothing_of_it_run(name, monkeypatch):
    text, says = REFUSED[name]
    ran = []
    monkeypatch.setattr(builtins, "sentinel", lambda *_: ran.append("sentinel"), raising=False)
    for owner, called in [(builtins, "eval"), (builtins, "print"), (os, "system")]:
        monkeypatch.setattr(owner, called, lambda *_, called=called: ran.append(called))
    seconds, refused = [], None
    for _ in range(3):
        start = time.perf_counter()
        try:
            Expression(text)
        except Exception as error:
            refused = error
        seconds.append(time.perf_counter() - start)
    monkeypatch.undo()
    assert not ran
    with pytest.raises(SchemaError, match=says) as caught:
        raise refused or AssertionError(f"{text!r} was accepted")
    assert repr(text[:40])[1:-1] in str(caught.value)
    assert len(str(caught.value)) < 600
    assert min(seconds) < 0.1


@pytest.mark.parametrize("module", [expressions, syntax, operations])
def test_nothing_that_runs_text_is_called(module):
    names = {node.id for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Name)}
    assert not names & {"eval", "exec", "compile", "__import__", "globals", "locals", "vars"}


@pytest.mark.parametrize("text", [None, 3, b"a", ["a"]])
def test_what_is_no_text_is_a_type_error(text):
    with pytest.raises(TypeError):
        Expression(text)


@given(st.text(alphabet="ab_1.,()+-*/%<>=!&|^~ \n'\"[]{}:;lambdaif", max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    try:
        Expression(text)
    except SchemaError as error:
        assert str(error).startswith("expression ")  # noqa: PT017


def test_as_deep_and_as_long_as_allowed():
    np.testing.assert_array_equal(evaluate("(" * 50 + "a" + ")" * 50, a=[1.0]), [1.0])
    np.testing.assert_array_equal(evaluate("+".join("a" * 51), a=[1.0]), [51.0])
    np.testing.assert_array_equal(evaluate("a" * 2000, **{"a" * 2000: [1]}), [1])
    assert Expression(" a\n >  1 ").evaluate({"a": [1, 2]}).tolist() == [False, True]


def test_names_stand_in_order_of_appearance():
    assert Expression("c if b > sum(a) else c + max(sum)").names == ("c", "b", "a", "sum")
    assert Expression("1 + 1").names == ()


def test_pickled_copied_and_compared_by_text():
    expression = Expression("20 < a < 50")
    for other in (pickle.loads(pickle.dumps(expression)), copy.deepcopy(expression)):
        assert other == expression
        assert hash(other) == hash(expression)
        np.testing.assert_array_equal(other.evaluate({"a": [10, 30]}), [False, True])
    assert expression != Expression("a < 50")
    assert expression != expression.text
    assert repr(expression) == "Expression('20 < a < 50')"


def test_a_pickle_with_another_text_is_checked_again():
    changed = pickle.dumps(Expression("abs(a)")).replace(b"abs(a)", b"a.real")
    with pytest.raises(SchemaError, match="attribute access"):
        pickle.loads(changed)


def test_every_function_is_described():
    assert all(says.startswith(f"{name}(") for name, says in FUNCTIONS.items())


# ---- against a plain loop

FLOATS = st.one_of(st.integers(-32, 32).map(lambda i: i / 4), st.sampled_from([NAN, INF, -INF, 0.0]))
INTEGERS = st.integers(-5, 5)


def divided(a, b):
    if b != 0 or math.isnan(a):
        return a / b if b else NAN
    return NAN if a == 0 else math.copysign(INF, a) * math.copysign(1.0, b)


def floor_divided(a, b):
    return a // b if b else divided(a, b)


def modulo(a, b):
    return a % b if b else NAN


def powered(a, exponent):
    return a**exponent if a or exponent > 0 else math.copysign(INF, a) if exponent % 2 else INF


def least(*values):
    return NAN if any(math.isnan(v) for v in values) else min(values)


def most(*values):
    return NAN if any(math.isnan(v) for v in values) else max(values)


def root(a):
    return math.sqrt(a) if a >= 0 else NAN


def exponential(a):
    return INF if a >= 709 else math.exp(a)


def angle_between(a, b):
    if not math.isfinite(a - b):
        return NAN
    angle = math.remainder(a - b, 2 * math.pi)
    return math.pi if angle == -math.pi else angle


REDUCTIONS = {
    "sum": sum,
    "count": len,
    "max": lambda values: most(*values) if values else NAN,
    "min": lambda values: least(*values) if values else NAN,
    "mean": lambda values: sum(values) / len(values) if values else NAN,
}
OPERATORS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b,
    "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b,
}  # fmt: skip

# A piece of an expression is its text and its value for particle i of an event, as a function of both.


def binary(op, a, b):
    return f"({a[0]} {op} {b[0]})", lambda event, i: OPERATORS[op](a[1](event, i), b[1](event, i))


def prefixed(op, f, a):
    return f"({op}{a[0]})", lambda event, i: f(a[1](event, i))


def called(name, f, *pieces):
    text = f"{name}({', '.join(text for text, _ in pieces)})"
    return text, lambda event, i: f(*(value(event, i) for _, value in pieces))


def either(a, c, b):
    return f"({a[0]} if {c[0]} else {b[0]})", lambda event, i: (a if c[1](event, i) else b)[1](event, i)


def between(a, op, b, other, c):
    return (
        f"({a[0]} {op} {b[0]} {other} {c[0]})",
        lambda event, i: (
            OPERATORS[op](a[1](event, i), b[1](event, i)) and OPERATORS[other](b[1](event, i), c[1](event, i))
        ),
    )


def reduced(name, f, piece):
    return f"{name}({piece[0]})", lambda event, i: f([piece[1](event, j) for j in range(len(event["Jet_pt"]))])


def column(name):
    return name, lambda event, i: event[name][i] if name.startswith("Jet") else event[name]


LITERAL = st.sampled_from([0, 1, 2, 0.5, 2.5, 1e2]).map(lambda v: (repr(v), lambda event, i: v))
ZERO = ("0", lambda event, i: 0)
COMPARED = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


@st.composite
def conditions(draw, depth, lists):
    number = numbers(depth - 1, lists)
    if depth <= 1 or draw(st.booleans()):
        return draw(
            st.one_of(
                st.builds(binary, COMPARED, number, st.one_of(number, LITERAL)),
                st.builds(between, LITERAL, COMPARED, number, COMPARED, number),
                number.map(lambda p: called("isnan", math.isnan, p)),
                number.map(lambda p: called("isfinite", math.isfinite, p)),
            )
        )
    own = conditions(depth - 1, lists)
    # of a list for certain, whatever the columns of the rest are
    inner = conditions(depth - 1, True).map(lambda p: binary("and", binary(">", column("Jet_id"), ZERO), p))
    return draw(
        st.one_of(
            st.builds(binary, st.sampled_from(["and", "or", "&", "|", "^"]), own, own),
            own.map(lambda p: prefixed("not ", lambda a: not a, p)),
            own.map(lambda p: prefixed("~", lambda a: not a, p)),
            inner.map(lambda p: reduced("any", any, p)),
            inner.map(lambda p: reduced("all", all, p)),
        )
    )


@st.composite
def numbers(draw, depth, lists):
    """Draw numbers that floats hold exactly, so that comparisons have one answer."""
    names = ["MET", "run", *(["Jet_pt", "Jet_id"] if lists else [])]
    if depth <= 0:
        return column(draw(st.sampled_from(names)))
    own = numbers(depth - 1, lists)
    any_number = st.one_of(own, LITERAL)
    test = conditions(depth - 1, lists)
    inner = numbers(depth - 1, True).map(lambda p: binary("+", column("Jet_id"), p))
    return draw(
        st.one_of(
            st.sampled_from(names).map(column),
            st.builds(binary, st.sampled_from(["+", "-", "*"]), own, any_number),
            own.map(lambda p: prefixed("-", lambda a: -a, p)),
            own.map(lambda p: prefixed("+", lambda a: +a, p)),
            own.map(lambda p: called("abs", abs, p)),
            own.map(lambda p: (f"({p[0]})**2", lambda event, i: p[1](event, i) ** 2)),
            st.builds(lambda a, b: called("minimum", least, a, b), own, any_number),
            st.builds(lambda a, b: called("maximum", most, a, b), own, any_number),
            st.builds(lambda c, a, b: called("where", lambda c, a, b: a if c else b, c, a, b), test, own, any_number),
            st.builds(either, any_number, test, own),
            st.builds(
                lambda name, p: reduced(name, REDUCTIONS[name], p),
                st.sampled_from(["sum", "count", "max", "min"]),
                inner,
            ),
        )
    )


@st.composite
def rounded(draw, lists):
    """Draw numbers that are rounded, at the outside of an expression only."""
    a, b = draw(numbers(2, lists)), draw(numbers(1, lists))
    literal = draw(st.sampled_from([2, 3, 0.5, -4]))
    power = draw(st.sampled_from([3, -1, -2]))
    return draw(
        st.sampled_from(
            [
                (f"({a[0]}) / ({b[0]})", lambda e, i: divided(a[1](e, i), b[1](e, i))),
                (f"({a[0]}) // ({b[0]})", lambda e, i: floor_divided(a[1](e, i), b[1](e, i))),
                (f"({a[0]}) % ({b[0]})", lambda e, i: modulo(a[1](e, i), b[1](e, i))),
                (f"({a[0]}) % {literal}", lambda e, i: modulo(a[1](e, i), literal)),
                (f"({a[0]}) // {literal}", lambda e, i: floor_divided(a[1](e, i), literal)),
                (f"({b[0]})**{power}", lambda e, i: powered(b[1](e, i), power)),
                called("sqrt", root, a),
                called("exp", exponential, b),
                called("hypot", math.hypot, a, b),
                called("delta_phi", angle_between, a, b),
                reduced("mean", REDUCTIONS["mean"], binary("*", column("Jet_id"), draw(numbers(2, True)))),
            ]
        )
    )


@st.composite
def events(draw):
    jets = st.lists(st.tuples(FLOATS, INTEGERS), max_size=5)
    return [
        {"Jet_pt": [pt for pt, _ in jet], "Jet_id": [i for _, i in jet], "MET": draw(FLOATS), "run": draw(INTEGERS)}
        for jet in draw(st.lists(jets, min_size=1, max_size=5))
    ]


PIECES = st.booleans().flatmap(lambda lists: st.one_of(conditions(3, lists), numbers(3, lists), rounded(lists)))


@settings(max_examples=100, deadline=None)
@given(PIECES, events())
def test_random_expressions_agree_with_a_plain_loop(piece, table):
    text, value = piece
    lengths = [len(event["Jet_pt"]) for event in table]
    columns = {
        "Jet_pt": ak.unflatten(np.array([x for e in table for x in e["Jet_pt"]], dtype=np.float64), lengths),
        "Jet_id": ak.unflatten(np.array([x for e in table for x in e["Jet_id"]], dtype=np.int8), lengths),
        "MET": np.array([e["MET"] for e in table]),
        "run": np.array([e["run"] for e in table], dtype=np.int16),
    }
    got = Expression(text).evaluate(columns)
    if isinstance(got, ak.Array):
        assert ak.num(got).to_list() == lengths
        expected = [value(event, i) for event in table for i in range(len(event["Jet_pt"]))]
        got = ak.to_numpy(ak.flatten(got))
    else:
        expected = [value(event, None) for event in table]
    assert (got.dtype == bool) == all(isinstance(x, bool) for x in expected) or not expected
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12, err_msg=text)


# ---- kinds of numbers


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">i2", "<u4"])
def test_integers_do_not_wrap_around(dtype):
    a = np.array([100, 1], dtype=dtype)
    for text, expected in {
        "a + a": [200, 2], "a * a": [10000, 1], "a**3": [10**6, 1], "0 - a": [-100, -1], "-a": [-100, -1],
        "a - 2 * a": [-100, -1], "abs(a - 101)": [1, 100], "a": [100, 1], "a // 3": [33, 0], "a % 3": [1, 1],
        "sign(-a)": [-1, -1], "clip(a, 2, 50)": [50, 2], "a if a > 1 else -1": [100, -1],
    }.items():  # fmt: skip
        got = evaluate(text, a=a)
        assert got.dtype == np.int64, text
        np.testing.assert_array_equal(got, expected, err_msg=text)
    for text, expected in {"a / 8": [12.5, 0.125], "a**-1": [0.01, 1], "a**0.5": [10, 1], "a // a": [1, 1]}.items():
        got = evaluate(text, a=a)
        assert got.dtype == np.float64, text
        np.testing.assert_array_equal(got, expected, err_msg=text)


def test_sums_of_integers_do_not_wrap_around():
    jets = ak.values_astype(ak.Array([[100, 100, 100], [], [1]]), np.int8)
    got = evaluate("sum(a)", a=jets)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [300, 0, 1])


@pytest.mark.parametrize("text", ["a + 1", "a * 2", "-a - 2", "a**2", "a - b", "sum(c)"])
def test_what_int64_cannot_hold_is_an_error(text):
    largest = np.iinfo(np.int64).max
    columns = {"a": [largest, 1], "b": [-1, 1], "c": [[largest, 1], []]}
    with pytest.raises(SchemaError, match="int64 cannot hold: make an operand a float"):
        Expression(text).evaluate(columns)


def test_identifiers_stay_exact():
    event = np.array([2**60 + 1, 2**60 + 2], dtype=np.uint64)
    np.testing.assert_array_equal(evaluate("event % 2 == 0", event=event), [False, True])
    with pytest.raises(SchemaError, match=r"'event' must fit into int64, got 9223372036854775808"):
        evaluate("event % 2", event=np.array([2**63], dtype=np.uint64))


@pytest.mark.parametrize("text", [
    "a", "a + 1", "2.5 * a", "a / 3", "a**2", "sqrt(a)", "sqrt(2) * a", "a * (180 / 3.14)", "abs(a)",
    "where(a > 1, a, 0.5)", "clip(a, 0, 1.5)", "delta_phi(a, a)", "delta_r(a, a, a, a)", "sum(j)", "mean(j)", "max(j)",
    "j - a", "a // 0", "maximum(a, 0)", "1e300 * a", "a if a > 0 else 1", "round(a)", "sum(j) * True",
])  # fmt: skip
def test_float32_stays_float32(text):
    jets = ak.values_astype(ak.Array([[1.5, 2.5], [], [3.0]]), np.float32)
    got = evaluate(text, a=np.array([1.5, -2.5, 0], dtype=np.float32), j=jets)
    assert (ak.to_numpy(ak.flatten(got)) if isinstance(got, ak.Array) else got).dtype == np.float32


def test_other_floats():
    assert evaluate("a + 1", a=np.array([1], dtype=np.float16)).dtype == np.float32
    assert evaluate("a + 1", a=np.array([1], dtype=">f8")).dtype == np.dtype("=f8")
    assert evaluate("a + b", a=np.float32([1]), b=np.float64([1])).dtype == np.float64
    assert evaluate("a + b", a=np.float32([1]), b=np.int8([1])).dtype == np.float64


def test_a_sum_of_float32_is_as_exact_as_float32():
    values = np.full(100_000, 0.1, dtype=np.float32)
    assert evaluate("sum(a)", a=values[None])[0] == np.float32(np.sum(values, dtype=np.float64))


def test_what_is_undefined_is_nan_or_infinite_without_a_warning():
    a = np.array([0, 1, -1])
    for text, expected in {
        "1 / a": [INF, 1, -1], "a / 0": [NAN, INF, -INF], "a // 0": [NAN, INF, -INF], "1 % a": [NAN, 0, 0],
        "log(a)": [-INF, 0, NAN], "sqrt(a)": [0, 1, NAN], "a**-1": [INF, 1, -1], "exp(1000 * a)": [1, INF, 0],
    }.items():  # fmt: skip
        np.testing.assert_array_equal(evaluate(text, a=a), expected, err_msg=text)


@pytest.mark.parametrize("name", [
    "sqrt", "exp", "log", "log10", "log1p", "expm1", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh",
    "tanh", "arcsinh", "floor", "ceil", "sign", "abs", "round",
])  # fmt: skip
def test_functions_are_those_of_the_math_module(name):
    f = {
        "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "abs": abs, "round": round,
        "arcsinh": math.asinh, "sign": lambda x: math.copysign(1, x),
    }.get(name, getattr(math, name, None))  # fmt: skip
    x = [0.5, 0.25, 0.75]
    np.testing.assert_allclose(evaluate(f"{name}(x)", x=x), [f(v) for v in x], rtol=1e-14)
    np.testing.assert_allclose(evaluate(f"{name}(x)", x=[1, 1]), [f(1)] * 2, rtol=1e-14)


def test_functions_of_several_numbers():
    x = [0.5, 0.25, 0.75]
    np.testing.assert_allclose(evaluate("arctan2(x, -2)", x=x), [math.atan2(v, -2) for v in x], rtol=1e-14)
    np.testing.assert_array_equal(evaluate("clip(x, 0.3, 0.6)", x=x), [0.5, 0.3, 0.6])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_delta_phi_is_in_its_interval(dtype):
    rng = np.random.default_rng(0)
    edge = np.array([math.pi, -math.pi, 0, 3.1415925, 1e-30, 20.0], dtype=dtype)
    a = np.concatenate([np.repeat(edge, 6), rng.uniform(-10, 10, 1000).astype(dtype)])
    b = np.concatenate([np.tile(edge, 6), rng.uniform(-10, 10, 1000).astype(dtype)])
    got = evaluate("delta_phi(a, b)", a=a, b=b)
    assert got.dtype == dtype
    got = got.astype(np.float64)
    assert (got > -math.pi).all()
    assert (got <= math.pi).all()
    expected = [math.remainder(float(x) - float(y), 2 * math.pi) for x, y in zip(a, b, strict=True)]
    assert np.abs(np.exp(1j * got) - np.exp(1j * np.array(expected))).max() < 4 * np.finfo(dtype).eps
    np.testing.assert_array_equal(evaluate("delta_phi(a, 0)", a=[math.pi, -math.pi]), [math.pi, math.pi])


def test_delta_r_is_that_of_vector():
    rng = np.random.default_rng(0)
    eta, phi = rng.normal(0, 2, (2, 100)), rng.uniform(-math.pi, math.pi, (2, 100))
    one, two = (vector.array({"pt": np.ones(100), "eta": eta[i], "phi": phi[i]}) for i in (0, 1))
    got = evaluate("delta_r(a, b, c, d)", a=eta[0], b=phi[0], c=eta[1], d=phi[1])
    np.testing.assert_allclose(got, one.deltaR(two), rtol=1e-12)


# ---- conditions


def test_conditions_are_booleans():
    columns = {"a": [1.0, 3.0], "b": [3.0, 1.0], "flag": np.array([1, 0], dtype=np.int8), "yes": [True, False]}
    for text, expected in {
        "a > 2": [False, True], "0 < a < b <= 3": [True, False], "not a > 2": [True, False], "yes": [True, False],
        "~yes": [False, True], "(a > 2) & (b < 2)": [False, True], "(a > 2) | yes": [True, True],
        "yes ^ (a > 2)": [True, True], "flag and a < 2": [True, False], "not flag": [False, True],
        "flag or yes": [True, False], "True": [True, True], "yes == (a < 2)": [True, True], "isnan(a)": [False, False],
        "where(flag, yes, True)": [True, True], "yes & True": [True, False], "not 1 > 2": [True, True],
    }.items():  # fmt: skip
        got = Expression(text).evaluate(columns)
        assert got.dtype == bool, text
        np.testing.assert_array_equal(got, expected, err_msg=text)
    np.testing.assert_array_equal(Expression("2 * (a > 2) + yes").evaluate(columns), [1, 2])
    np.testing.assert_array_equal(Expression("1 if flag else a").evaluate(columns), [1, 3])


@pytest.mark.parametrize("text", [
    "b & flag", "flag | flag", "~flag", "a > b & b < 2", "a and b", "not a", "b or yes", "1 if a else 2", "any(j)",
])  # fmt: skip
def test_numbers_are_no_conditions(text):
    columns = {"a": [1.0, 2.0], "b": [0.5, 1.0], "flag": [1, 0], "yes": [True, False], "j": [[1.0], []]}
    with pytest.raises(SchemaError, match=r"takes conditions, got .*numbers"):
        Expression(text).evaluate(columns)


# ---- lists


def test_empty_lists():
    columns = {"a": [[], [1.5, 2.5], []], "i": ak.values_astype(ak.Array([[], [1, 4], []]), np.int8)}
    for text, expected in {
        "sum(a)": [0, 4, 0], "count(a)": [0, 2, 0], "any(a > 2)": [False, True, False], "sum(a > 2)": [0, 1, 0],
        "all(a > 2)": [True, False, True], "max(a)": [NAN, 2.5, NAN], "min(i)": [NAN, 1, NAN],
        "mean(i)": [NAN, 2.5, NAN], "any(i)": [False, True, False], "all(i)": [True, True, True],
    }.items():  # fmt: skip
        np.testing.assert_array_equal(Expression(text).evaluate(columns), expected, err_msg=text)
    assert evaluate("2 * a", a=ak.Array([[], []])).to_list() == [[], []]
    assert evaluate("sum(a) + b", a=ak.Array([[1.0]])[:0], b=np.array([])).tolist() == []


@pytest.mark.parametrize("jets", [
    [[1, 2], [3]],
    ak.Array([[1, 2], [3]]),
    ak.Array([[9], [1, 2], [3]])[1:],
    ak.Array([[3], [1, 2]])[[1, 0]],
    ak.Array([[1, 2, 5], [3, 5]])[:, :-1],
    ak.Array([[1, None, 2], [3]])[[[True, False, True], [True]]],
    ak.unflatten(np.array([1, 2, 3, 9, 9], dtype=np.uint8), [2, 1, 2])[:2],
])  # fmt: skip
def test_lists_come_in_many_layouts(jets):
    got = evaluate("2 * jets - event", jets=jets, event=[1, 2])
    assert got.to_list() == [[1, 3], [4]]
    assert evaluate("jets", jets=jets).to_list() == [[1, 2], [3]]
    np.testing.assert_array_equal(evaluate("max(jets) + sum(jets)", jets=jets), [5, 6])


def test_columns_come_from_many_libraries():
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]})
    np.testing.assert_array_equal(evaluate("a + b", a=table["a"], b=table["b"]), [1.5, NAN])
    assert evaluate("a * b", a=np.arange(4).reshape(2, 2), b=[1, 2]).to_list() == [[0, 1], [4, 6]]
    masked = np.ma.masked_array([1, 2], mask=[False, True])
    np.testing.assert_array_equal(evaluate("a + 1", a=masked), [2, NAN])
    np.testing.assert_array_equal(evaluate("a + 1", a=ak.Array([1, None])), [2, NAN])
    np.testing.assert_array_equal(evaluate("sum(a)", a=ak.Array([[1, None], None, [2]])), [NAN, 0, 2])


def test_reductions_of_one_collection_meet_lists_of_another():
    got = evaluate("Jet_pt / sum(Jet_pt) + max(Lep_pt)", Jet_pt=[[1.0, 3.0], []], Lep_pt=[[1.0], [2.0, 5.0]])
    assert got.to_list() == [[1.25, 1.75], []]


def test_an_expression_without_columns_is_the_same_for_every_event():
    np.testing.assert_array_equal(evaluate("2 * 3", a=[[1], []]), [6, 6])
    with pytest.raises(SchemaError, match="number of events is unknown"):
        evaluate("1")


# ---- errors


@pytest.mark.parametrize(("text", "columns", "says"), [
    ("Jet_pt > Muon_pt", {"Jet_pt": [[1], [1, 2]], "Muon_pt": [[1], []]},
     "'Jet_pt > Muon_pt' combines lists of different lengths: 'Jet_pt' has 2 entries and 'Muon_pt' 0"),
    ("Jet_px > 1", {"Jet_pt": [1]}, "column 'Jet_px' is missing: did you mean Jet_pt"),
    ("a + b", {"a": [1], "b": [1, 2]}, "column 'b' has 2 events, but 'a' has 1"),
    ("a + 1", {"a": ["x", "y"]}, "column 'a' must hold a number or a list of numbers per event"),
    ("a + 1", {"a": np.array(["x"])}, "column 'a' must hold a number"),
    ("a + 1", {"a": np.array([1, "x"], dtype=object)}, "column 'a' must hold a number"),
    ("a", {"a": np.array([1], dtype="M8[s]")}, "column 'a' must hold a number"),
    ("a + 1", {"a": [[[1]], []]}, "column 'a' must hold a number"),
    ("a + 1", {"a": np.ones((2, 2, 2))}, "column 'a' must hold a number"),
    ("a + 1", {"a": np.array([1j])}, "column 'a' must hold a number"),
    ("a", {"a": ak.Array([{"x": 1}])}, "column 'a' must hold a number"),
    ("sum(a)", {"a": [1, 2]}, r"'sum\(a\)' takes a list per event, got one number per event"),
])  # fmt: skip
def test_what_does_not_fit_is_named(text, columns, says):
    with pytest.raises(SchemaError, match=says) as caught:
        Expression(text).evaluate(columns)
    assert caught.value.args[0].startswith(f"expression {text!r}: ")


def test_columns_are_left_as_they_are():
    a = np.array([3.0, 1.0])
    jets = ak.Array([[1.0, 2.0], []])
    Expression("-abs(a) + sum(jets) > 0 and a > 1").evaluate({"a": a, "jets": jets})
    np.testing.assert_array_equal(a, [3.0, 1.0])
    assert jets.to_list() == [[1.0, 2.0], []]
