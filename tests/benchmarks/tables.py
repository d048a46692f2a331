"""The tables of the benchmarks: all cases are measured with either allocator, each in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from timing import Ratio

from lumigraph import keep_pages


class Row(NamedTuple):
    """A measured figure, and what is asked of it with either allocator."""

    what: str
    found: Ratio | str
    asked: tuple[str, str] = ("", "")


def print_table(
    parser: argparse.ArgumentParser,
    cases: Mapping[str, Callable[..., Iterator[Row]]],
    prepare: Callable[[argparse.Namespace], tuple[Any, ...]],
) -> None:
    """Measure what the command line asks for, and print a table.

    Parameters
    ----------
    parser
        With the options of the cases.
    cases
        By name; called with what ``prepare`` returns.
    prepare
        Called with the options in each of the two processes, before the cases.
    """
    parser.add_argument("--only", nargs="+", choices=cases, help="some of the cases")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allocator", choices=("default", "keep"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.allocator:
        if options.allocator == "keep":
            keep_pages()
        prepared = prepare(options)
        rows = [row for name in options.only or cases for row in cases[name](*prepared)]
        print(json.dumps([(row.what, str(row.found), row.asked) for row in rows]))
        return
    results = []
    for allocator in ("default", "keep"):
        environment = {**os.environ, "KEEP_PAGES": str(int(allocator == "keep")), "THREADS": str(options.threads)}
        command = [sys.executable, *sys.argv, "--allocator", allocator]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"| {'what':62} | {'default allocator':24} | asked    | {'page-keeping':24} | asked    |")
    print("| --- " * 5 + "|")
    for (what, default, asked), (_, keep, _) in zip(*results, strict=True):
        print(f"| {what:62} | {default:24} | {asked[0]:8} | {keep:24} | {asked[1]:8} |")
