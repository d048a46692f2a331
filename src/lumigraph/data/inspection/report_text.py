"""The output of `lumigraph inspect`: a report on a file as tables of text."""

import math
import re
import textwrap
from collections.abc import Mapping

from .file_report import CollectionReport, ColumnReport, FileReport
from .suggestion import left_out, schema_yaml, suggested_schema

__all__ = ["report_text"]

_MOST_VALUES = 20  # of a column, to list them


def report_text(report: FileReport, width: int = 100) -> str:
    r"""Return a report as text, ending with a schema.

    Parameters
    ----------
    report
        What :func:`~lumigraph.data.inspection.inspect_file` found.
    width
        Characters per line. Names and numbers are never cut: if they do not fit, the line is longer.

    Examples
    --------
    >>> from lumigraph.data.inspection import inspect_file
    >>> from lumigraph.data.samples import sample_path
    >>> print(*report_text(inspect_file(sample_path("root"))).splitlines()[2:5], sep="\n")
    one number per event  type          min        mean       max   zero
      MET_pt              float       2.604       75.67     490.7      -
      MET_phi             float       -3.14    -0.04458      3.14      -
    """
    counters = report.counters
    shown = [c for c in report.columns.values() if c.name not in counters]
    blocks = [f"{report.path}: {report.num_events:,} events, {len(report.columns)} columns"]
    head, rows = _rows(shown)
    if flat := [rows[c.name] for c in shown if not c.is_list]:
        blocks.append("\n".join([head, *flat]))
    for collection in report.collections.values():
        blocks.append("\n".join([_multiplicity(collection), *(rows[name] for name in collection.columns)]))
    if values := [line for column in shown for line in _values(column, width)]:
        blocks.append("\n".join(["how often each value occurs", *values]))
    if report.unusable:
        blocks.append("\n".join(["cannot be used", *_listed(_by_reason(report), width)]))
    schema = suggested_schema(report)
    caution = "what only a simulation knows must not be among the features"
    blocks.append(f"a schema to start from; look it over: {caution}\n\n{schema_yaml(report, schema, width)}")
    if reasons := left_out(report, schema):
        blocks.append("\n".join(["left out of it", *_listed(reasons, width)]))
    return "\n\n".join(blocks)


def _multiplicity(collection: CollectionReport) -> str:
    low, middle, high = (collection.quantile(q) for q in (0.05, 0.5, 0.95))
    most = max(len(collection.multiplicities) - 1, 0)
    return (
        f"{collection.name}: {collection.quantile(0.0)} to {most} per event, mean {collection.mean:.3g}, "
        f"median {middle}, 5% and 95% quantiles {low} and {high}"
    )


def _rows(columns: list[ColumnReport]) -> tuple[str, dict[str, str]]:
    """Return a header line, and one line per column, aligned."""
    table = {
        "type": [_short_type(c) for c in columns],
        "min": [_number(c.minimum) for c in columns],
        "mean": [_number(c.mean) for c in columns],
        "max": [_number(c.maximum) for c in columns],
        "zero": [_share(c.zeros, c.count) for c in columns],
        "NaN": [_share(c.nans, c.count) for c in columns],
        "infinite": [_share(c.infinities, c.count) for c in columns],
    }
    table = {head: cells for head, cells in table.items() if head not in ("NaN", "infinite") or {*cells} > {"-"}}
    sizes = [max(map(len, [head, *cells])) for head, cells in table.items()]
    first = max(map(len, ["one number per event", *(f"  {c.name}" for c in columns)]))

    def line(name: str, cells: list[str]) -> str:
        numbers = [f"{cell:>{size}}" for cell, size in zip(cells[1:], sizes[1:], strict=True)]
        return "  ".join([f"{name:<{first}}", f"{cells[0]:<{sizes[0]}}", *numbers]).rstrip()

    rows = {c.name: line(f"  {c.name}", [cells[i] for cells in table.values()]) for i, c in enumerate(columns)}
    return line("one number per event", list(table)), rows


def _short_type(column: ColumnReport) -> str:
    """Return the type of the numbers: ``float`` for ``list<element: float>``, ``float[]`` and ``vector<float>``."""
    type_ = column.type.replace(" not null", "")
    number = re.search(r"<(?:\w+: )?([\w ]+)>", type_) or re.match(r"([\w ]+?)(?: ?[(\[].*)?$", type_)
    return number[1] if number else type_


def _number(value: int | float) -> str:
    if math.isnan(value):
        return "-"
    if abs(value) < 1e9 and (isinstance(value, int) or abs(value) >= 1e4):
        return f"{value:.0f}"
    return f"{value:.4g}"


def _share(part: int, of: int) -> str:
    """Return a share in percent: 0 % only if there are none, 100 % only if there are all."""
    if not part:
        return "-"
    percent = 100 * part / of
    if part < of and percent > 99.9:
        return ">99.9%"
    return f"{percent:.1f}%" if percent >= 0.1 else "<0.1%"


def _values(column: ColumnReport, width: int) -> list[str]:
    if column.values is None or not 1 < len(column.values) <= _MOST_VALUES or column.count == len(column.values):
        return []
    counts = ", ".join(f"{value}:\0{count}" for value, count in column.values.items())  # must stay on one line
    return [line.replace("\0", " ") for line in _wrapped(f"{column.name}  {counts}", width)]


def _by_reason(report: FileReport) -> dict[str, str]:
    return {f"{name} ({type_})": why for name, (type_, why) in report.unusable.items()}


def _listed(reasons: Mapping[str, str], width: int) -> list[str]:
    """Return lines of names, grouped by reason."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [line for reason, group in names.items() for line in _wrapped(f"{', '.join(group)}: {reason}", width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent="  ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
