"""Times side by side: contestants take turns, so that what else the machine does meets all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch


class Ratio(NamedTuple):
    """Median and quartiles of a ratio over rounds."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def seconds(run: Callable[[], object], least: float = 0.05) -> Callable[[], float]:
    """Return a function that gives the seconds of one run, from as many as take about ``least`` seconds."""
    run()
    start = time.perf_counter()
    run()
    count = max(1, int(least / (time.perf_counter() - start)))

    def measure() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        return (time.perf_counter() - start) / count

    return measure


def wait() -> None:
    """Wait for a GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def paired(contestants: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Return the seconds of each contestant in each round."""
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for taken, measure in zip(times, contestants, strict=True):
            taken.append(measure())
    return times


def ratio(of: Sequence[float], to: Sequence[float], factor: float = 1.0) -> Ratio:
    """Return ``factor`` times the first over the second, round by round."""
    low, median, high = statistics.quantiles([factor * a / b for a, b in zip(of, to, strict=True)], n=4)
    return Ratio(low, median, high)
