"""What lumigraph is measured against: the obvious PyG layer, the bare products of matrices, and toolkits elsewhere."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from lumigraph.nn import InteractionConv


class ObviousConv(MessagePassing):
    """The interaction layer as PyG's documentation teaches it, with the weights of one of ours."""

    def __init__(self, conv: InteractionConv) -> None:
        super().__init__(aggr="sum")
        self.fr, self.fo = conv.fr, conv.fo

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return the updated particles."""
        return self.fo(torch.cat([x, self.propagate(edge_index, x=x)], dim=-1))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        """Return the effects."""
        return self.fr(torch.cat([x_i, x_j], dim=-1))


def products(pairs: int, channels: int, block: int, device: str = "cpu") -> Callable[[], None]:
    """Return the products of matrices of one layer for so many pairs, in blocks and without anything else."""
    a, w = torch.randn(block, channels, device=device), torch.randn(channels, channels, device=device)
    out = torch.empty(block, channels, device=device)

    def run() -> None:
        for _ in range(round(pairs / block)):
            torch.mm(a, w, out=out)

    return run


class Worker:
    """Another toolkit in a process of its own environment, timed on request.

    Parameters
    ----------
    python
        The interpreter of an environment with the toolkit.
    script
        A file beside this one that answers each case, a line, with seconds.
    """

    def __init__(self, python: str, script: str) -> None:
        self.script = script
        command = [python, str(Path(__file__).with_name(script))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def contestant(self, *case: object) -> Callable[[], float]:
        """Return a function that gives the seconds of one run of a case."""

        def measure() -> float:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            print(*case, file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the process of {self.script} has ended, see above")
            return float(line)

        return measure
