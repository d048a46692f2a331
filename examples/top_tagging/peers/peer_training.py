"""Train a network of another package on the jets of the benchmark; needs only PyTorch and NumPy, not lumigraph.

The jets are in an .npz file: ``matrix`` (jets, constituents, features), ``mask`` (jets, constituents), ``label``
(jets,), the names of the ``features``, and the numbers of ``train`` and ``val`` jets, which come first. Outputs on the
other jets are written as ``OUT.npy``; with ``--speed`` nothing is trained, and ``OUT.json`` holds parameters and speed.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TIMED_STEPS, WARM_UP = 12, 3
INFERENCE_BATCH = 1024


class Jets:
    """The jets of a file: features by name, a mask and labels, as tensors."""

    def __init__(self, path: Path, names: Sequence[str], device: str) -> None:
        with np.load(path) as file:
            columns = [file["features"].tolist().index(name) for name in names]
            self.x = torch.from_numpy(file["matrix"][..., columns]).to(device)
            self.mask = torch.from_numpy(file["mask"]).to(device)
            self.label = torch.from_numpy(file["label"]).float().to(device)
            train, val = int(file["train"]), int(file["val"])
        self.train, self.val, self.test = (
            torch.arange(*ends, device=device)
            for ends in ((0, train), (train, train + val), (train + val, len(self.x)))
        )

    def standardise(self) -> None:
        """Give features mean 0 and standard deviation 1 over training jets; 0 in empty slots."""
        there = self.x[self.train][self.mask[self.train]]
        self.x = (self.x - there.mean(0)) / there.std(0) * self.mask.unsqueeze(-1)


def run(
    names: Sequence[str],
    make: Callable[[Jets], nn.Module],
    score: Callable[[nn.Module, Tensor, Tensor], Tensor],
    *,
    lr: float,
    weight_decay: float,
    final_lr: float,
) -> None:
    """Read the command line, then train and test, or measure the speed.

    ``make`` builds a network for jets, ``score`` computes the logit of a top, (jets,), from a network, features (jets,
    constituents, features) and mask.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("jets", type=Path)
    parser.add_argument("out", type=Path, help="path of the output files, without suffix")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--features", nargs="+", default=names, help="features of a constituent")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--speed", action="store_true")
    args = parser.parse_args()
    keep_pages()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    jets = Jets(args.jets, args.features, args.device)
    net = make(jets).to(args.device)

    def logits(rows: Tensor) -> Tensor:
        return score(net, jets.x[rows], jets.mask[rows])

    optimiser = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=weight_decay)
    if args.speed:
        found = speed(net, logits, jets, optimiser, args.batch_size, args.device)
        args.out.with_suffix(".json").write_text(json.dumps(found, indent=1))
        return
    steps = args.epochs * -(-len(jets.train) // args.batch_size)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, args.lr, steps, pct_start=0.4, anneal_strategy="linear", div_factor=10, final_div_factor=final_lr,
        cycle_momentum=False,
    )  # fmt: skip
    best: tuple[float, dict[str, Tensor]] = (float("inf"), {})
    for epoch in range(args.epochs):
        net.train()
        for rows in jets.train[torch.randperm(len(jets.train)).to(args.device)].split(args.batch_size):
            optimiser.zero_grad()
            step_loss(logits(rows), jets.label[rows]).backward()
            optimiser.step()
            cycle.step()
        val_loss = float(step_loss(outputs(net, logits, jets.val), jets.label[jets.val]))
        print(f"epoch {epoch + 1}: validation loss {val_loss:.4f}", flush=True)
        if val_loss < best[0]:
            best = val_loss, {name: values.clone() for name, values in net.state_dict().items()}
    net.load_state_dict(best[1])
    np.save(args.out.with_suffix(".npy"), outputs(net, logits, jets.test).sigmoid().cpu().numpy())


def step_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross entropy."""
    return nn.functional.binary_cross_entropy_with_logits(logits, label)


def outputs(net: nn.Module, logits: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return the logits of jets."""
    net.eval()
    with torch.no_grad():
        return torch.cat([logits(part) for part in rows.split(INFERENCE_BATCH)])


def speed(
    net: nn.Module,
    logits: Callable[[Tensor], Tensor],
    jets: Jets,
    optimiser: torch.optim.Optimizer,
    batch_size: int,
    device: str,
) -> dict[str, Any]:
    """Return parameters and events per second, from the median of some steps: CPU time, or wall time on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in net.parameters())}
    for name in ("training", "inference"):
        net.train(name == "training")
        taken = []
        for rows in jets.train.split(batch_size)[: WARM_UP + TIMED_STEPS]:
            start = clock()
            with torch.set_grad_enabled(name == "training"):
                out = logits(rows)
            if name == "training":
                optimiser.zero_grad()
                step_loss(out, jets.label[rows]).backward()
                optimiser.step()
            if device != "cpu":
                torch.cuda.synchronize()
            taken.append(clock() - start)
        found[name] = batch_size / float(np.median(taken[WARM_UP:] or taken))
    return found


def keep_pages() -> None:
    """Let glibc keep freed memory, as lumigraph does: without it ParticleNet takes twice as long on a CPU."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(-3, 2**30)
    mallopt(-1, 2**31 - 1)
