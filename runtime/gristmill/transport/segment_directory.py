"""Where a run's segments lie: a directory of its own in the machine's shared memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from gristmill.errors import NodeStartError

_SHARED_MEMORY = Path("/dev/shm")


class Process(NamedTuple):
    """One incarnation of a process."""

    address: int
    incarnation: int


class SegmentId(NamedTuple):
    """The name of a piece of shared memory; never given to another one."""

    owner: Process
    number: int


def segment_directory(run_dir: Path) -> Path:
    """Give the directory of a run's segments; it may not exist yet.

    Its name tells whose it is, and by a digest in which directory the run's own one lies: that
    must be there. Containers that share memory have each their own, whatever its path.
    """
    base = run_dir.parent
    facts = base.stat()
    place = f"{base} {facts.st_dev} {facts.st_ino}".encode(errors="surrogateescape")
    digest = hashlib.blake2b(place, digest_size=4).hexdigest()
    return _SHARED_MEMORY / f"gristmill-{os.getuid()}-{digest}-{run_dir.name}"


def make_segment_directory(directory: Path) -> None:
    """Make the directory with mode 0700; where there is no shared memory nothing is made.

    Raises:
        NodeStartError: something of that name is there that others can write to.
    """
    if not directory.parent.is_dir():
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    facts = directory.lstat()
    private = stat.S_ISDIR(facts.st_mode) and not stat.S_IMODE(facts.st_mode) & 0o077
    if facts.st_uid != os.getuid() or not private:
        raise NodeStartError(f"{directory} must belong to this user with mode 0700; remove it")


def remove_segment_directory(directory: Path) -> None:
    """Remove a dead run's segments. To be done before its run directory is removed."""
    shutil.rmtree(directory, ignore_errors=True)


def sweep_segments(base: Path) -> None:
    """Remove the segments of runs whose own directories, in ``base``, are gone.

    A run's directory is made before its segments' and removed after it. Whoever makes segments
    while it is removed by another process can leave some behind.
    """
    every = segment_directory(base / "*")
    for directory in every.parent.glob(every.name):
        if not (base / directory.name.rpartition("-")[2]).exists():
            remove_segment_directory(directory)


def remove_segments(directory: Path, owner: Process) -> None:
    """Remove what a dead process has left; arrays in it stay valid for those who have them."""
    for path in directory.glob(f"{owner.address}-{owner.incarnation}-*"):
        path.unlink(missing_ok=True)


def segment_path(directory: Path, segment: SegmentId) -> str:
    """Give the file of a segment."""
    (address, incarnation), number = segment
    return f"{directory}/{address}-{incarnation}-{number}"  # a Path takes ten times as long
