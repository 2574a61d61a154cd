"""Programs as a user would write them, run in a process group of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent

TESTS = Path(__file__).parent.parent
ENDS_WITHIN = 15.0


class Script:
    """A running program; its output is read line by line."""

    def __init__(self, arguments: list[str], folder: Path, stdin: str | None = None) -> None:
        self.errors = folder / "stderr.txt"
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        if stdin is not None:
            assert self._process.stdin is not None
            self._process.stdin.write(stdin)
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """The program's process id, and that of its group."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self.errors.read_text()

    def line(self) -> str:
        """Give the next line of its output that no worker has written."""
        assert self._process.stdout is not None
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise AssertionError(f"the script ended early; stderr:\n{self.stderr}")
            if not line.startswith("["):
                return line.rstrip("\n")

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole foreground group gets SIGINT."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, within: float = ENDS_WITHIN) -> int:
        """Wait for its end; give the exit status as a shell would show it."""
        code = self._process.wait(within)
        return code if code >= 0 else 128 - code

    def rest(self, within: float = ENDS_WITHIN) -> str:
        """Give the rest of its output once it has ended."""
        output, _ = self._process.communicate(timeout=within)
        return output

    def end(self) -> None:
        """Kill what is left of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(ENDS_WITHIN)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running(folder: Path, source: str, name: str = "program.py") -> Iterator[Script]:
    """Run ``source`` as a script in ``folder``; it is killed at the end of the block."""
    file = folder / name
    file.write_text(dedent(source))
    script = Script([str(file)], folder)
    try:
        yield script
    finally:
        script.end()


@contextmanager
def running_on_stdin(folder: Path, source: str) -> Iterator[Script]:
    """Run ``source`` as ``python - <<EOF``."""
    script = Script(["-"], folder, stdin=dedent(source))
    try:
        yield script
    finally:
        script.end()
