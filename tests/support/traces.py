"""What a run can leave behind: processes, run directories, segments.

The tests run with a ``TMPDIR`` of their own, which every process that they start inherits. So it
marks those processes, and nothing of another run on this machine is ever mistaken for theirs.
"""

from __future__ import annotations

import os
import tempfile
from glob import glob
from pathlib import Path

from gristmill.transport.segment_directory import segment_directory
from support.waiting import eventually


def marked_processes() -> dict[int, str]:
    """Give pid and command line of every living process that this test session has started."""
    mark = f"TMPDIR={tempfile.gettempdir()}".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if mark in environment and command:
            found[int(entry.name)] = command.strip()
    return found


def run_directories() -> list[Path]:
    """Give the run directories of this session's nodes."""
    return _paths(Path(tempfile.gettempdir()) / "gristmill-*" / "*")


def segments() -> list[Path]:
    """Give what there is in shared memory of this session's nodes: directories and segments."""
    base = Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"
    if not base.exists():
        return []
    directories = _paths(segment_directory(base / "*"))
    return directories + [segment for folder in directories for segment in _paths(folder / "*")]


def _paths(pattern: Path) -> list[Path]:
    # not Path.glob: that one fails if a folder goes while it looks
    return [Path(found) for found in sorted(glob(str(pattern)))]  # noqa: PTH207 - see above


def leftovers() -> list[str]:
    """Describe everything that is there of this session's runs now."""
    return [
        *(f"process {pid}: {command[:120]}" for pid, command in marked_processes().items()),
        *(f"run directory {path}" for path in run_directories()),
        *(f"shared memory {path}" for path in segments()),
    ]


def assert_nothing_left(within: float = 2.0) -> None:
    """Fail unless every trace of this session's runs is gone ``within`` seconds."""
    seen: list[str] = []

    def gone() -> bool:
        seen[:] = leftovers()
        return not seen

    try:
        eventually(gone, "nothing is left of the run", within)
    except AssertionError:
        raise AssertionError("left behind:\n" + "\n".join(seen)) from None
