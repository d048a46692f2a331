"""A schema for a file, guessed from the names and contents of its columns."""

import re
import textwrap
from collections.abc import Collection, Iterable

from ...events.schema import EventSchema
from ..columns.assembly import sources
from ..columns.momenta import MOMENTUM
from .file_report import ColumnReport, FileReport

__all__ = ["left_out", "schema_yaml", "suggested_schema"]

_MOST_CODES = 20  # values of a category

_IDS = r"event|run|lumi|lumi_?block|luminosity_?block|(event|run|evt)_?(number|id|no)|entry"
_WEIGHTS = ("weight", "event_?weight", "sample_?weight", "gen_?weight", "mc_?(event_?)?weight", "weights", "w")
_WEIGHT_LIKE = r".*weight.*|.*wgt.*|.*(scale_?factor|_sf)"
_TARGETS = (
    r"labels?|targets?|class|class_?(id|label)|y|y_?true|ground_?truth|truth_?label|signal|is_?sig(nal)?(_.*)?"
    r"|(label|target)_.*|.*_(label|target)"
)
_TRUTH = r"(truth|true|gen|lhe|mc).*|.*_(truth|true)"
_TRUTH_FEATURE = r"(truth|true|gen|mc)([A-Z_].*)?|.*[fF]lavou?r|.*_(truth|true)"
_CODE_FEATURE = r".*idx|.*index|.*pdg_?id|.*jet_?id|.*key"


def suggested_schema(report: FileReport) -> EventSchema:
    """Return a schema that reads the file, as far as names and contents allow to guess.

    Objects are collections, and flat columns with a momentum, (px, py) or (pt, phi). Integers with few values from 0
    are categories. Targets, weights and identifiers are found by their usual names, and truth is kept out of the
    features if its name reveals it: check the schema before training.

    Parameters
    ----------
    report
        What :func:`~lumigraph.data.inspection.inspect_file` found.

    Examples
    --------
    >>> from lumigraph.data.inspection import inspect_file
    >>> from lumigraph.data.samples import sample_path
    >>> schema = suggested_schema(inspect_file(sample_path("root")))
    >>> schema.collections, schema.feats_per_vec[:6]
    (('Jet', 'Electron', 'Muon', 'MET'), ('px', 'py', 'pz', 'E', 'btag', 'charge'))
    """
    objects, feats = _objects(report)
    inside = {f"{vec}_{feat}" for vec in objects for feat in (*feats, *MOMENTUM)}
    flat = {n: c for n, c in report.columns.items() if not c.is_list and n not in inside}
    weight, counters = _weight(report), report.counters
    usable = [name for name, column in flat.items() if not _unfit(column, weight, counters)]
    cats = [name for name in usable if _is_category(flat[name])]
    lists = any(column.is_list for column in report.columns.values())
    flags = [f"is_{vec}" for vec in objects] if lists and len(objects) > 1 else []
    return EventSchema(
        collections=objects if lists else (),
        vecs=() if lists else objects,
        feats_per_vec=[*feats, *flags],
        event_feats=[name for name in usable if name not in cats],
        cat_feats=cats,
        targets=_targets(report),
        weight=weight,
        ids=[name for name, c in report.columns.items() if not c.is_list and _is(_IDS, name)],
    )


def left_out(report: FileReport, schema: EventSchema) -> dict[str, str]:
    """Return the columns that a schema does not read, each with the reason why it was left out."""
    used = set(sources(schema, list(report.columns))) | {
        f"{vec}_{feat}" for vec in schema.objects for feat in (*MOMENTUM, "kind")
    }
    weight, counters = _weight(report), report.counters
    reasons = {}
    for name, column in report.columns.items():
        if name not in used:
            nan = "has NaN" if column.nans else ""
            unfit = _unfit(column, weight, counters) or _unfit_feature(name, report)
            reasons[name] = unfit or nan or "not part of an object"
    return reasons


def schema_yaml(report: FileReport, schema: EventSchema, width: int = 100) -> str:
    """Return the ``data:`` section of a configuration that reads a file with a schema.

    Examples
    --------
    >>> from lumigraph.data.inspection import FileReport
    >>> schema = EventSchema(event_feats=("ht", "met"), targets=("label",))
    >>> print(schema_yaml(FileReport("a.root", 0, {}, {}, {}), schema))
    data:
      file: a.root
      event_schema:
        event_feats: [ht, met]
        targets: [label]
    """
    import yaml

    def scalar(value: object) -> str:
        text: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"))
        return text.removesuffix("...\n").strip().replace(" ", "\0")  # must stay on one line

    lines = ["data:", f"  file: {scalar(report.path)}", "  event_schema:"]
    entries = schema.to_dict()
    for name in dict.fromkeys(["collections", "vecs", *entries]):  # objects before their features
        if value := entries[name]:
            text = f"[{', '.join(map(scalar, value))}]" if isinstance(value, list) else scalar(value)
            lines += textwrap.wrap(
                text, width, initial_indent=f"    {name}: ", subsequent_indent=" " * 6,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines).replace("\0", " ")


def _is(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name.rpartition("/")[2], re.IGNORECASE) is not None


def _weight(report: FileReport) -> str | None:
    names = [name for name, column in report.columns.items() if not column.is_list]
    return next((name for pattern in _WEIGHTS for name in names if _is(pattern, name)), None)


def _targets(report: FileReport) -> list[str]:
    """Return the labels, or else the columns called truth."""
    flat = [n for n, c in report.columns.items() if not c.is_list and not c.nans and not _is(_WEIGHT_LIKE, n)]
    return [n for n in flat if _is(_TARGETS, n)] or [n for n in flat if _is(r"(truth|true)_.*|.*_(truth|true)", n)]


def _unfit(column: ColumnReport, weight: str | None, counters: Collection[str]) -> str:
    """Return why a column is not a feature of an event or a particle; an empty string if it may be."""
    name = column.name
    if not column.is_list and (_is(_TARGETS, name) or _is(_IDS, name)):
        return "a target or an identifier"
    if _is(_WEIGHT_LIKE, name) or name == weight:
        return "a weight"
    if _is(_TRUTH, name):
        return "truth"
    if name in counters:
        return "a counter: known from the lists"
    if column.infinities:
        return "has infinities"
    if not column.is_list and column.nans:
        return "has NaN"
    if column.count and column.minimum == column.maximum:
        return f"always {column.minimum:.6g}"
    return ""


def _is_category(column: ColumnReport) -> bool:
    return (
        column.is_integer
        and column.values is not None
        and column.minimum >= 0
        and column.maximum < 1000
        and len(column.values) <= _MOST_CODES
    )


def _objects(report: FileReport) -> tuple[list[str], list[str]]:
    """Return the objects of the events and their features."""
    columns: dict[str, dict[str, ColumnReport]] = {}  # by object and feature
    for name, column in report.columns.items():
        vec = report.collection(name) or name.rpartition("_")[0]
        if vec and name.startswith(f"{vec}_") and not _is(_TRUTH, vec):
            columns.setdefault(vec, {})[name[len(vec) + 1 :]] = column
    with_momentum = {v: feats for v, feats in columns.items() if _has_momentum(feats)}
    found = with_momentum or {v: feats for v, feats in columns.items() if v in report.collections}
    momentum: list[str] = []
    if with_momentum:
        forward = any({"pz", "eta"} & feats.keys() for feats in found.values())
        momentum = ["px", "py", *(["pz"] if forward else []), "E"]
    others = dict.fromkeys(f for feats in found.values() for f in feats if f not in (*MOMENTUM, "kind"))
    kept = [feat for feat in others if _is_shared(feat, found, report)]
    return list(found) if momentum or kept else [], momentum + kept


def _has_momentum(feats: Iterable[str]) -> bool:
    return {"px", "py"} <= set(feats) or {"pt", "phi"} <= set(feats)


def _is_shared(feat: str, objects: dict[str, dict[str, ColumnReport]], report: FileReport) -> bool:
    """Return whether a feature belongs to particles: it is usable, and of a list or several objects."""
    having = {vec: feats[feat] for vec, feats in objects.items() if feat in feats}
    if not any(c.is_list for c in having.values()) and len(having) < 2 < len(objects) + 1:
        return False
    if any(_unfit_feature(c.name, report) for c in having.values()):
        return False
    if any(c.nans != _nans_of_momentum(objects[vec]) or c.infinities for vec, c in having.items()):
        return False
    full = [c for c in having.values() if c.count]
    return min(c.minimum for c in full) < max(c.maximum for c in full) if full else False


def _nans_of_momentum(feats: dict[str, ColumnReport]) -> int:
    """Return how often an object is absent: NaN in all its columns."""
    return min((c.nans for f, c in feats.items() if f in MOMENTUM), default=0)


def _unfit_feature(name: str, report: FileReport) -> str:
    feature = name.removeprefix(f"{report.collection(name) or name.rpartition('_')[0]}_")
    if re.fullmatch(_TRUTH_FEATURE, feature):
        return "truth"
    if _is(_CODE_FEATURE, feature):
        return "a code or a reference, not a quantity"
    if _is(_WEIGHT_LIKE, feature):
        return "a weight"
    return ""
