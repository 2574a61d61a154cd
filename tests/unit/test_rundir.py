from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.errors import NodeConnectError, NodeStartError
from gristmill.node.rundir import (
    NodeFacts,
    RunDirectory,
    base_directory,
    find_node,
    running_nodes,
    write_facts,
)
from gristmill.transport.segment_directory import segment_directory


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = Path("/tmp") / f"gmr-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def facts(node_id: str) -> NodeFacts:
    return NodeFacts(node_id, 1, 2, "ipc://x", 0.0)


def test_a_run_directory_is_private_and_goes_with_its_run() -> None:
    run = RunDirectory()
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert base_directory().stat().st_mode & 0o777 == 0o700
    run.close()
    assert not run.path.exists()


def test_dead_runs_are_swept_and_living_ones_are_not() -> None:
    living, dead = RunDirectory(), RunDirectory()
    os.close(dead.lock)
    (dead.path / "w1.1").touch()
    another = RunDirectory()
    assert living.path.exists()
    assert not dead.path.exists()
    living.close()
    another.close()


def test_shared_memory_goes_with_its_run() -> None:
    living, dead, removed = (RunDirectory() for _ in range(3))
    memory = [segment_directory(run.path) for run in (living, dead, removed)]
    assert [path.stat().st_mode & 0o777 for path in memory] == [0o700] * 3
    (memory[1] / "1-1-1").touch()
    os.close(dead.lock)
    shutil.rmtree(removed.path)  # by another process, while its client made one more segment
    (memory[2] / "1001-1-1").touch()
    another = RunDirectory()
    assert [path.exists() for path in memory] == [True, False, False]
    another.close()
    living.close()
    assert not memory[0].exists()
    os.close(removed.lock)


def test_nodes_are_found_by_their_id() -> None:
    with pytest.raises(NodeConnectError, match="no node of this user runs"):
        find_node()
    first, second = RunDirectory(), RunDirectory()
    write_facts(first.path, facts("one"))
    assert find_node().node_id == "one"
    write_facts(second.path, facts("two"))
    assert sorted(node.node_id for node in running_nodes()) == ["one", "two"]
    assert find_node("two").node_id == "two"
    with pytest.raises(NodeConnectError, match=r"several nodes run here: (one, two|two, one)"):
        find_node()
    with pytest.raises(
        NodeConnectError, match=r"no node 'three' runs here .nodes: (one, two|two, one)"
    ):
        find_node("three")
    first.close()
    second.close()


def test_a_base_that_is_too_open_or_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_directory().chmod(0o755)
    with pytest.raises(NodeStartError, match="mode 0700"):
        base_directory()
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(NodeStartError, match="too long a path"):
        base_directory()


def test_a_directory_whose_maker_died_before_its_lock_is_swept_once_it_is_old() -> None:
    unlocked = base_directory() / "unlocked"
    unlocked.mkdir()
    RunDirectory().close()
    assert unlocked.exists()
    os.utime(unlocked, (1.0, 1.0))
    RunDirectory().close()
    assert not unlocked.exists()
