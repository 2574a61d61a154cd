"""The same jobs on gristmill and on other libraries, in the same run on the same machine.

Every library gets two worker processes and does each job the way its users would, one message for
each call: lone round trips, pipelined round trips, calls of 1 and 10 ms in turn on both workers
(through half of what one process takes), messages that nobody answers, arrays of 8 and 64 MB of
which a worker reads every page, the start from a fresh Python process to the first reply, and the
time from a worker's SIGKILL to the next right answer. Each round starts every library anew. Nothing
is pinned but the floor, two processes with raw pyzmq PUSH/PULL sockets.
"""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from harness import Bench, RawPair, Result, add_libraries, options, two_cores
from harness.comparison import FLOOR, LEGEND, OURS, matrix
from harness.environments import InstallError, python_with, version_in
from harness.processes import HERE, Program, ProgramError

_BODY = bytes(20)
_UNITS = {
    "round_trip": "us",
    "pipelined": "1/s",
    "uneven": "x",
    "one_way": "1/s",
    "array_8mb": "ms",
    "array_64mb": "ms",
    "start": "s",
    "recovery": "ms",
}
_OURS_AND_PYTHONS = {
    OURS: "gristmill_actors",
    "ProcessPoolExecutor": "process_pool_executor",
    "multiprocessing.Pool": "multiprocessing_pool",
}
_OTHERS = {
    "ray": ("ray_actors", ("numpy", "ray")),
    "dask": ("dask_actors", ("numpy", "distributed")),
    "xoscar": ("xoscar_actors", ("numpy", "xoscar")),
}

Figures = dict[str, float]


def measure(script: str, python: str, *, quick: bool) -> Figures:
    """Run a library's script once.

    Raises:
        ProgramError: it failed.
    """
    arguments = ["--quick"] if quick else []
    path = HERE.parent / "libraries" / f"{script}.py"
    with Program(path, *arguments, python=python, quiet=True) as program:
        line = program.line()
        if not line:
            raise ProgramError(f"{path.name} ended without figures; run it by hand to see why")
        figures: Figures = json.loads(line)
        return {"start": program.ready_after} | figures


def floor(raw: RawPair) -> Figures:
    """Measure what raw sockets take for the same jobs."""
    raw.bulk(64_000_000)
    return {
        "round_trip": raw.latency(500),
        "pipelined": raw.pipelined(20_000, 1024),
        "one_way": raw.one_way(50_000),
        "array_8mb": raw.bulk(8_000_000),
        "array_64mb": raw.bulk(64_000_000),
    }


def interpreters(wanted: list[str]) -> dict[str, tuple[str, str]]:
    """Give script and interpreter of every peer that can be had; say which can't."""
    found = {name: (script, "") for name, script in _OURS_AND_PYTHONS.items()}
    for name in wanted:
        script, packages = _OTHERS[name]
        try:
            found[name] = script, python_with(*packages)
        except InstallError as error:
            print(f"{name} is left out, it can't be installed: {error}", file=sys.stderr)
    return found


def rounds_of(peers: dict[str, tuple[str, str]], rounds: int, *, quick: bool) -> list[Result]:
    """Measure everything ``rounds`` times; a peer that fails is left out from then on.

    Raises:
        ProgramError: ours failed.
    """
    measured: dict[str, list[Figures]] = {name: [] for name in (FLOOR, *peers)}
    with RawPair(*two_cores(), _BODY) as raw:
        for _ in range(rounds):
            measured[FLOOR].append(floor(raw))
            for name, (script, python) in peers.items():
                try:
                    if name in measured:
                        measured[name].append(measure(script, python, quick=quick))
                except ProgramError as error:
                    if name == OURS:
                        raise
                    print(f"{name} is left out, it failed: {error}", file=sys.stderr)
                    del measured[name]
    return [
        result
        for name, runs in measured.items()
        for job in _UNITS
        if (result := _result(name, job, runs, measured[FLOOR])) is not None
    ]


def _result(name: str, job: str, runs: list[Figures], floors: list[Figures]) -> Result | None:
    if not all(job in run for run in runs):
        return None
    values = [run[job] for run in runs]
    compared = [run[job] for run in floors] if job in floors[0] and name != FLOOR else None
    return Result.of(f"{name}.{job}", _UNITS[job], values, compared)


def show(bench: Bench, rounds: int) -> None:
    """Print the table of all peers."""
    heading, *rows = matrix(bench.results)
    table = Table(title=f"bench {bench.bench}", title_justify="left", title_style="bold")
    for text in heading:
        table.add_column(text, justify="right" if text else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=160 if not sys.stdout.isatty() else None, highlight=False)
    console.print(table)
    console.print(f"  medians of {rounds} rounds; 2 workers each, one message a call")
    console.print(f"  {LEGEND}")
    console.print(f"  the accounting of {OURS} is on")
    for line in bench.host.lines():
        console.print(f"  {line}")


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = options(__doc__ or "")
    add_libraries(parser, _OTHERS)
    asked = parser.parse_args()
    rounds = 1 if asked.quick else 3
    peers = interpreters(asked.others)
    try:
        results = rounds_of(peers, rounds, quick=asked.quick)
    except ProgramError as error:
        sys.exit(str(error))
    versions = {
        packages[-1]: version_in(peers[name][1], packages[-1])
        for name, (_, packages) in _OTHERS.items()
        if name in peers
    }
    bench = Bench.of("peers", results, versions)
    show(bench, rounds)
    if asked.json:
        bench.write(asked.json)


if __name__ == "__main__":
    main()
