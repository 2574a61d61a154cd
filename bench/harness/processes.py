"""Programs that are measured from outside, and what processes take of the machine."""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

import gristmill

HERE = Path(__file__).parent
IMPORT_NODE = "from gristmill import Actor, Node, Request, handles"
IMPORT_FLOOR = "import zmq, msgspec, msgpack, numpy"
"""What every program with a node needs at least."""
BARE = "import zmq, numpy, sys; print('ready', flush=True); sys.stdin.read()"
"""A program that loads the heavy half of that, and does nothing."""


def compile_modules() -> None:
    """Have the bytecode of our modules at hand, as pip leaves it for an installed package."""
    compileall.compile_dir(Path(gristmill.__file__).parent, quiet=1)


class ProgramError(Exception):
    """A program ended, or said something else, where a line was expected."""


class Program:
    """A Python program that prints ``ready`` and then lives until its standard input ends.

    Args:
        arguments: what the interpreter gets: a script and its arguments, or ``-c`` and code.
        python: the interpreter; ours if empty.
        quiet: throw away what it writes to standard error.

    Raises:
        ProgramError: its first line is another, or there is none.
    """

    def __init__(self, *arguments: str | Path, python: str = "", quiet: bool = False) -> None:
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            [python or sys.executable, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )
        first = self.line()
        self.ready_after = time.perf_counter() - begin
        """Seconds from the start of the process to the line."""
        if first != "ready":
            self.close()
            raise ProgramError(f"{arguments[0]} said {first!r} instead of 'ready'")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def line(self) -> str:
        """Read the next line that the program prints; empty when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip()

    def tell(self, line: str) -> None:
        """Write a line to the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def close(self) -> None:
        """End its standard input and wait until it has gone."""
        self._process.communicate()


def code_seconds(code: str) -> float:
    """Run ``code`` in a fresh interpreter; give the seconds without the interpreter's start."""
    return code_number(
        "import time; t = time.perf_counter()", code, "print(time.perf_counter() - t)"
    )


def code_number(*code: str) -> float:
    """Run statements in a fresh interpreter; give the number that they print."""
    command = [sys.executable, "-c", "; ".join(code)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def descendants(pid: int) -> list[int]:
    """Give the ids of all processes under one."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def pss_bytes(pids: Iterable[int], *, anonymous: bool = False) -> int:
    """Sum the proportional set sizes: pages that are shared count once, divided by their users.

    Args:
        pids: the processes.
        anonymous: leave out pages of files, which processes of others may share too.
    """
    key = "Pss_Anon" if anonymous else "Pss"
    return sum(_rollup(pid)[key] for pid in pids)


def _rollup(pid: int) -> dict[str, int]:
    """Read a process's memory figures in bytes."""
    _, *lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines)
    }


def cpu_seconds(pids: Sequence[int]) -> float:
    """Sum the CPU time that living processes have taken, with threads that have ended."""
    return sum(time.clock_gettime(_cpu_clock(pid)) for pid in pids)


def _cpu_clock(pid: int) -> int:
    """Give the kernel's clock of a process's CPU time, as clock_getcpuclockid(3) does."""
    return (~pid << 3) | 2
