"""Times LUMIN's heads; runs in an environment with LUMIN 0.9.1, and imports nothing of lumigraph.

It reads a case per line, ``interaction N EVENTS`` or ``boost OBJECTS PARTICLES EVENTS``, and answers with the seconds
of one forward pass. Its allocator is that of the process which started it.
"""

import ctypes
import os
import sys
import time

import torch

if os.environ.get("KEEP_PAGES") == "1":
    ctypes.CDLL(None).mallopt(-3, 2**30)
    ctypes.CDLL(None).mallopt(-1, 2**31 - 1)
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
say, sys.stdout = sys.stdout, sys.stderr  # LUMIN prints

from lumin.nn.models.blocks import head  # noqa: E402


def made(kind, *numbers):
    """A forward pass of a head on random events."""
    if kind == "interaction":
        n, events = numbers
        vecs, feats = [f"p{i}" for i in range(n)], [f"f{i}" for i in range(6)]
        block = getattr(head, "OldInteractionNet", None) or head.InteractionNet
        net = block(
            [f"{v}_{f}" for v in vecs for f in feats], vecs, feats, intfunc_depth=2, intfunc_width=64,
            intfunc_out_sz=64, outfunc_depth=2, outfunc_width=64, outfunc_out_sz=64, agg_method="sum",
        )  # fmt: skip
        x = torch.randn(events, 6, n)
    else:
        n, particles, events = numbers
        vecs, feats = [f"p{i}" for i in range(n)], ["px", "py", "pz", "E"]
        net = head.LorentzBoostNet([f"{v}_{f}" for v in vecs for f in feats], vecs, feats, n_particles=particles)
        p = torch.randn(events, n, 3)
        x = torch.cat([p, (p.square().sum(-1, keepdim=True) + 1).sqrt()], dim=-1)
    net.eval()
    flat = torch.zeros(len(x), 0)

    def run():
        with torch.no_grad():
            net((flat, x))

    run()
    start = time.perf_counter()
    run()
    return run, max(1, int(0.05 / (time.perf_counter() - start)))


cases = {}
for line in sys.stdin:
    kind, *numbers = line.split()
    if line not in cases:
        cases[line] = made(kind, *map(int, numbers))
    run, count = cases[line]
    start = time.perf_counter()
    for _ in range(count):
        run()
    print((time.perf_counter() - start) / count, file=say, flush=True)
