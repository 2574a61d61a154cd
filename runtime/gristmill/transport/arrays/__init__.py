"""numpy arrays in shared memory: how large ones travel between the processes of a node."""

from __future__ import annotations

from gristmill.transport.arrays.body import ArrayBody, Beside
from gristmill.transport.arrays.pool import IN_PLACE, KEEP, LIMIT, THRESHOLD, ArrayPool, SharedArray
from gristmill.transport.arrays.wire import (
    ArrayGoneError,
    Handle,
    NoSharedMemoryError,
    Record,
    Release,
)

__all__ = [
    "IN_PLACE",
    "KEEP",
    "LIMIT",
    "THRESHOLD",
    "ArrayBody",
    "ArrayGoneError",
    "ArrayPool",
    "Beside",
    "Handle",
    "NoSharedMemoryError",
    "Record",
    "Release",
    "SharedArray",
]
