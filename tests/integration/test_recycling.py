"""Workers that are replaced after so many messages, or with so much memory: one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node, NodeBuilder, Recycle
from gristmill.config import SECTIONS, TABLES, ConfigBootstrap
from gristmill.errors import ConfigError, UsageError
from support.commands import gristmill
from support.moving import Grow, Mover, Where
from support.processes import worker_pids
from support.waiting import eventually


def test_after_so_many_messages_one_worker_at_a_time(tmp_path: Path) -> None:
    with Node(workers=2, recycle=Recycle(messages=500), max_restarts=0, node_id="rec") as node:
        movers = [node.spawn(Mover, placement=f"w{n}") for n in (1, 2)]
        before = worker_pids(node)
        seen: set[frozenset[int]] = set()

        def both_were_replaced() -> bool:
            seen.add(frozenset(ref.ask(Where(), timeout=10.0) for ref in movers))
            for ref in movers:
                list(ref.ask_many([Where()] * 100))
            return not set(worker_pids(node).values()) & set(before.values())

        eventually(both_were_replaced, "both workers are fresh", 20.0)
        # the second was replaced when the first had been, so both were seen in between
        assert any(len(pids & frozenset(before.values())) == 1 for pids in seen)
        status = node.status()
        assert status.recycled >= 1
        assert status.worker_restarts == 0
        assert status.workers[0].last_exit.startswith("recycled: it has handled ")
        shown = gristmill(tmp_path, "status").stdout
        assert "recycled)" in shown
        assert "(shutdown: its worker" in gristmill(tmp_path, "tree").stdout
        assert node.dead_letters() == []


def test_with_so_much_memory() -> None:
    with Node(workers=1, recycle=Recycle(memory="150M")) as node:
        mover = node.spawn(Mover)
        (small,) = worker_pids(node).values()
        assert mover.ask(Grow(200)) == small
        eventually(lambda: node.status().recycled == 1, "it is replaced", 10.0)
        assert mover.ask(Where()) != small
        assert "MiB of memory" in node.status().workers[0].last_exit


def test_the_limits_come_from_builder_and_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no release.toml is
    bootstrap = ConfigBootstrap(SECTIONS, tables=TABLES)
    file = tmp_path / "limits.toml"
    file.write_text('[node]\nrecycle_messages = 7\nrecycle_memory = "1G"\n')
    built = NodeBuilder().recycle(messages=3)
    assert built.configure(bootstrap.load(environ={})).build()._recycle == Recycle(messages=3)
    told = built.configure(bootstrap.load(file, environ={})).build()
    assert told._recycle.limits == (7, 1 << 30)
    file.write_text('[node]\nrecycle_memory = "much"\n')
    with pytest.raises(ConfigError, match="recycle_memory is 'much'; write bytes, or a size such"):
        bootstrap.load(file, environ={})


def test_bad_limits() -> None:
    for wrong in (-1, True, "many"):
        with pytest.raises(UsageError, match="messages is"):
            Recycle(messages=wrong)  # type: ignore[arg-type]  # that is what is tested
    for wrong in ("12 apples", -5, True):
        with pytest.raises(UsageError, match="memory is"):
            Recycle(memory=wrong)
    with pytest.raises(UsageError, match="in_process"):
        Node(in_process=True, recycle=Recycle(messages=1))
