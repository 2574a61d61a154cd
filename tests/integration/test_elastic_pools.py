"""Pools that grow under load and shrink without it, and lose nothing by it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from gristmill import Node
from gristmill.config import PoolConfig
from gristmill.errors import UsageError
from gristmill.node.building.application import library_bootstrap
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.node.pool import Pool
from gristmill.node.status import PoolStatus
from gristmill.placement.elasticity import Elasticity
from support.actors import read_lines
from support.elastic import Wait, WaitAndNote, Waiting, WhoHas
from support.waiting import eventually

RULE = Elasticity(2, 12, cooldown=0.1)


def pool_of(node: Node, name: str) -> PoolStatus:
    return next(pool for pool in node.status().pools if pool.name == name)


def at_rest(node: Node, name: str, size: int) -> None:
    def there() -> bool:
        pool = pool_of(node, name)
        return (pool.size, pool.starting, pool.leaving) == (size, 0, 0)

    eventually(there, f"{name} has {size} members", 15.0)


class Load:
    """Asks a pool from several threads for as long as a ``with`` block lasts."""

    def __init__(self, pool: Pool[Any], threads: int, **options: Any) -> None:
        self._pool = pool
        self._options = options
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        self.answers: list[str] = []
        self.errors: list[Exception] = []

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(self._pool.ask(Wait(0.01), timeout=30.0, **self._options))
            except Exception as error:
                self.errors.append(error)
                return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=["round_robin", "least_loaded"])
def pool(node: Node, request: pytest.FixtureRequest) -> Pool[Waiting]:
    name = f"elastic-{request.param}"
    return node.pool(Waiting, 2, name=name, routing=request.param, elastic=RULE)


def test_it_grows_under_load_and_shrinks_without_it(node: Node, pool: Pool[Waiting]) -> None:
    assert len(pool) == 2
    letters = len(node.dead_letters())
    with Load(pool, 24) as load:
        at_rest(node, pool.name, 12)
        eventually(lambda: len(set(load.answers[-100:])) == 12, "all have part in it")
    at_rest(node, pool.name, 2)
    assert len(pool) == 2
    assert load.errors == []
    assert pool.ask(WhoHas())
    assert len(node.dead_letters()) == letters


def test_nothing_is_lost_while_it_changes(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    rule = Elasticity(1, 8, cooldown=0.05)
    pool = node.pool(Waiting, 1, args=(str(log),), name="lossless", elastic=rule)
    sent = 0
    for _ in range(4):  # up and down again, with messages on their way throughout
        for _ in range(60):
            pool.tell(WaitAndNote(0.005, sent))
            sent += 1
        eventually(lambda: pool_of(node, "lossless").size > 1, "it has grown")
        while pool_of(node, "lossless").size > 1:
            pool.tell(WaitAndNote(0.0, sent))
            sent += 1
    eventually(lambda: len(read_lines(log)) == sent, "everything was handled")
    handled = sorted(int(line.split()[0]) for line in read_lines(log))
    assert handled == list(range(sent))


def test_a_key_keeps_its_member_as_long_as_that_is_one(node: Node) -> None:
    rule = Elasticity(2, 6, cooldown=0.1)
    pool = node.pool(Waiting, 2, name="hashed", routing="consistent_hash", elastic=rule)
    keys = [f"key-{number}" for number in range(30)]
    before = {key: pool.ask(WhoHas(), key=key) for key in keys}
    with Load(pool, 12, key="busy") as load:  # one of two is busy, which is no reason to grow
        assert {key: pool.ask(WhoHas(), key=key) for key in keys} == before
    assert len(set(load.answers)) == 1
    assert load.errors == []
    with pytest.raises(UsageError, match="say key="):
        pool.ask(WhoHas())


def test_who_joins_gets_of_what_is_asked_already(node: Node) -> None:
    pool = node.pool(Waiting, 2, name="joined", elastic=RULE)
    assert len(set(pool.ask_many([Wait(0.01)] * 600, timeout=30.0))) > 2


def test_many_at_once_and_from_a_loop(node: Node) -> None:
    pool = node.pool(Waiting, 2, name="many", elastic=RULE)
    assert len(list(pool.ask_many([Wait(0.005)] * 200, window=30, timeout=30.0))) == 200

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(pool.ask_async(Wait(0.005), timeout=30.0) for _ in range(60)))

    assert len(asyncio.run(all_at_once())) == 60
    assert pool_of(node, "many").size > 2
    at_rest(node, "many", 2)


def test_the_configuration_makes_a_declared_pool_elastic(
    nothing_is_left: None, tmp_path: Path
) -> None:
    file = tmp_path / "release.toml"
    file.write_text("[node]\nworkers = 2\n[pools.callers]\nmin = 1\nmax = 4\ncooldown = 0.1\n")
    builder = NodeBuilder().pool(Waiting, "callers")
    config = library_bootstrap().load(file, environ={})
    assert config.table(PoolConfig)["callers"].max == 4
    with builder.configure(config).build() as node:
        pool = node.lookup_pool("callers", routing="round_robin")
        with Load(pool, 8):
            at_rest(node, "callers", 4)
        at_rest(node, "callers", 1)


def test_it_works_in_one_process(nothing_is_left: None) -> None:
    with Node(workers=2, in_process=True) as node:
        pool = node.pool(Waiting, 2, name="callers", elastic=RULE)
        answers = list(pool.ask_many([Wait(0.01)] * 300, window=24, timeout=30.0))
        assert len(answers) == 300
        assert len(set(answers)) > 2
        eventually(lambda: pool_of(node, "callers").size == 2, "it has shrunk")
        assert pool.ask(WhoHas())


def test_bad_arguments_get_one_clear_error(node: Node) -> None:
    with pytest.raises(UsageError, match="1 <= min <= size <= max"):
        node.pool(Waiting, 1, elastic=Elasticity(2, 5))
    with pytest.raises(UsageError, match="scale_down < scale_up / 2"):
        node.pool(Waiting, 2, elastic=Elasticity(2, 5, 0.8, 0.5))
    with pytest.raises(UsageError, match="cooldown is 0"):
        node.pool(Waiting, 2, elastic=Elasticity(2, 5, cooldown=0))
    pool = node.pool(Waiting, 2, name="bad", elastic=RULE)
    with pytest.raises(UsageError, match="needs a journal"):
        pool.tell(WaitAndNote(0.0, 1), delivery="at_least_once")
    with pytest.raises(UsageError, match="come and go"):
        node.monitor(pool.member())
    with pytest.raises(UsageError, match="can't travel"):
        node.spawn(Waiting, args=(pool.member(),))


@pytest.mark.parametrize("routing", ["round_robin", "least_loaded"])
def test_a_client_keeps_nothing_of_what_was_answered(node: Node, routing: str) -> None:
    pool = node.pool(Waiting, 2, name=f"forgets-{routing}", routing=routing, elastic=RULE)
    for _ in range(20):
        pool.ask(Wait(0.0))
    kept = node._connected().post.keyed._open
    assert sum(map(len, kept.values())) <= 2  # of each member the last one
