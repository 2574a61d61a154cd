"""A guard against slower messages, more memory and slower imports, for machines that are not quiet.

It measures CPU time, memory and modules, not wall time, each as a ratio to a yardstick of the same
run: a loop of Python and msgspec for messages, a bare interpreter with what a node needs for the
rest. Messages run on one core, so that client and worker can't slow each other down, and their
yardstick runs right before and after. Other load makes CPU time longer, because it empties caches,
and the yardstick's less than ours. So the least twentieth of many rounds counts, each short enough
to run undisturbed now and then, and what is over the limit is measured again: a regression stays, a
neighbour's load mostly does not. The ratios are compared with guard.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles

import msgspec
from rich.console import Console
from rich.table import Table

from gristmill import Node
from harness.processes import (
    BARE,
    HERE,
    IMPORT_FLOOR,
    IMPORT_NODE,
    Program,
    code_number,
    cpu_seconds,
    descendants,
    pss_bytes,
)
from messaging import Add, Counter, ask_pipelined, tell

BASELINE = Path(__file__).with_name("guard.json")
LIMIT = 1.2
"""What is over this multiple of the baseline fails; a baseline that far above is out of date."""
_TRIES = 3
_RUNS_OF_A_BASELINE = 5
_ROUNDS, _ASKS, _TELLS, _LOOPS = 200, 1_500, 3_000, 6_000
_MODULES = "import sys; print(len(sys.modules))"

Ratios = dict[str, float]


def messages() -> Ratios:
    """Give the CPU time of an ask and of a tell, of all processes, in yardsticks."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before there are other threads
    ratios: dict[str, list[float]] = {"ask_cpu": [], "tell_cpu": []}
    with Node(workers=1) as node:
        ref = node.spawn(Counter)
        processes = [os.getpid(), *descendants(os.getpid())]
        for _ in range(_ROUNDS):
            asks = _in_yardsticks(processes, lambda: ask_pipelined(ref, _ASKS))
            tells = _in_yardsticks(processes, lambda: tell(ref, _TELLS))
            ratios["ask_cpu"].append(asks / _ASKS)
            ratios["tell_cpu"].append(tells / _TELLS)
    return {name: quantiles(found, n=20)[0] for name, found in ratios.items()}


def _in_yardsticks(processes: list[int], job: Callable[[], object]) -> float:
    """Give a job's CPU time through that of a loop, which runs before it and after it."""
    loop = yardstick(_LOOPS)
    before = cpu_seconds(processes)
    job()
    taken = cpu_seconds(processes) - before
    return 2 * taken / (loop + yardstick(_LOOPS))


def yardstick(loops: int) -> float:
    """Give the CPU time of one loop: encode a message, decode it, keep what it says."""
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Add).decode
    kept = {}
    begin = time.thread_time()
    for i in range(loops):
        message = decode(encode(Add(i, 1)))
        kept[i & 255] = message.a + message.b
    return (time.thread_time() - begin) / loops


def at_rest() -> Ratios:
    """Give the anonymous memory of an idle node of two workers, in bare interpreters.

    And the modules that a program with a node loads: what most of its start goes into. The CPU time
    of a start itself is not steady enough: it comes in one piece, and there are no quiet moments.
    """
    with Program(HERE / "first_reply.py") as node, Program("-c", BARE) as bare:
        processes = [node.pid, *descendants(node.pid)]
        memory = pss_bytes(processes, anonymous=True) / pss_bytes([bare.pid], anonymous=True)
    modules = code_number(IMPORT_NODE, _MODULES) / code_number(IMPORT_FLOOR, _MODULES)
    return {"idle_memory": memory, "modules": modules}


def failures(measured: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """Say what is over the limit, and what has no baseline."""
    found = []
    for name, value in measured.items():
        if name not in baseline:
            found.append(f"{name} has no baseline; run bench/guard.py --update")
        elif value > LIMIT * baseline[name]:
            change = 100 * (value / baseline[name] - 1)
            found.append(f"{name} is {value:.2f}, {change:.0f} % over its baseline")
    return found


def least(tries: Iterable[Ratios], baseline: Mapping[str, float]) -> Ratios:
    """Give the least of each ratio over as many tries as it takes until none is over the limit."""
    lowest: Ratios = {}
    for found in tries:
        lowest = {name: min(value, lowest.get(name, value)) for name, value in found.items()}
        if not any(value > LIMIT * baseline.get(name, value) for name, value in lowest.items()):
            break
    return lowest


def improvements(measured: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """Say which baselines have become so high that they guard against nothing."""
    return [
        f"{name} is {value:.2f}, {100 * (1 - value / baseline[name]):.0f} % under its baseline; "
        "run bench/guard.py --update, so that it stays so"
        for name, value in measured.items()
        if name in baseline and LIMIT * value < baseline[name]
    ]


def show(measured: Mapping[str, float], baseline: Mapping[str, float]) -> None:
    """Print the ratios beside the baseline."""
    table = Table(title="bench guard", title_justify="left", title_style="bold")
    for heading in ("", "ratio", "baseline", "ratio / baseline"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, value in measured.items():
        known = baseline.get(name)
        compared = ("-", "-") if known is None else (f"{known:.2f}", f"{value / known:.2f}")
        table.add_row(name, f"{value:.2f}", *compared)
    Console(highlight=False).print(table)


def _version() -> str:
    return f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}"


def _read(path: Path) -> dict[str, Ratios]:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Ratios]) if path.exists() else {}


def _measure() -> Ratios:
    return messages() | at_rest()


def _least_of_all(runs: Sequence[Ratios]) -> Ratios:
    """Give what a quiet machine would have shown: what disturbs a run makes it dearer."""
    return {name: round(min(run[name] for run in runs), 3) for name in runs[0]}


def main() -> None:
    """Measure, print, and fail if something has become worse; or keep a new baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--update",
        action="store_true",
        help=f"make the least of {_RUNS_OF_A_BASELINE} runs the baseline of this Python",
    )
    options = parser.parse_args()
    baselines = _read(BASELINE)
    baseline = baselines.get(_version(), {})
    if options.update:
        measured = _least_of_all([_measure() for _ in range(_RUNS_OF_A_BASELINE)])
        show(measured, baseline)
        baselines[_version()] = measured
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(baselines), indent=2) + b"\n")
        return
    measured = least((_measure() for _ in range(_TRIES)), baseline)
    show(measured, baseline)
    failed = failures(measured, baseline)
    for line in (*failed, *improvements(measured, baseline)):
        print(line, file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
