"""What Linux offers to notice deaths; elsewhere the portable way serves."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from gristmill.death import Likelihood

_PR_SET_PDEATHSIG = 1
# loaded at import, so that a worker's start does not pay for it
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Have this process killed when the thread that forked it ends; leave if it has ended.

    Args:
        parent: the parent's process id as it was before the fork.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def is_stopped(pid: int) -> bool:
    """Tell whether a signal has stopped a process (state T); False where there is no /proc."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)  # a file object would cost thrice as much
    except OSError:
        return False
    try:
        status = os.read(file, 512)
    except OSError:
        return False
    finally:
        os.close(file)
    return status[status.rindex(b")") + 2 :][:1] == b"T"  # a name may hold anything, also ")"


class OomKills:
    """Counts the kernel's OOM kills: those of this process's cgroup, else the whole machine's.

    Args:
        proc: where ``/proc`` is.
        cgroups: where control groups are mounted.
    """

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._cgroup = _cgroup_counter(proc, cgroups)
        self._machine = proc / "vmstat"
        self._last = self._count()

    def struck(self) -> Likelihood:
        """Tell whether there was one since this was asked last.

        Returns:
            ``perhaps`` where no counter can be read, or it counts for the whole machine.
        """
        before, self._last = self._last, self._count()
        if self._last is None or before is None:
            return "perhaps"
        if self._last == before:
            return "no"
        return "yes" if self._cgroup is not None else "perhaps"

    def _count(self) -> int | None:
        path = self._cgroup or self._machine
        try:
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except (OSError, ValueError):
            pass
        return None


def _cgroup_counter(proc: Path, cgroups: Path) -> Path | None:
    """Find the file that counts the OOM kills of this process's cgroup, of version 1 or 2."""
    try:
        groups = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in groups:
        _, controllers, group = line.split(":", 2)
        inside = group.lstrip("/")
        file = cgroups / inside / "memory.events"
        if "memory" in controllers.split(","):
            file = cgroups / "memory" / inside / "memory.oom_control"
        elif controllers:
            continue
        if file.is_file():
            return file
    return None


def open_process(pid: int) -> int | None:
    """Give a descriptor that becomes readable when the process ends; None where there is none.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    return os.pidfd_open(pid)
