"""The ``gristmill`` command, as a person types it in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.scripts import Script

LIMIT = 20.0
READY = "Ctrl-C drains and stops"


def gristmill(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gristmill", *arguments],
        cwd=folder,
        env=os.environ | dict(environ or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@contextmanager
def up(folder: Path, *arguments: str) -> Iterator[Script]:
    """Run ``gristmill up`` in the foreground; it is killed at the end of the block."""
    script = Script(["-m", "gristmill", "up", *arguments], folder)
    try:
        yield script
    finally:
        script.end()


def until_ready(script: Script) -> str:
    """Wait until the node is up; give what was printed."""
    lines = [script.line()]
    while not lines[-1].startswith(READY):
        lines.append(script.line())
    return "\n".join(lines)
