"""The ``lumigraph`` command: fit, predict, metrics, report, export and inspect, from a YAML file or from options."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from ..data.loading.memory import keep_pages
from ..events.errors import near
from ..training.config import TrainConfig
from ..version import __version__
from .configuration import DataConfig, ModelConfig, builder_of, events_of

__all__ = ["DataConfig", "ModelConfig", "export", "fit", "inspect", "main", "metrics", "predict", "report"]


def fit(
    data: DataConfig,
    model: ModelConfig,
    training: TrainConfig,
    out: str,
    logger: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a model, test it on held-back events, and save it with its pictures.

    Parameters
    ----------
    data
        Events.
    model
        Model.
    training
        Training.
    out
        Folder for model.pt, history.csv, checkpoints and pictures.
    logger
        A Lightning logger in addition to history.csv: its name in lightning.pytorch.loggers, and args.
    resume
        Continue from the last checkpoint in the folder.
    overwrite
        Replace the training in the folder.
    """
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    from ..data import reweighted
    from ..model import Model
    from ..model.measuring import measured
    from ..plotting import draw_results
    from ..training.optimiser import optimiser_of_training

    folder, first = Path(out), getattr(rank_zero_only, "rank", 0) == 0  # only the first process prints and writes
    if not (overwrite or resume) and (
        (folder / "model.pt").exists() or (folder / "checkpoints" / "last.ckpt").exists()
    ):
        raise FileExistsError(f"{folder} already holds a training: use --resume, --overwrite, or another --out")
    # find misspelt settings before reading events
    builder, logs = builder_of(model, data.event_schema), _logger(logger) if logger else False
    optimiser_of_training(builder.opt_args, training)
    train, val, test = events_of(data)
    builder = measured(builder, train, (val, test))
    torch.manual_seed(training.seed)
    trained = Model(builder)
    if first:
        print(f"{trained}\n{len(train)} training, {len(val)} validation, {len(test)} test events", flush=True)
    if data.reweight is not None:
        train = reweighted(train, **data.reweight)
    trained.fit(
        training.n_epochs, train, data.batch_size, val=val, loading=data.loading, folder=folder, resume=resume,
        overwrite=overwrite, config=training, logger=logs,
    )  # fmt: skip
    if not first:
        return
    path = trained.save(folder / "model.pt", overwrite=True)
    print(f"\non the {len(test)} held-back test events:")
    _print_metrics(trained.metrics(test))
    draw_results(trained, test, folder)
    print(f"model: {path}\npictures and history.csv: {folder}")


def predict(
    model: str, file: str, out: str | None = None, columns: Literal["ids", "all"] = "ids", overwrite: bool = False
) -> None:
    """Write the scores of a model with the event identifiers, in the order of the input.

    Parameters
    ----------
    model
        Model file.
    file
        ROOT (file.root:tree), Parquet, HDF5 or CSV file, or a pattern for several; it needs no labels or weights.
    out
        File to write, its suffix sets the format; by default the name of the input with _scores added, in this folder.
    columns
        Columns to write with the scores: the identifiers of an event, or all columns of the input.
    overwrite
        Replace the file if it exists.
    """
    from ..data import check_writable, expand_paths, split_path
    from ..model import Model

    files = expand_paths(file)
    source = Path(split_path(files[0])[0])
    name = source.name.split(".")[0]
    if len(files) > 1 and out is None:
        raise ValueError(
            f"--out must be given for several files, got {len(files)} files in {file}: it holds all their scores"
        )
    target = out if out is not None else f"{name}_scores{source.name[len(name) :]}"
    check_writable(target, overwrite)
    found = Model.load(model).predict_to_file(files, target, columns=columns, overwrite=overwrite)
    print(f"{found['events']} events: {', '.join(found['columns'])} -> {target}")
    if found["left_out"]:
        print(f"left out, as they are not numeric: {', '.join(found['left_out'])}")


def metrics(model: str, file: str, pictures: str | None = None) -> None:
    """Print loss and figures of merit of a model on events with targets, as Model.metrics returns them.

    Parameters
    ----------
    model
        Model file.
    file
        ROOT (file.root:tree), Parquet, HDF5 or CSV file.
    pictures
        Folder for pictures; by default none are drawn.
    """
    from ..data import EventStream
    from ..model import Model
    from ..model.prediction import need_schema

    loaded = Model.load(model)
    events = EventStream(file, need_schema(loaded.model_builder))
    _print_metrics(loaded.metrics(events))
    if pictures is not None:
        from ..plotting import draw_results

        draw_results(loaded, events, pictures)
        print(f"pictures: {pictures}")


def export(
    model: str,
    out: str,
    form: Literal["padded", "jagged"] = "padded",
    events: str | None = None,
    quantize: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model as an ONNX (.onnx) or torch.export (.pt2) file, compared with the model.

    Parameters
    ----------
    model
        Model file.
    out
        File to write, its suffix sets the format.
    form
        Layout of particles: padded, a matrix with a mask; or jagged, those of all events with their number per event.
    events
        File with events for a further comparison; with targets, figures of merit before and after are printed.
    quantize
        Round matrices to int8.
    overwrite
        Replace the file if it exists.
    """
    from ..model import Model

    loaded = Model.load(model)
    print(loaded.export(out, form=form, quantize=quantize, events=events, overwrite=overwrite))


def report(model: str, file: str, out: str = "report.html", overwrite: bool = False) -> None:
    """Write a page on a model and its performance on events with targets: figures, events, data and versions.

    Parameters
    ----------
    model
        Model file.
    file
        ROOT (file.root:tree), Parquet, HDF5 or CSV file, or a pattern for several.
    out
        HTML file to write; it includes all pictures.
    overwrite
        Replace the file if it exists.
    """
    from ..data import EventStream
    from ..events.files import check_place
    from ..model import Model
    from ..model.prediction import need_schema
    from ..plotting import write_report

    check_place(out, overwrite)
    loaded = Model.load(model)
    events = EventStream(file, need_schema(loaded.model_builder))
    path = write_report(loaded, events, out, title=f"Report on {model}", overwrite=overwrite)
    print(f"{len(events)} events -> {path}")


def inspect(file: str, columns: list[str] | None = None, yaml: bool = False) -> None:
    """Print the contents of a file, and a schema of its events to paste into a configuration.

    Parameters
    ----------
    file
        ROOT (file.root:tree), Parquet, HDF5 or CSV file.
    columns
        Columns to inspect, as [ht,Jet_px]; by default all.
    yaml
        Print only the schema.
    """
    from ..data.inspection import inspect_file
    from ..data.inspection.report_text import report_text
    from ..data.inspection.suggestion import schema_yaml, suggested_schema

    report = inspect_file(file, columns)
    width = min(shutil.get_terminal_size((100, 24)).columns, 160)
    print(schema_yaml(report, suggested_schema(report), width) if yaml else report_text(report, width))


def _print_metrics(found: dict[str, Any]) -> None:
    for name, value in found.items():
        print(f"  {name:<20} {value:.4g}" if isinstance(value, float) else f"  {name:<20} {value}")


def _logger(config: dict[str, Any]) -> Any:
    from lightning.pytorch import loggers

    name = str(config.get("name", ""))
    if name not in loggers.__all__:
        raise ValueError(f"logger.name must be a Lightning logger, got {name!r}: {near(name, loggers.__all__)}")
    return getattr(loggers, name)(**config.get("args", {}))


_FLAGS = {
    "resume": "continue from the last checkpoint in the folder",
    "overwrite": "replace existing output; without it nothing is overwritten",
    "yaml": "print only the schema",
    "quantize": "round matrices to int8",
}


def _parser() -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="lumigraph", version=__version__, exit_on_error=False,
        description="Graph deep learning for particle physics: the particles of an event are the nodes of a graph.",
    )  # fmt: skip
    commands = parser.add_subcommands()
    for command in (fit, predict, metrics, report, export, inspect):
        sub = ArgumentParser(exit_on_error=False, description=str(command.__doc__).splitlines()[0])
        if command is fit:
            sub.add_argument("--config", action="config", help="YAML file with any of these options")
        flags: set[Any] = _FLAGS.keys() & set(signature(command).parameters)
        sub.add_function_arguments(command, as_positional=command is not fit, skip=flags)
        for flag in sorted(flags):
            sub.add_argument(f"--{flag}", action="store_true", help=_FLAGS[flag])
        commands.add_subcommand(command.__name__, sub)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 success, 1 bad data, 2 bad options, 130 Ctrl-C."""
    from jsonargparse import ArgumentError

    parser = _parser()
    commands: dict[str, Any] = {
        "fit": fit,
        "predict": predict,
        "metrics": metrics,
        "report": report,
        "export": export,
        "inspect": inspect,
    }
    try:
        options = parser.parse_args(args)
    except ArgumentError as error:
        return _complain(_with_hint(str(error), parser), 2)
    try:
        values = parser.instantiate(options)[options.subcommand].as_dict()
        values.pop("config", None)
        keep_pages()
        commands[options.subcommand](**values)
    except KeyboardInterrupt as error:
        return _complain(str(error) or "interrupted", 130)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("LUMIGRAPH_TRACEBACK"):
            raise
        text = str(error)
        if isinstance(error, OSError) and error.strerror and error.filename:
            text = f"{error.filename}: {error.strerror}"
        # a note names what was already written
        return _complain("; ".join([text, *getattr(error, "__notes__", [])]), 1)
    return 0


def _complain(message: str, status: int) -> int:
    print(f"lumigraph: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _with_hint(message: str, parser: Any) -> str:
    """Add the nearest names to an error about an unknown option."""
    found = re.search(r"ubcommand '(\w+)' does not accept option '([^']+)'", message)
    if not found:
        return message
    command, name = found.groups()
    known = [a.dest for a in parser._subcommands_action._name_parser_map[command]._actions if a.dest != "help"]
    return f"{command} has no option {name!r}: {near(name, known)}"
