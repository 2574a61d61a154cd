"""The run directory: a short path of mode 0700 with a run's sockets and counter pages.

Its arrays in shared memory have a directory beside it, which lives as long.

A lock in it is held through inherited descriptors by every process of the run, so whoever can
take the lock knows that all of them are dead, and sweeps what they left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path

import msgspec

from gristmill.config import Transport
from gristmill.errors import NodeConnectError, NodeStartError
from gristmill.transport.segment_directory import (
    make_segment_directory,
    remove_segment_directory,
    segment_directory,
    sweep_segments,
)

_SOCKET_PATH_LIMIT = 107
_LONGEST_NAME = len("/dedicated-999.999999")
_LOCK = "lock"
_FACTS = "node.json"
_LOCKED_WITHIN = 10.0
"""Seconds after which a directory without a lock belongs to a client that died as it made it."""


class NodeFacts(msgspec.Struct, frozen=True):
    """What a run says of itself to those who look for it."""

    node_id: str
    supervisor: int
    client: int
    control: str
    started: float
    transport: Transport = "unix"
    """What carries messages."""

    @property
    def run_dir(self) -> Path:
        """Its run directory."""
        return Path(self.control.removeprefix("ipc://")).parent


def base_directory() -> Path:
    """Give the directory of all runs of this user, made if need be.

    Raises:
        NodeStartError: it belongs to somebody else, or its path is too long for sockets.
    """
    base = Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.lstat()
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise NodeStartError(
            f"{base} must belong to this user with mode 0700; remove it, or set TMPDIR"
        )
    if len(str(base)) + 9 + _LONGEST_NAME > _SOCKET_PATH_LIMIT:
        raise NodeStartError(
            f"{base} is too long a path for sockets (a socket's path ends at "
            f"{_SOCKET_PATH_LIMIT} bytes); set TMPDIR to a shorter one"
        )
    return base


class RunDirectory:
    """One run's directory, made and locked by its client."""

    def __init__(self) -> None:
        base = base_directory()
        sweep(base)
        self.path, self.lock = _make(base)
        while not (self.path / _LOCK).exists():  # another start swept it before it was locked
            os.close(self.lock)
            self.path, self.lock = _make(base)
        make_segment_directory(segment_directory(self.path))

    def close(self) -> None:
        """Let go of the lock, and remove the directory if no process of the run is left."""
        os.close(self.lock)
        remove_if_dead(self.path)
        sweep_segments(self.path.parent)  # ours, if somebody else has removed the directory


def _make(base: Path) -> tuple[Path, int]:
    path = base / secrets.token_hex(4)
    path.mkdir(mode=0o700)
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return path, lock


def write_facts(run_dir: Path, facts: NodeFacts) -> None:
    """Publish what a run says of itself."""
    temporary = run_dir / f"{_FACTS}.new"
    temporary.write_bytes(msgspec.json.encode(facts))
    temporary.rename(run_dir / _FACTS)


def remove(run_dir: Path) -> None:
    """Remove a run's directory, its lock last: whoever is killed meanwhile leaves it to a sweep."""
    remove_segment_directory(segment_directory(run_dir))
    with contextlib.suppress(OSError):  # another process of the run removes it too
        for path in run_dir.iterdir():
            if path.name != _LOCK:
                path.unlink(missing_ok=True)
    shutil.rmtree(run_dir, ignore_errors=True)


def remove_if_dead(run_dir: Path) -> bool:
    """Remove the directory of a run of which no process is left; give whether it was."""
    try:
        lock = os.open(run_dir / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _remove_if_never_locked(run_dir)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        remove(run_dir)
        return True
    finally:
        os.close(lock)


def _remove_if_never_locked(run_dir: Path) -> bool:
    try:
        age = time.time() - run_dir.stat().st_mtime
    except OSError:
        return False  # another start has just swept it
    if age < _LOCKED_WITHIN:
        return False
    remove(run_dir)
    return True


def sweep(base: Path) -> None:
    """Remove what dead runs have left."""
    for run_dir in base.iterdir():
        remove_if_dead(run_dir)
    sweep_segments(base)


def running_nodes() -> list[NodeFacts]:
    """Give the facts of this user's living nodes, oldest first."""
    base = base_directory()
    sweep(base)
    nodes = []
    for file in base.glob(f"*/{_FACTS}"):
        try:
            nodes.append(msgspec.json.decode(file.read_bytes(), type=NodeFacts))
        except (OSError, msgspec.MsgspecError):
            continue  # it ended, or starts, at this moment
    return sorted(nodes, key=lambda node: node.started)


def find_node(node_id: str | None = None) -> NodeFacts:
    """Find a living node by its id, or the only one.

    Raises:
        NodeConnectError: there is none, or there are several and no id was given.
    """
    nodes = running_nodes()
    if node_id is not None:
        found = [node for node in nodes if node.node_id == node_id]
        if not found:
            known = ", ".join(node.node_id for node in nodes) or "none runs"
            raise NodeConnectError(f"no node {node_id!r} runs here (nodes: {known})")
        return found[0]
    if not nodes:
        raise NodeConnectError("no node of this user runs here; start one with gristmill up")
    if len(nodes) > 1:
        ids = ", ".join(node.node_id for node in nodes)
        raise NodeConnectError(f"several nodes run here: {ids}; say which with --node")
    return nodes[0]
