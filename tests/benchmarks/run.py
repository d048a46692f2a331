"""Measure the fully connected layer and the boost network against their peers, with either allocator.

    python tests/benchmarks/run.py [--lumin PYTHON] [--only NAME ...] [--rounds 15] [--threads 2]

prints a table of ratios: medians over rounds in which all contestants take turns, with quartiles. Above 1 lumigraph is
faster. ``--lumin`` is the interpreter of an environment with LUMIN 0.9.1; without it its rows are left out.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lumigraph import CompleteGraph, InteractionNet, LorentzBoostNet
from lumigraph.nn import InteractionConv

sys.path.insert(0, str(Path(__file__).parent))
from peers import ObviousConv, Worker, products
from tables import Row, print_table
from timing import paired, ratio, seconds

FEATURES, WIDTH = 6, 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Setting:
    """The layer, events and the peers."""

    def __init__(self, lengths: list[int]) -> None:
        self.conv = InteractionConv(FEATURES, WIDTH, WIDTH, effect_hidden=(WIDTH,), out_hidden=(WIDTH,)).to(DEVICE)
        self.obvious = ObviousConv(self.conv)
        self.x = torch.randn(sum(lengths), FEATURES, device=DEVICE, requires_grad=True)
        self.graph = CompleteGraph.from_lengths(torch.tensor(lengths, device=DEVICE))
        self.pairs = sum(n * (n - 1) for n in lengths)

    def forward(self, conv: torch.nn.Module, edges: object) -> Callable[[], float]:
        x = self.x.detach()

        def run() -> None:
            with torch.no_grad():
                conv(x, edges)

        return seconds(run)

    def step(self, conv: torch.nn.Module, edges: object) -> Callable[[], float]:
        def run() -> None:
            conv.zero_grad(set_to_none=True)
            self.x.grad = None
            conv(self.x, edges).sum().backward()

        return seconds(run)


def against_pyg(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Forward and training step against the obvious PyG layer, and as a fraction of the products of matrices."""
    for n in (32, 64, 128):
        s = Setting([n] * (8192 // n))
        edge_index = s.graph.edge_index()
        ways = [(s.obvious, edge_index), (s.conv, s.graph)]
        bare = [seconds(products(s.pairs, WIDTH, block, DEVICE)) for block in (2048, 4096, 8192)]
        bare = [min(bare, key=lambda measure: min(measure() for _ in range(3)))]
        theirs, ours, least = paired([s.forward(*way) for way in ways] + bare, rounds)
        yield Row(f"forward against PyG, n = {n}", ratio(theirs, ours), ("5", "2"))
        yield Row(f"forward as a fraction of the products, n = {n}", ratio(least, ours), ("0.65", "0.65"))
        theirs, ours, least = paired([s.step(*way) for way in ways] + bare, rounds)
        yield Row(f"training step against PyG, n = {n}", ratio(theirs, ours), ("3", "1.5"))
        yield Row(f"training step as a fraction of four times, n = {n}", ratio(least, ours, 4), ("0.55", "0.6"))


def against_lumin(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Forward against LUMIN's InteractionNet, which multiplies by dense incidence matrices."""
    for n in (32, 64, 128) if lumin else ():
        vecs, feats = [f"p{i}" for i in range(n)], [f"f{i}" for i in range(FEATURES)]
        net = InteractionNet(
            [f"{v}_{f}" for v in vecs for f in feats], vecs, feats, intfunc_depth=2, intfunc_width=WIDTH,
            intfunc_out_sz=WIDTH, outfunc_depth=2, outfunc_width=WIDTH, outfunc_out_sz=WIDTH, agg_method="sum",
        ).eval()  # fmt: skip
        x = torch.empty(8192 // n, 0), torch.randn(8192 // n, FEATURES, n)
        theirs, ours = paired([lumin.contestant("interaction", n, 8192 // n), forward_of(net, x)], rounds)
        yield Row(f"forward against LUMIN's interaction network, n = {n}", ratio(theirs, ours), ("6", "2.5"))


def forward_of(net: torch.nn.Module, x: object) -> Callable[[], float]:
    """Return the time of a forward pass of a head."""

    def run() -> None:
        with torch.no_grad():
            net(x)

    return seconds(run)


def boost(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Forward of the boost network against LUMIN's: 16 objects, 32 combinations, default features."""
    if lumin:
        vecs, feats = [f"p{i}" for i in range(16)], ["px", "py", "pz", "E"]
        net = LorentzBoostNet([f"{v}_{f}" for v in vecs for f in feats], vecs, feats, n_particles=32).eval()
        p = torch.randn(1024, 16, 3)
        x = torch.empty(1024, 0), torch.cat([p, (p.square().sum(-1, keepdim=True) + 1).sqrt()], dim=-1)
        theirs, ours = paired([lumin.contestant("boost", 16, 32, 1024), forward_of(net, x)], rounds)
        yield Row("forward of the boost network against LUMIN's", ratio(theirs, ours), ("5", "2.5"))


def ragged(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Events of 5 to 120 particles against as many pairs in events of 64."""
    lengths = torch.randint(5, 121, (128,), generator=torch.Generator().manual_seed(0)).tolist()
    s = Setting(lengths)
    equal = Setting([64] * round(s.pairs / (64 * 63)))
    for what, way in (("forward", Setting.forward), ("training step", Setting.step)):
        a, b = paired([way(equal, equal.conv, equal.graph), way(s, s.conv, s.graph)], rounds)
        found = ratio(a, b, s.pairs / equal.pairs)
        yield Row(f"{what}, 5 to 120 particles against equal events", found, ("0.8", "0.8"))


def small(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Where overhead rules: few particles, single events."""
    for n, events in ((8, 1024), (8, 1), (32, 1), (128, 1)):
        s = Setting([n] * events)
        edge_index = s.graph.edge_index()
        for what, way in (("forward", Setting.forward), ("training step", Setting.step)):
            theirs, ours = paired([way(s, s.obvious, edge_index), way(s, s.conv, s.graph)], rounds)
            yield Row(f"{what} against PyG, n = {n}, B = {events}", ratio(theirs, ours), ("1", "1"))


def memory(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Peak memory of a training step beyond what the process had, n = 1024, B = 8, and one event of it in PyG."""
    script = """
import sys
sys.path.insert(0, {folder!r})
import run
s = run.Setting([64]); s.conv(s.x, s.graph).sum().backward()  # whatever is set up once
def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
ours = {ours}
s = run.Setting([1024] * (8 if ours else 1))
edges = s.graph if ours else s.graph.edge_index()
open("/proc/self/clear_refs", "w").write("5")  # the peak is that from here on
before = status("VmRSS")
(s.conv if ours else s.obvious)(s.x, edges).sum().backward()
print(status("VmHWM") - before)
"""

    def peak(ours: bool) -> float:
        code = script.format(folder=str(Path(__file__).parent), ours=ours)
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    if DEVICE == "cpu" and sys.platform == "linux":
        yield Row("peak memory of a training step, n = 1024, B = 8", f"{peak(True):.0f} MB", ("< 200 MB", "< 200 MB"))
        yield Row("the same with a list of edges: 8 times one event", f"{8 * peak(False) / 1024:.1f} GB")


def crowded(rounds: int, lumin: Worker | None) -> Iterator[Row]:
    """Events of 4096 particles on a GPU: whether they run."""
    if DEVICE == "cuda":
        s = Setting([4096])
        times = paired([s.forward(s.conv, s.graph), s.step(s.conv, s.graph)], rounds)
        for what, taken in zip(("forward", "training step"), times, strict=True):
            yield Row(f"{what}, n = 4096, B = 1", f"{1e3 * min(taken):.1f} ms")


CASES = {f.__name__: f for f in (against_pyg, against_lumin, ragged, small, memory, boost, crowded)}


def prepare(options: argparse.Namespace) -> tuple[int, Worker | None]:
    """Return what the cases are called with."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options.rounds, Worker(options.lumin, "lumin_worker.py") if options.lumin and DEVICE == "cpu" else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lumin", metavar="PYTHON", help="interpreter of an environment with LUMIN 0.9.1")
    print_table(parser, CASES, prepare)
