"""Starting the supervisor process, and noticing its end."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gristmill.errors import NodeStartError
from gristmill.node.config import NodeConfig

_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gristmill.node.processes.supervisor_process import main; main(sys.argv[2:])"
)
_BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


_FILES = 34
"""Files that a worker has open for itself, a few of its actors' included."""
_FILES_OF_A_PEER = 2
"""Sockets."""
_FILES_OF_A_JOURNAL = 3
"""What SQLite opens of each worker's journal: all workers read all."""


def check_open_files(workers: int, *, journaled: bool) -> None:
    """See whether the processes of a node may open as many files as they will.

    Args:
        workers: how many.
        journaled: whether the node has a journal.

    Raises:
        NodeStartError: the limit is too low for so many workers.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for_each = _FILES_OF_A_PEER + (_FILES_OF_A_JOURNAL if journaled else 0)
    needed = _FILES + for_each * workers
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise NodeStartError(
            f"Node(workers={workers}) needs {needed} open files in each of its processes, and "
            f"{allowed} are allowed here; write `ulimit -n {needed}` before, or take fewer workers"
        )


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Have a Ctrl-C wait until the block is left.

    A signal mask can't do this: the threads of numpy's OpenBLAS would take the signal.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if seen:
            signal.raise_signal(signal.SIGINT)


def launch(config: NodeConfig, lock: int, blas_threads: int) -> subprocess.Popen[bytes]:
    """Start the supervisor process.

    Args:
        config: what it is to run.
        lock: descriptor of the run directory's lock, inherited by every process of the run.
        blas_threads: threads that the linear algebra libraries of a worker may start.
    """
    environment = os.environ | dict.fromkeys(_BLAS, str(blas_threads))
    # inherited by the process, so that a Ctrl-C finds it deaf before it can say so itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            env=environment,
            pass_fds=(lock,),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    data = msgspec.msgpack.encode(config)
    assert process.stdin is not None
    process.stdin.write(struct.pack("!I", len(data)) + data)
    process.stdin.flush()
    return process
