"""Starting the supervisor process, and noticing its end."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import msgspec

from gristmill.node.supervisor_shell import NodeConfig

_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gristmill.node.supervisor_process import main; main(sys.argv[2:])"
)
_BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def launch(config: NodeConfig, lock: int, blas_threads: int) -> subprocess.Popen[bytes]:
    """Start the supervisor process.

    Args:
        config: what it is to run.
        lock: descriptor of the run directory's lock, inherited by every process of the run.
        blas_threads: threads that the linear algebra libraries of a worker may start.
    """
    environment = os.environ | dict.fromkeys(_BLAS, str(blas_threads))
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=(lock,),
    )
    data = msgspec.msgpack.encode(config)
    assert process.stdin is not None
    process.stdin.write(struct.pack("!I", len(data)) + data)
    process.stdin.flush()
    return process
