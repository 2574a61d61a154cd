"""What a worker leaves in its run directory besides its counter page, for when it can't answer.

``NAME.INCARNATION.activity`` says what it does, ``NAME.INCARNATION.stacks`` holds the stacks of all
its threads: written by a signal handler in C, so also while a computation holds the GIL, and when
the worker crashes.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from io import FileIO
from pathlib import Path
from typing import Final

from gristmill.worker.telemetry.activity import Sight, read_activity

ACTIVITY: Final = ".activity"
STACKS: Final = ".stacks"
PAGE: Final = ".page"
WIRES: Final = ".wires"
"""What it has exchanged with others, see :mod:`~gristmill.metrics.wires`."""
STACK_SIGNAL: Final = signal.SIGUSR1
"""Makes a worker write its stacks."""

_FATAL = "Fatal Python error"
_CURRENT = ("Current thread", "Stack (most recent")
_FRAMES = 12
"""Frames of a crash that are kept for people."""
_OURS = f'File "{Path(__file__).parents[1]}{os.sep}'
"""How the frames begin that only say that a handler was called."""


def write_stacks(path: Path) -> FileIO:
    """Have the stacks written on :data:`STACK_SIGNAL` and on a crash; give the open file."""
    file = FileIO(path, "a")
    faulthandler.enable(file)
    faulthandler.register(STACK_SIGNAL, file, all_threads=True)
    return file


def look(page: Path) -> tuple[Sight | None, tuple[str, ...]]:
    """Give what a worker did last, and the frames of its crash, the innermost first.

    Args:
        page: where its counter page is or was.
    """
    return read_activity(page.with_suffix(ACTIVITY)), _crash(page.with_suffix(STACKS))


def _crash(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ()
    _, found, crash = text.rpartition(_FATAL)
    if not found:
        return ()
    lines = iter(crash.splitlines())
    for line in lines:
        if line.startswith(_CURRENT):
            break
    frames = []
    for line in lines:
        if not line.startswith("  File") or line.lstrip().startswith(_OURS):
            break
        frames.append(line.strip())
    return tuple(frames[:_FRAMES])


def remove(page: Path) -> None:
    """Remove everything that a dead worker has left, its socket too."""
    for suffix in (PAGE, WIRES, ACTIVITY, STACKS, ""):
        page.with_suffix(suffix).unlink(missing_ok=True)
