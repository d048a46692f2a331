"""Times weaver-core's loader; runs in an environment with weaver-core 0.5, and imports nothing of lumigraph.

It reads a case per line, ``CONFIG EVENTS BATCH_SIZE WORKERS FILE...``, and answers with the seconds of one epoch. Its
allocator is that of the process which started it.
"""

import ctypes
import os
import sys
import time

import torch
from torch.utils.data import DataLoader

if os.environ.get("KEEP_PAGES") == "1":
    ctypes.CDLL(None).mallopt(-3, 2**30)
    ctypes.CDLL(None).mallopt(-1, 2**31 - 1)
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
say, sys.stdout = sys.stdout, sys.stderr  # weaver prints

from weaver.utils.dataset import SimpleIterDataset  # noqa: E402

loaders = {}
for line in sys.stdin:
    config, events, batch_size, workers, *files = line.split()
    if line not in loaders:
        # a file at a time, the fastest of its ways: it reads the next one in a thread
        dataset = SimpleIterDataset({"jets": files}, config, for_training=True, fetch_by_files=True, fetch_step=1)
        loaders[line] = DataLoader(dataset, batch_size=int(batch_size), num_workers=int(workers))
        sum(1 for _ in loaders[line])  # what is compiled or cached once
    start = time.perf_counter()
    found = sum(len(labels["truth"]) for _, labels, _ in loaders[line])
    taken = time.perf_counter() - start
    assert found == int(events), f"{found} events"
    print(taken, file=say, flush=True)
