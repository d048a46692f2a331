"""Measure how fast events become Batches, against PyG's own ways and the loader of weaver-core, with either allocator.

    python tests/benchmarks/data.py [--weaver PYTHON] [--only NAME ...] [--events 240000] [--rounds 5] [--threads 2]

prints a table of ratios: medians over rounds in which all contestants take turns, with quartiles. Above 1 lumigraph is
faster. ``--weaver`` is the interpreter of an environment with weaver-core 0.5; without it its rows are left out.
Files are in the page cache: they have been read just before.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from lumigraph import from_jagged
from lumigraph.data import EventDataset, EventStream

sys.path.insert(0, str(Path(__file__).parent))
from jets import FEATURES, FEWEST, MOST, SCHEMA, write_jets
from peers import Worker
from tables import Row, print_table
from timing import paired, ratio, seconds

BATCH_SIZE = 512


class Files:
    """The same events as Parquet and as ROOT, two files of either."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.num_events, self.rounds = options.events, options.rounds
        folder = Path(self.folder.name)
        self.paths = {kind: write_jets(folder, suffix, self.num_events, 2) for kind, suffix in SUFFIXES.items()}

    def epoch(self, batches: Iterable[Batch]) -> Callable[[], float]:
        """Return the seconds of one epoch of a loader, and check that all events are there."""

        def measure() -> float:
            start = time.perf_counter()
            found = sum(batch.num_graphs for batch in batches)
            taken = time.perf_counter() - start
            assert found == self.num_events
            return taken

        return measure

    def speed(self, taken: list[float]) -> str:
        """Return events per second."""
        return f"{self.num_events / statistics.median(taken) / 1000:.0f} 000 events/s"


SUFFIXES = {"Parquet": "parquet", "ROOT": "root"}


def list_of_data(values: torch.Tensor, lengths: torch.Tensor, **fields: torch.Tensor) -> list[Data]:
    """Return the Data of each event, as a user of PyG makes them."""
    columns = {"x": values.split(lengths.tolist())} | {name: value.split(1) for name, value in fields.items()}
    return [Data(**dict(zip(columns, event, strict=True))) for event in zip(*columns.values(), strict=True)]


def jagged(files: Callable[[], Files], options: argparse.Namespace, weaver: Worker | None) -> Iterator[Row]:
    """Values and lengths to a Batch, against what PyG makes of a list of Data; the same contents."""
    lengths = torch.randint(FEWEST, MOST + 1, (BATCH_SIZE,), generator=torch.Generator().manual_seed(0))
    values = torch.randn(int(lengths.sum()), len(FEATURES))
    labels = {"y": torch.rand(BATCH_SIZE, 1), "weight": torch.rand(BATCH_SIZE)}
    slot = torch.cat([torch.arange(n) for n in lengths.tolist()])

    def made() -> list[Data]:
        events = list_of_data(values, lengths, **labels)
        for event, place in zip(events, slot.split(lengths.tolist()), strict=True):
            event.slot = place
        return events

    there = made()
    ours, theirs = from_jagged(values, lengths=lengths, **labels), Batch.from_data_list(there)
    assert all(torch.equal(ours[name], theirs[name]) for name in ("x", "slot", "batch", "ptr", "y", "weight"))
    collate, make, own = paired(
        [
            seconds(lambda: Batch.from_data_list(there)),
            seconds(lambda: Batch.from_data_list(made())),
            seconds(lambda: from_jagged(values, lengths=lengths, **labels)),
        ],
        max(options.rounds, 15),
    )
    yield Row("from_jagged", f"{1e6 * statistics.median(own):.0f} us")
    yield Row("from_jagged against from_data_list of Data that are there", ratio(collate, own), ("50", "50"))
    yield Row("from_jagged against making the Data, and from_data_list", ratio(make, own), ("50", "50"))


def loaders(files: Callable[[], Files], options: argparse.Namespace, weaver: Worker | None) -> Iterator[Row]:
    """Whole epochs, from files or memory, against PyG's DataLoader over a list of Data in memory."""
    f = files()
    everything = EventDataset.from_file(f.paths["Parquet"], SCHEMA)
    assert everything.x is not None
    assert everything.ptr is not None
    assert everything.y is not None
    assert everything.weight is not None
    lengths = everything.ptr.diff()
    fields = {"y": everything.y, "weight": everything.weight}

    def listed(kind: str) -> list[Data]:
        events = EventDataset.from_file(f.paths[kind], SCHEMA)
        return list_of_data(events.x, lengths, **fields)

    data = list_of_data(everything.x, lengths, **fields)
    for workers in (0, 2):
        extra = f", {workers} workers" if workers else ""
        contestants = [f.epoch(DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers))]
        for kind in SUFFIXES:
            stream = EventStream(f.paths[kind], SCHEMA)
            contestants.append(f.epoch(stream.loader(BATCH_SIZE, shuffle=True, num_workers=workers)))
        contestants.append(f.epoch(everything.loader(BATCH_SIZE, shuffle=True, num_workers=workers)))
        theirs, parquet, root, memory = paired(contestants, f.rounds)
        yield Row(f"PyG's DataLoader over a list in memory{extra}", f.speed(theirs))
        for name, taken in (("stream of Parquet", parquet), ("stream of ROOT", root), ("events in memory", memory)):
            yield Row(f"{name}{extra}", f.speed(taken))
            yield Row(f"{name} against PyG's DataLoader{extra}", ratio(theirs, taken), ("10", "10"))
    for kind in SUFFIXES:
        theirs, ours = paired(
            [
                seconds(lambda k=kind: listed(k), 0),
                seconds(lambda k=kind: EventDataset.from_file(f.paths[k], SCHEMA), 0),
            ],
            min(f.rounds, 3),
        )
        yield Row(f"{kind} into memory", f.speed(ours))
        yield Row(f"{kind} into memory, against into a list of Data", ratio(theirs, ours))


def against_weaver(files: Callable[[], Files], options: argparse.Namespace, weaver: Worker | None) -> Iterator[Row]:
    """Whole epochs of the same ROOT files, shuffled, in the loader of weaver-core."""
    for workers in (0, 1) if weaver else ():
        f = files()
        config = Path(f.folder.name) / "weaver.yaml"
        config.write_text(WEAVER_CONFIG)
        case = config, f.num_events, BATCH_SIZE, workers, *f.paths["ROOT"]
        stream = EventStream(f.paths["ROOT"], SCHEMA)
        ours = f.epoch(stream.loader(BATCH_SIZE, shuffle=True, num_workers=workers))
        theirs, own = paired([weaver.contestant(*case), ours], f.rounds)
        extra = f", {workers} worker" if workers else ""
        yield Row(f"weaver-core's loader, ROOT{extra}", f.speed(theirs))
        yield Row(f"stream of ROOT{extra}", f.speed(own))
        yield Row(f"stream of ROOT against weaver-core's loader{extra}", ratio(theirs, own), ("1", "1"))


#: The same columns: particles padded to the largest event with a mask, as its networks take them; label and weight.
WEAVER_CONFIG = f"""
treename: Events
new_variables:
  part_mask: ak.ones_like(Part_E)
preprocess:
  method: manual
inputs:
  features:
    length: {MOST}
    vars: [{", ".join(f"[Part_{feat}, null]" for feat in FEATURES)}]
  mask:
    length: {MOST}
    vars: [[part_mask, null]]
labels:
  type: custom
  value:
    truth: label
monitor_variables: [weight]
"""

CASES = {f.__name__: f for f in (jagged, loaders, against_weaver)}


def prepare(options: argparse.Namespace) -> tuple[Callable[[], Files], argparse.Namespace, Worker | None]:
    """Return what the cases are called with."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    made: list[Files] = []

    def files() -> Files:
        made.extend([] if made else [Files(options)])
        return made[0]

    return files, options, Worker(options.weaver, "weaver_worker.py") if options.weaver else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weaver", metavar="PYTHON", help="interpreter of an environment with weaver-core")
    parser.add_argument("--events", type=int, default=240_000)
    print_table(parser, CASES, prepare)
