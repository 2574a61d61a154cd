"""What Linux offers to notice deaths; elsewhere the portable way serves."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

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


def open_process(pid: int) -> int | None:
    """Give a descriptor that becomes readable when the process ends; None where there is none.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    return os.pidfd_open(pid)
