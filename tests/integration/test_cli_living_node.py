"""``gristmill tree``, ``stack`` and ``status`` beside a node that works and fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import ActorDied, Node
from support.actors import Add, Compute, Die, Hold, Note, Pid, Worker
from support.commands import gristmill
from support.deaths import HoldGil, Slow, Spin
from support.processes import kill, worker_pids
from support.waiting import eventually


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Node]:
    """Give a node whose first worker computes and whose second one has messages waiting."""
    gate = tmp_path / "gate"
    with Node(workers=2, node_id="busy", max_restarts=10) as node, ThreadPoolExecutor(2) as threads:
        node.spawn(Worker, name="computing", placement="w1")
        waiting = node.spawn(Worker, name="waiting", placement="w2")
        with pytest.raises(ActorDied):
            waiting.ask(Die("kill"))
        waiting.ask(Add(1, 1))
        asked = threads.submit(node.lookup("computing").ask, Compute(str(gate)), timeout=30)
        eventually(lambda: node.activity()[0].message == "Compute", "it computes")
        yield node
        gate.touch()
        asked.result(10)


def test_the_tree_shows_where_actors_are_and_what_they_do(busy: Node, tmp_path: Path) -> None:
    pids = worker_pids(busy)
    text = gristmill(tmp_path, "tree", "-n", "busy").stdout
    assert f"computing  running  w1 ({pids['w1']})  Compute for " in text
    assert "? waiting" in text
    assert f"waiting  running  w2 ({pids['w2']})  restarted 1 time (killed by SIGKILL)" in text
    root = json.loads(gristmill(tmp_path, "tree", "-n", "busy", "--json").stdout)
    members = {child["id"]: child for child in root["children"]}
    assert members["computing"]["mailbox"] is None
    assert (
        members["waiting"] | {"worker": "w2", "pid": pids["w2"], "mailbox": 0}
        == (members["waiting"])
    )
    assert root["strategy"] == "one_for_one"


def test_the_tree_shows_what_waits(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Slow, name="behind", placement="w1")
    # an async handler holds its actor and not its worker
    with ThreadPoolExecutor(1) as threads:
        gate = tmp_path / "gate"
        held = threads.submit(ref.ask, Hold(str(gate)), timeout=30)
        for number in range(3):
            ref.tell(Note(number))

        def mailbox() -> Any:
            told = gristmill(tmp_path, "tree", "-n", node.node_id, "--json").stdout
            members = {child["id"]: child for child in json.loads(told)["children"]}
            return members["behind"]["mailbox"]

        eventually(lambda: mailbox() == 3, "all three wait", 20)
        gate.touch()
        held.result(10)
    ref.stop()


def test_watching_json_is_refused(tmp_path: Path) -> None:
    refused = gristmill(tmp_path, "tree", "--watch", "--json")
    assert refused.returncode == 2
    assert "--watch draws on the terminal" in refused.stderr


def test_stacks_are_shown_behind_a_held_gil(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Slow, name="stuck", placement="w1", restart="temporary")
    pid = ref.ask(Pid())
    ref.tell(HoldGil(40))
    eventually(lambda: node.activity()[0].message == "HoldGil", "it holds the GIL")
    shown = gristmill(tmp_path, "stack", "-n", node.node_id).stdout
    assert f"w1  pid {pid}  ready  stuck handles HoldGil, " in shown
    assert "in hold_gil" in shown
    assert "w2  pid " in shown
    assert "no handler runs" in shown
    (one,) = json.loads(
        gristmill(tmp_path, "stack", "-n", node.node_id, "--worker", "w1", "--json").stdout
    )
    assert one["activity"]["actor"] == "stuck"
    assert one["activity"]["seconds"] > 0
    kill(pid)


def test_asking_for_stacks_harms_nobody(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Slow, name="works", placement="w2")
    pid = ref.ask(Pid())
    with ThreadPoolExecutor(1) as threads:
        spinning = threads.submit(ref.ask, Spin(1.0), timeout=10)
        for _ in range(2):
            gristmill(tmp_path, "stack", "-n", node.node_id)
        assert spinning.result(10) == 1
    assert ref.ask(Pid()) == pid
    ref.stop()


def test_an_unknown_worker_is_named_with_the_known_ones(node: Node, tmp_path: Path) -> None:
    refused = gristmill(tmp_path, "stack", "-n", node.node_id, "--worker", "w9")
    assert refused.returncode == 2
    assert "no worker 'w9' (workers: w1, w2" in refused.stderr
