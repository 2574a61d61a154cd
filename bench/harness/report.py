"""Rounds of pairs (ours, floor), and what is told about them: a table, and ``bench/1`` JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Literal, Self, get_args

import msgspec
import zmq
from rich.console import Console
from rich.table import Table

from gristmill.config import Transport

_PACKAGES = ("gristmill", "pyzmq", "msgspec", "msgpack", "numpy")


class Result(msgspec.Struct, frozen=True):
    """One figure. ``ratio`` is the median of ours / floor over the rounds, whatever the unit."""

    name: str
    unit: str
    median: float
    min: float
    max: float
    floor: float | None
    """The floor's median in the same unit; None where nothing is compared with."""
    ratio: float | None

    @classmethod
    def of(
        cls, name: str, unit: str, ours: Sequence[float], floors: Sequence[float] | None = None
    ) -> Self:
        """Give the medians of the rounds; ``floors`` has as many values as ``ours``."""
        low, middle, high = min(ours), median(ours), max(ours)
        if floors is None:
            return cls(name, unit, middle, low, high, None, None)
        ratio = median(mine / theirs for mine, theirs in zip(ours, floors, strict=True))
        return cls(name, unit, middle, low, high, median(floors), ratio)


class Host(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    python: str
    kernel: str
    versions: dict[str, str]

    def lines(self) -> tuple[str, str]:
        """Give the machine, and the versions of what it ran."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        machine = f"{self.cpu}, {self.cores} cores, Linux {self.kernel}, {self.python}"
        return machine, versions


class Bench(msgspec.Struct, frozen=True):
    """What a bench script found."""

    schema: Literal["bench/1"]
    bench: str
    host: Host
    results: tuple[Result, ...]
    date: str = ""
    """When, as YYYY-MM-DD."""

    @property
    def script(self) -> str:
        """The script that found it."""
        return self.bench.split("_")[0]

    @property
    def options(self) -> list[str]:
        """The options that it had, which stand behind its name."""
        return self.bench.split("_")[1:]

    @classmethod
    def of(
        cls, bench: str, results: Sequence[Result], versions: Mapping[str, str] | None = None
    ) -> Self:
        """Make it for this host; ``versions`` are those of other packages that took part."""
        today = dt.datetime.now(dt.UTC).date().isoformat()
        return cls("bench/1", bench, _host(versions or {}), tuple(results), today)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises:
            msgspec.MsgspecError: the file holds something else.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Write the JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    def show(self, notes: Sequence[str]) -> None:
        """Print the table, the host, and what there is to know about the figures."""
        table = Table(title=f"bench {self.bench}", title_justify="left", title_style="bold")
        table.add_column("")
        for heading in ("median", "min", "max", "floor", "ours / floor"):
            table.add_column(heading, justify="right")
        table.add_column("unit")
        for row in self.results:
            ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
            cells = map(number, (row.median, row.min, row.max, row.floor))
            table.add_row(row.name, *cells, ratio, row.unit)
        console = Console(width=100 if not sys.stdout.isatty() else None, highlight=False)
        console.print(table)
        for note in notes:
            console.print(f"  {note}")
        for line in self.host.lines():
            console.print(f"  {line}")


class Pairs:
    """Measures ours and the floor in turns, so that what disturbs one disturbs the other.

    Args:
        name: the result's name.
        unit: of what both functions give.
        ours: measures us once.
        floor: measures the floor once.
    """

    def __init__(
        self, name: str, unit: str, ours: Callable[[], float], floor: Callable[[], float]
    ) -> None:
        self._name = name
        self._unit = unit
        self._ours = ours
        self._floor = floor
        self._measured: list[tuple[float, float]] = []

    def warm_up(self) -> None:
        """Measure once for nothing."""
        self._ours()
        self._floor()

    def round(self) -> None:
        """Measure both once; who goes first changes from round to round."""
        if len(self._measured) % 2:
            ours, floor = self._ours(), self._floor()
        else:
            floor, ours = self._floor(), self._ours()
        self._measured.append((ours, floor))

    def quotients(self) -> list[float]:
        """Give the floor through ours, a value a round: how much faster we are."""
        return [floor / ours for ours, floor in self._measured]

    def result(self) -> Result:
        """Give the medians of the rounds."""
        ours, floors = zip(*self._measured, strict=True)
        return Result.of(self._name, self._unit, ours, floors)


def options(description: str) -> argparse.ArgumentParser:
    """Give a parser that knows ``--quick`` and ``--json FILE``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as bench/1")
    return parser


def add_libraries(parser: argparse.ArgumentParser, known: Collection[str]) -> None:
    """Have a parser know ``--with A,B``: the list ``others`` of names that are among ``known``."""

    def names(text: str) -> list[str]:
        wanted = [name for name in text.split(",") if name]
        for name in wanted:
            if name not in known:
                every = ", ".join(known)
                raise argparse.ArgumentTypeError(f"{name!r} is unknown; known are {every}")
        return wanted

    parser.add_argument(
        "--with",
        dest="others",
        type=names,
        default=[],
        metavar=",".join(known),
        help="libraries to install into environments of their own and to measure too",
    )


def add_transport(parser: argparse.ArgumentParser) -> None:
    """Have a parser know ``--transport``: what carries messages, ``auto`` if not given."""
    choices = get_args(Transport)
    text = "what carries the messages of gristmill"
    parser.add_argument("--transport", choices=choices, default="auto", help=text)


def named(bench: str, transport: Transport) -> str:
    """Give the name of results on a transport."""
    return bench if transport == "auto" else f"{bench}_{transport}"


def arguments(description: str) -> argparse.Namespace:
    """Read ``--quick`` and ``--json FILE``."""
    return options(description).parse_args()


def two_cores() -> tuple[int, int]:
    """Give two cores that this process may use, or exit with status 2."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this measures two processes on a core each; give it two cores", file=sys.stderr)
        sys.exit(2)
    return cores[0], cores[1]


def _host(others: Mapping[str, str]) -> Host:
    return Host(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        kernel=platform.release(),
        versions={name: version(name) for name in _PACKAGES}
        | {"libzmq": zmq.zmq_version()}
        | dict(others),
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def number(value: float | None) -> str:
    """Write a figure with three digits or more."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
