"""A report on a model as one HTML page: description, performance, importance of inputs, and events."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
import yaml

from ...blocks.registry import to_plain
from ...data import Events
from ...data.inspection import ColumnReport
from ...events.files import check_place, replacing
from ...model import Model
from ...version import __version__
from ..events.heads import model_name
from ..page import cards, details, gallery, page, paragraph, section, table
from ..style import PlotSettings
from .figures import event_figures, importance_figures, inside_figures, prediction_figures, training_figures
from .gathering import Extreme, Gathered, gather

__all__ = ["write_report"]


def write_report(
    model: Model,
    events: Events,
    path: str | os.PathLike[str],
    *,
    title: str = "Report",
    overwrite: bool = False,
    settings: PlotSettings | None = None,
) -> Path:
    """Write a page on a model and its performance on labelled events: one file without scripts or external resources.

    It holds figures of merit with uncertainties; ROC curve, rejection, scores and calibration, or confusion matrix, or
    residuals and resolution; training curves; permutation importance; the inside of an interaction or a boost
    network; the ten events with the highest and the ten with the lowest predictions; ranges of all columns; and the
    configuration with all versions.

    Parameters
    ----------
    model
        A trained model.
    events
        Events with targets that it was not trained on, read chunk by chunk.
    path
        File to write.
    title
        Heading of the page.
    overwrite
        Whether an existing file may be replaced.
    settings
        Colours and sizes of the figures.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If there are no events, they have no targets, or figures of merit are not defined for them (one class only).
    OSError
        If the file exists and ``overwrite`` is not set, or cannot be written; raised before the work starts.

    Notes
    -----
    **Limits.** Importance is computed from about 3,000 events, chosen at random.
    """
    target = check_place(path, overwrite)
    settings = settings or PlotSettings()
    found, metrics = gather(model, events), model.metrics(events)
    source = f"of {events.name}" if events.name else "in memory"
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    subtitle = f"{model_name(model)} · {model.objective} · {len(found.out):,} events {source} · {made}"
    sections = [
        ("Performance", _performance(model, metrics, found, settings)),
        ("Training", _training(model, settings)),
        ("Importance of the inputs", _looked_at(model, found, settings)),
        ("Events", _events(model, found, settings)),
        ("Data", _data(source, model, found)),
        ("Model", _model(model)),
    ]
    with replacing(target) as temporary:
        temporary.write_text(page(title, subtitle, sections), encoding="utf-8")
    return target


def _performance(model: Model, metrics: Mapping[str, Any], found: Gathered, settings: PlotSettings) -> str:
    shown = [
        (_merit(name), f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in metrics.items()
    ]
    weighted = "Events count with their weights. " if found.weight is not None else ""
    meaning = (
        "1/ε_B is the background rejection at a signal efficiency ε_S. " if model.objective == "classification" else ""
    )
    note = (
        f"{meaning}{weighted}Uncertainties are statistical, one standard deviation: of these events, not of training."
    )
    return cards(shown) + paragraph(note) + gallery(prediction_figures(model, found, settings))


def _merit(name: str) -> str:
    """Return the name of a figure of merit for readers.

    Examples
    --------
    >>> _merit("auc"), _merit("rejection at 30%"), _merit("auc label2")
    ('AUC', '1/ε_B at ε_S = 30%', 'AUC label2')
    """
    if name.startswith("rejection at "):
        efficiency, _, target = name.removeprefix("rejection at ").partition(" ")
        return f"1/ε_B at ε_S = {efficiency} {target}".rstrip()
    return f"AUC{name.removeprefix('auc')}" if name.startswith("auc") else name


def _training(model: Model, settings: PlotSettings) -> str:
    figures = list(training_figures(model, settings))
    return gallery(figures) or paragraph("The model has no history: it was not trained, or not with its method fit.")


def _looked_at(model: Model, found: Gathered, settings: PlotSettings) -> str:
    note = (
        f"{_chosen(found)}: how much worse the model gets when a feature, or a kind of object with all its features, "
        "is taken from other events. Information that other features also hold is not missed."
    )
    importance = gallery(importance_figures(model, found.some, settings))
    inside = gallery(inside_figures(model, found.most.events, settings))
    return section("Permutation importance", paragraph(note), importance) + section("Inside the network", inside)


def _chosen(found: Gathered) -> str:
    if len(found.some) == len(found.out):
        return "From all events"
    return f"From {len(found.some):,} of the events, chosen at random"


def _events(model: Model, found: Gathered, settings: PlotSettings) -> str:
    if not {"px", "py"} <= set(found.some.schema.feats_per_vec):
        return paragraph("Events are not drawn: their particles have no px and py.")
    target = found.some.schema.targets[0]
    most, least = {
        "classification": ("Most signal-like", "Least signal-like"),
        "multiclass": ("Surest of their class", "Least sure of their class"),
        "regression": (f"Highest predicted {target}", f"Lowest predicted {target}"),
    }[model.objective]
    note = "Area of a marker: transverse momentum. Thick rim: b-tagged. Dashed line: azimuth of the MET."
    parts = [section(name, _drawn(model, part, settings)) for name, part in ((most, found.most), (least, found.least))]
    return paragraph(note) + "".join(parts)


def _drawn(model: Model, extreme: Extreme, settings: PlotSettings) -> str:
    captions = [_caption(model, extreme, number) for number in range(len(extreme.rank))]
    return gallery(event_figures(extreme.events, captions, settings), least="19rem")


def _caption(model: Model, extreme: Extreme, number: int) -> str:
    """Return the caption of an event: prediction, truth and identifiers."""
    events, out = extreme.events, extreme.out[number]
    truth = float(events.y[number, 0]) if events.y is not None else math.nan
    if model.objective == "multiclass":
        said = f"class {out.argmax()} with {out.max():.3g}, in truth class {truth:.0f}"
    elif model.objective == "regression":
        said = f"predicted {out[0]:.4g}, in truth {truth:.4g}"
    else:
        said = f"score {out[0]:.4g}, in truth {'signal' if truth == 1 else 'background'}"
    ids = {name: values[number] for name, values in events.ids.items()} or {"row": events.numbers[number]}
    return f"{said[0].upper()}{said[1:]} ({', '.join(f'{name} {value}' for name, value in ids.items())})."


def _data(source: str, model: Model, found: Gathered) -> str:
    facts = [("source", source.removeprefix("of ")), ("events", f"{len(found.out):,}")]
    if found.weight is not None:
        facts.append(("sum of weights", f"{found.weight.sum(dtype=np.float64):.6g}"))
    if model.objective != "regression":
        facts += [(f"events of class {label:g}", f"{count:,}") for label, count in _classes(found)]
    schema = {name: value for name, value in found.some.schema.to_dict().items() if value}
    rows = [_range(role, column) for role, column in found.ranges]
    ranges = table(["column", "what it is", "minimum", "mean", "maximum", "zero"], rows, texts=2)
    note = "Inputs of the model, after all selections; features of particles over all particles of all events."
    return (
        table([], facts)
        + section("Ranges", paragraph(note), ranges)
        + section("Schema", details("Roles of the columns", _yaml(schema)))
    )


def _classes(found: Gathered) -> Iterator[tuple[float, int]]:
    labels, counts = np.unique(found.y[:, 0], return_counts=True)
    return zip(labels.tolist(), counts.tolist(), strict=True)


def _range(role: str, column: ColumnReport) -> list[str]:
    numbers = [f"{value:.4g}" for value in (column.minimum, column.mean, column.maximum)]
    return [column.name, role, *numbers, f"{column.zeros / column.count:.1%}"]


def _model(model: Model) -> str:
    trainable = f"{model.get_param_count():,}"
    every = f"{model.get_param_count(trainable=False):,}"
    versions = [
        ("lumigraph", __version__), ("torch", torch.__version__), ("torch-geometric", torch_geometric.__version__),
        ("Python", platform.python_version()), ("system", platform.platform()),
    ]  # fmt: skip
    return (
        table(
            [],
            [
                ("parameters", every if every == trainable else f"{every}, {trainable} of them trainable"),
                ("output", f"{model.n_out} ({model.objective})"),
            ],
        )
        + section("Configuration", f"{details('Head, body and tail', _yaml(_configuration(model)))}")
        + section("Layers", details("All layers", str(model.model)))
        + section("Versions that made this report", table([], versions))
    )


def _configuration(model: Model) -> dict[str, Any]:
    """Return the description of a model in the form of a configuration file."""
    builder = model.model_builder
    found: dict[str, Any] = {"objective": model.objective, "n_out": model.n_out}
    for part in ("head", "body", "tail"):
        block, args = _plain(getattr(builder, part)), _plain(dict(builder.model_args.get(part, {})))
        found[part] = {**block, "args": {**block.get("args", {}), **args}} if isinstance(block, dict) else block
    if builder.cat_embedder is not None:
        names, sizes = builder.cat_embedder.cat_names, builder.cat_embedder.cat_szs
        found["categories"] = dict(zip(map(str, names), map(int, sizes), strict=True))
    return {**found, "loss": _plain(builder.loss), "optimiser": _plain(builder.opt_args)}


def _plain(value: Any) -> Any:
    try:
        return to_plain(value)
    except TypeError:  # a custom part
        return repr(value)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
