# ruff: noqa: N802 - named by the conformance row's id
"""Group 20, what keeps processes healthy: nothing inherited, the stopped ones, collateral."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from gristmill import ActorDied, Node
from support.actors import Add, Pid
from support.deaths import Slow, SlowParent, Spin
from support.processes import fork_server_pid, kill, supervisor_pid, worker_pids
from support.waiting import eventually


def _open_files(pid: int) -> dict[str, str]:
    """Give what the descriptors of a process stand for."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed at this moment
            found[entry.name] = str(entry.readlink())
    return found


def _channels(pid: int) -> set[str]:
    """Give the sockets and pipes of a process, but its standard streams."""
    files = _open_files(pid)
    channels = {file for file in files.values() if file.startswith(("socket:", "pipe:"))}
    return channels - {files.get(stream, "") for stream in ("0", "1", "2")}


def test_PR07_a_worker_inherits_no_channel_of_any_other_process(node: Node) -> None:
    victim = node.spawn(Slow, placement="w1").ask(Pid())
    kill(victim)  # the next one is forked while everything has been opened
    eventually(lambda: worker_pids(node).get("w1") not in (None, 0, victim), "it is back")
    eventually(lambda: node.status().workers[0].state == "ready", "it is up")
    workers = worker_pids(node)
    others = [supervisor_pid(node), fork_server_pid(node), os.getpid()]
    for name, pid in workers.items():
        own = _channels(pid)
        rest = [*others, *(other for other in workers.values() if other != pid)]
        for other in rest:
            assert not own & _channels(other), f"{name} shares a channel with {other}"


def test_PR07_a_worker_holds_one_lock_the_runs_own(node: Node) -> None:
    for pid in worker_pids(node).values():
        names = [Path(file).name for file in _open_files(pid).values()]
        assert [name for name in names if "lock" in name] == ["lock"]


def test_PR10_a_stopped_worker_is_killed_and_comes_back(node: Node) -> None:
    ref = node.spawn(Slow, name="frozen", placement="w1")
    pid = ref.ask(Pid())
    begun = time.monotonic()
    kill(pid, signal.SIGSTOP)
    with pytest.raises(ActorDied, match="SIGKILL: it was stopped by a signal") as died:
        ref.ask(Add(1, 1), timeout=None)
    assert time.monotonic() - begun < 2.0
    assert died.value.death is not None
    assert died.value.death.out_of_memory == "no"
    assert ref.ask(Pid()) != pid
    ref.stop()


def test_PR10_a_worker_that_continues_at_once_is_left_alone(node: Node) -> None:
    ref = node.spawn(Slow, placement="w1")
    pid = ref.ask(Pid())
    for _ in range(5):
        kill(pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it stands")
        kill(pid, signal.SIGCONT)
        assert ref.ask(Pid()) == pid
    ref.stop()


def test_PR08_a_handler_that_computes_for_long_is_left_alone(node: Node) -> None:
    busy = node.spawn(Slow, placement="w1")
    pid = busy.ask(Pid())
    assert busy.ask(Spin(2.0), timeout=10) == 1
    assert busy.ask(Pid()) == pid
    busy.stop()


@pytest.mark.parametrize("kind", [Slow, SlowParent])
def test_PR24_a_brutal_kill_of_one_actor_restarts_its_siblings_for_free(kind: type[Slow]) -> None:
    with Node(workers=1, max_restarts=0) as node, ThreadPoolExecutor(2) as threads:
        victim = node.spawn(Slow, name="victim", shutdown="brutal_kill")
        sibling = node.spawn(kind, name="sibling")
        pid = sibling.ask(Pid())
        held = threads.submit(victim.ask, Spin(20), timeout=None)
        eventually(lambda: node.activity()[0].message == "Spin", "it computes")
        waiting = threads.submit(sibling.ask, Add(1, 1), timeout=None)
        victim.stop()
        assert isinstance(held.exception(5), ActorDied)
        error = waiting.exception(5)
        assert isinstance(error, ActorDied)
        assert "victim did not stop" in str(error)
        assert error.death is not None
        assert error.death.actor == "victim"
        assert sibling.ask(Pid()) != pid
        assert node.status().names == ("sibling",)
