"""Train networks to separate top jets from light-quark and gluon jets, over several seeds, and print one table.

Run it with::

    python examples/top_tagging/run.py                       # makes 40,000 jets, trains on 20,000 of them
    python examples/top_tagging/run.py --quick               # 400 jets, one epoch, one seed: a test run
    python examples/top_tagging/run.py --public FOLDER       # train.h5, val.h5 and test.h5 of the reference set

Jets are made by ``generate.py`` (which needs the extra ``physics``), models by ``models.py``. An
interrupted run continues where it stopped, and a run with ``--only`` keeps the results of the others. ``--weaver`` and
``--lumin`` name the Python of environments with weaver-core and with LUMIN, whose networks are then also trained, by
the scripts in ``peers``, on the same jets, with the same epochs and batch size. For the whole reference set, as in the
published figures: ``--public FOLDER --train 1200000 --val 400000 --constituents 100 --epochs 20``, on a GPU.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lumigraph import EventDataset, to_rows

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from models import KINEMATICS, MODELS, MOMENTA, Entry, jet_schema  # noqa: E402

from benchmark import CLASSIFICATION, Kept, Row, checksum, measured_speed, print_table, trained_outputs  # noqa: E402

#: AUC on the reference set, each trained on its 1.2 million jets: H. Qu, L. Gouskos, arXiv:1902.08570; E. Moreno et
#: al., arXiv:1908.05318, as quoted by V. Mikuni, F. Canelli, arXiv:2001.05311; G. Kasieczka et al., arXiv:1902.09914.
PUBLISHED = {"ParticleNet": 0.986, "JEDI-net (interaction network)": 0.981, "LBN (Lorentz boost network)": 0.981}
#: Environment, script and features of the networks of other packages.
PEERS = {
    "ParticleNet (weaver-core)": ("weaver", "particlenet.py", KINEMATICS),
    "interaction network (LUMIN)": ("lumin", "lumin_interaction.py", KINEMATICS),
    "interaction network (LUMIN), four-momenta": ("lumin", "lumin_interaction.py", MOMENTA),
}


class Jets:
    """Training, validation and test jets, with any features of their constituents."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self._read: dict[tuple[str, ...], list[EventDataset]] = {}

    def parts(self, inputs: tuple[str, ...]) -> list[EventDataset]:
        """Return the three parts with these features."""
        if inputs not in self._read:
            schema = jet_schema(inputs, self.args.constituents)
            self._read[inputs] = self._public(schema) if self.args.public else self._generated(schema)
        return self._read[inputs]

    def _generated(self, schema: Any) -> list[EventDataset]:
        args, jets = self.args, EventDataset.from_file(self.args.jets, schema)
        ends = [0, args.train, args.train + args.val, len(jets)]
        if ends[2] >= ends[3]:
            raise SystemExit(f"{args.jets} has {len(jets)} jets, too few for --train {args.train} and --val {args.val}")
        return [jets[a:b] for a, b in pairwise(ends)]  # the file is in random order

    def _public(self, schema: Any) -> list[EventDataset]:
        parts = [EventDataset.from_file(self.args.public / f"{name}.h5", schema) for name in ("train", "val", "test")]
        rng = np.random.default_rng(0)
        for i, wanted in enumerate((self.args.train, self.args.val)):
            parts[i] = parts[i].select(rng.permutation(len(parts[i]))[:wanted])
        return parts

    def write(self, path: Path) -> Path:
        """Write the jets for the networks of other packages: padded arrays of all features."""
        names = (*MOMENTA, *KINEMATICS)
        parts = self.parts(names)
        padded = [to_rows(part.batch(), self.args.constituents) for part in parts]
        matrix, mask = (np.concatenate([values.numpy() for values in arrays]) for arrays in zip(*padded, strict=True))
        label = np.concatenate([part.y[:, 0].numpy() for part in parts])
        np.savez(path, matrix=matrix, mask=mask, label=label, features=names, train=len(parts[0]), val=len(parts[1]))
        return path


def own_row(entry: Entry, jets: Jets, args: argparse.Namespace) -> Row:
    """Return the row of one of `MODELS`: its training and its speed."""
    accelerator = "gpu" if args.device == "cuda" else args.device

    def train(seed: int) -> np.ndarray:
        parts = jets.parts(entry.inputs)
        options = {"lr": entry.lr, "accelerator": accelerator}
        return trained_outputs(entry.builder(parts[0]), parts, seed, args.epochs, args.batch_size, **options)

    def measure() -> dict[str, float]:
        events = jets.parts(entry.inputs)[0]
        return measured_speed(entry.builder(events), events, args.batch_size, args.device)

    return Row(repr(entry), train, measure)


def peer_row(python: str, script: str, inputs: tuple[str, ...], jets: Jets, args: argparse.Namespace) -> Row:
    """Return the row of a network of another package, trained and measured by a script in its environment."""

    def run(read: Callable[[Path], Any], *options: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path, out = jets.write(Path(folder) / "jets.npz"), Path(folder) / "out"
            told = ["--batch-size", args.batch_size, "--device", args.device, "--features", *inputs, *options]
            subprocess.run([python, HERE / "peers" / script, path, out, *map(str, told)], check=True)
            return read(out)

    return Row(
        f"{script} {' '.join(inputs)}",
        lambda seed: run(lambda out: np.load(f"{out}.npy"), "--epochs", args.epochs, "--seed", seed),
        lambda: run(lambda out: json.loads(Path(f"{out}.json").read_text()), "--speed"),
    )


def rows(jets: Jets, args: argparse.Namespace) -> dict[str, Row]:
    """Return the rows of the table."""
    found = {name: own_row(entry, jets, args) for name, entry in MODELS.items()}
    for name, (environment, script, inputs) in PEERS.items():
        if python := getattr(args, environment):
            found[name] = peer_row(python, script, inputs, jets, args)
    chosen = {name: row for name, row in found.items() if not args.only or any(text in name for text in args.only)}
    if not chosen:
        raise SystemExit(f"--only {' '.join(args.only)} chooses none of: {', '.join(found)}")
    return chosen


def read_command_line(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--jets", type=Path, help="file of jets; made by generate.py if missing")
    source.add_argument("--public", type=Path, help="folder with train.h5, val.h5 and test.h5 of the reference set")
    parser.add_argument("--folder", type=Path, default=Path("top_tagging"), help="folder for results (top_tagging)")
    parser.add_argument("--quick", action="store_true", help="400 jets, one epoch, one seed")
    parser.add_argument("--train", type=int, default=20_000, help="training jets (20000)")
    parser.add_argument("--val", type=int, default=4_000, help="validation jets (4000)")
    parser.add_argument("--constituents", type=int, default=48, help="leading constituents of a jet (48)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--only", nargs="+", default=[], help="rows whose names contain one of these texts")
    parser.add_argument("--speed", action="store_true", help="measure all speeds again")
    parser.add_argument("--weaver", help="Python of an environment with weaver-core")
    parser.add_argument("--lumin", help="Python of an environment with LUMIN")
    args = parser.parse_args(arguments)
    if args.quick:
        args.train, args.val, args.epochs, args.seeds = 200, 80, 1, 1
    if args.public is None and args.jets is None:
        args.jets = args.folder / ("quick.parquet" if args.quick else "jets.parquet")
    return args


def main(arguments: list[str] | None = None) -> None:
    """Train all missing rows and print the table."""
    args = read_command_line(arguments)
    torch.set_num_threads(1)  # batches are too small for a second thread
    if args.public is None and not args.jets.exists():
        number = 400 if args.quick else 40_000
        subprocess.run([sys.executable, HERE / "generate.py", "--out", args.jets, "--jets", str(number)], check=True)
    jets = Jets(args)
    parts = jets.parts(MOMENTA)
    settings = {"jets": checksum(*parts), "epochs": args.epochs, "batch_size": args.batch_size, "device": args.device}
    kept = Kept(args.folder / "results", settings | {"constituents": args.constituents})
    print(f"{len(parts[0])} training, {len(parts[1])} validation, {len(parts[2])} test jets", flush=True)
    outputs, speeds = kept.all(rows(jets, args), args.seeds, measure_again=args.speed)
    print_table("top jets", CLASSIFICATION, outputs, speeds, parts[2])
    if args.public is not None:
        print("\npublished, with all of the reference set and more epochs:")
        print("\n".join(f"{name:<45} AUC {value}" for name, value in PUBLISHED.items()))


if __name__ == "__main__":
    main()
