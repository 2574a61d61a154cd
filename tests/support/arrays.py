"""Pools that share a directory, and what goes between them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gristmill.transport.arrays import ArrayPool, SharedArray
from gristmill.transport.segment_directory import (
    Process,
    make_segment_directory,
    remove_segment_directory,
    segment_directory,
)

Start = Callable[..., ArrayPool]


@contextmanager
def new_segment_directory() -> Iterator[Path]:
    """Make a directory for segments; it is removed at the end of the block."""
    with tempfile.TemporaryDirectory() as run_dir:
        directory = segment_directory(Path(run_dir))
        make_segment_directory(directory)
        try:
            yield directory
        finally:
            remove_segment_directory(directory)


def starter(directory: Path) -> Start:
    """Give what starts the pool of a process."""

    def start(address: int, incarnation: int = 1, **limits: int) -> ArrayPool:
        return ArrayPool(directory, Process(address, incarnation), **limits)

    return start


def pass_on(shared: SharedArray, sender: ArrayPool, to: int, receiver: ArrayPool) -> SharedArray:
    """Send an array from one pool to another."""
    return receiver.accept(sender.lend(shared, to))


def give_back(receiver: ArrayPool, me: Process, lender: ArrayPool, to: int) -> None:
    """Send what a pool has to give back to one of its lenders."""
    lender.on_releases(me, receiver.take_releases().get(to, []))


def files(directory: Path) -> list[str]:
    """Give the names of the segments."""
    return sorted(path.name for path in directory.iterdir())
