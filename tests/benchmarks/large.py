"""Stream over files larger than memory should be: peak memory of each process, and what five epochs do to it.

    python tests/benchmarks/large.py [--gigabytes 5] [--kind root] [--files 8] [--epochs 5] [--workers 0 2]

writes so much into a temporary folder (``TMPDIR``), and streams over it shuffled, with each number of worker processes
in a process of its own, with the page-keeping allocator that trainings have. That each event comes once per epoch is
checked. Linux only.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lumigraph import keep_pages
from lumigraph.data import EventStream

sys.path.insert(0, str(Path(__file__).parent))
from jets import SCHEMA, write_jets

_BYTES = 24 * 42.5 + 24  # of an event on disk
_LIMIT = 1536  # MB, asked of each process


def memory(name: str, process: int | str = "self") -> float:
    """Return an entry of the memory of a process, in MB."""
    with open(f"/proc/{process}/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def epochs(options: argparse.Namespace, workers: int) -> None:
    """Run the epochs, and print what was measured as JSON, a line each."""
    keep_pages()
    stream = EventStream(f"{options.folder}/*.{options.kind}", SCHEMA)
    loader = stream.loader(512, shuffle=True, num_workers=workers)
    peaks: dict[int, float] = {}
    for _ in range(options.epochs):
        seen = np.zeros(len(stream), dtype=bool)
        start = time.perf_counter()
        for number, batch in enumerate(loader):
            seen[batch.weight.long().numpy()] = True
            if number % 50 == 0:
                for child in multiprocessing.active_children():
                    peaks[child.pid or 0] = memory("VmHWM", child.pid or 0)
        taken = time.perf_counter() - start
        assert seen.all()
        found = {
            "events/s": len(stream) / taken,
            "after": memory("VmRSS"),
            "peak": memory("VmHWM"),
            "workers": max(peaks.values(), default=0),
        }
        peaks.clear()
        print(json.dumps(found), flush=True)


def main() -> None:
    """Write the files, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--kind", choices=("root", "parquet", "h5"), default="root")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        return epochs(options, options.workers[0])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        paths = write_jets(Path(folder), options.kind, int(options.gigabytes * 1e9 / _BYTES), options.files)
        size = sum(Path(path).stat().st_size for path in paths) / 1e9
        print(f"{len(paths)} {options.kind} files, {size:.2f} GB, written in {time.perf_counter() - start:.0f} s\n")
        print("| workers | epoch | events/s | memory after it | peak until then | peak of a worker |")
        print("| --- " * 6 + "|", flush=True)
        for workers in options.workers:
            command = [sys.executable, *sys.argv, "--folder", folder, "--workers", str(workers)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for epoch, line in enumerate(process.stdout or (), 1):
                    row = json.loads(line)
                    of_worker = f"{row['workers']:.0f} MB" if workers else ""
                    print(
                        f"| {workers} | {epoch} | {row['events/s']:.0f} | {row['after']:.0f} MB | {row['peak']:.0f} MB "
                        f"| {of_worker} |",
                        flush=True,
                    )
                    if max(row["peak"], row["workers"]) > _LIMIT:
                        print(f"that is more than the {_LIMIT} MB asked for")
            if process.returncode:
                sys.exit(process.returncode)
    return None


if __name__ == "__main__":
    main()
