"""numpy arrays in shared memory: how large ones travel between the processes of a node."""

from __future__ import annotations

from gristmill.transport.arrays.directory import (
    make_segment_directory,
    remove_segment_directory,
    remove_segments,
    segment_directory,
)
from gristmill.transport.arrays.layout import describe, materialise, restore
from gristmill.transport.arrays.pool import IN_PLACE, KEEP, LIMIT, THRESHOLD, ArrayPool, SharedArray
from gristmill.transport.arrays.wire import (
    ArrayGoneError,
    Handle,
    NoSharedMemoryError,
    Process,
    Release,
)

__all__ = [
    "IN_PLACE",
    "KEEP",
    "LIMIT",
    "THRESHOLD",
    "ArrayGoneError",
    "ArrayPool",
    "Handle",
    "NoSharedMemoryError",
    "Process",
    "Release",
    "SharedArray",
    "describe",
    "make_segment_directory",
    "materialise",
    "remove_segment_directory",
    "remove_segments",
    "restore",
    "segment_directory",
]
