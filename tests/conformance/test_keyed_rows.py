# ruff: noqa: N802 - named by the conformance row's id
from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import ActorDied, Node
from gristmill.keyed import KeyedGroup
from gristmill.node.status import GroupStatus
from gristmill.placement.ring import ShardTable
from support.actors import read_lines
from support.keyed import Account, GetAll, Put, Relay, Savings, Slowly, Stubborn, Teller, WhoAreYou
from support.waiting import eventually

KEYS = [f"key-{number}" for number in range(100)]


@pytest.fixture
def four(nothing_is_left: None) -> Iterator[Node]:
    with Node(workers=4, max_restarts=100) as node:
        yield node


@pytest.fixture
def two(nothing_is_left: None) -> Iterator[Node]:
    with Node(workers=2, max_restarts=100) as node:
        yield node


def group_of(node: Node, name: str = "accounts") -> GroupStatus:
    return next(group for group in node.status().groups if group.name == name)


def settled(node: Node) -> GroupStatus:
    return eventually(
        lambda: (found := group_of(node)).moving == 0 and found, "the moves are over", 15.0
    )


def moved_key(before: list[str], after: list[str], *, wanted: str = "") -> str:
    """Find a key that is at home on another worker afterwards."""
    old, new = ShardTable(64, before), ShardTable(64, after)
    return next(
        key
        for key in (f"key-{number}" for number in range(10_000))
        if old.owner(key) != new.owner(key) and wanted in ("", old.owner(key))
    )


def test_SH01_each_key_lives_on_one_worker_and_once(four: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = four.keyed(Account, "accounts", args=(str(log),))
    first = {key: group.ask(key, WhoAreYou()) for key in KEYS}
    tellers = [four.spawn(Teller, placement=f"w{number}") for number in range(1, 5)]
    for number, teller in enumerate(tellers):
        for key in KEYS:
            teller.tell(Relay(group, key, number, number + 1))
    for key in KEYS:
        eventually(lambda key=key: len(group.ask(key, GetAll())) == 4, f"{key} heard all")
        again = group.ask(key, WhoAreYou())
        assert again == first[key]
        assert sorted(group.ask(key, GetAll())) == [0, 1, 2, 3]
    assert len({where.worker for where in first.values()}) == 4
    starts = Counter(line.split()[1] for line in read_lines(log) if line.startswith("start"))
    assert starts == dict.fromkeys(KEYS, 1) | {}
    table = ShardTable(64, ["w1", "w2", "w3", "w4"])
    assert all(where.worker == table.owner(key) for key, where in first.items())


def test_SH02_what_is_sent_before_the_place_is_known_arrives_in_order(two: Node) -> None:
    group = two.keyed(Account, "accounts")
    for number in range(500):
        group.tell("new", Put(number))
    assert group.ask("new", GetAll()) == list(range(500))
    teller = two.spawn(Teller)
    teller.tell(Relay(group, "newer", 0, 500))
    eventually(lambda: group.ask("newer", GetAll()) == list(range(500)), "in order")


def test_SH02_what_is_sent_while_a_shard_moves_arrives_in_order(two: Node, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    group = two.keyed(Account, "accounts", args=(str(log),))
    key = moved_key(["w1", "w2"], ["w1", "w2", "w3"])
    group.tell(key, Put(0))
    held = group[key].request(Slowly(str(gate)))  # the actor can't leave before this is answered
    teller = two.spawn(Teller)
    teller.tell(Relay(group, key, 1000, 1100))
    for number in range(1, 50):
        group.tell(key, Put(number))
    two.add_workers()
    eventually(lambda: group_of(two).moving > 0, "it is about to leave")
    teller.tell(Relay(group, key, 1100, 1200))
    for number in range(50, 100):
        group.tell(key, Put(number))
    gate.touch()
    assert held.result() in (1, 101)  # behind the client's own message; who relays is free
    settled(two)
    assert group.ask(key, WhoAreYou()).worker == "w3"

    def puts() -> list[int]:
        return [int(line.split()[2]) for line in read_lines(log) if line.startswith("put")]

    eventually(lambda: len(puts()) == 300, "nothing is lost")
    assert [number for number in puts() if number < 1000] == list(range(100))
    assert [number for number in puts() if number >= 1000] == list(range(1000, 1200))
    lives = [line.split()[0::2] for line in read_lines(log) if not line.startswith("put")]
    assert [event for event, _ in lives] == ["start", "end", "start"]  # never two at once


def test_SH04_a_killed_workers_keys_start_afresh_with_durable_state_alone(
    nothing_is_left: None, tmp_path: Path
) -> None:
    with Node(workers=2, max_restarts=100, journal=tmp_path / "journal") as node:
        volatile = node.keyed(Account, "accounts")
        durable = node.keyed(Savings, "savings")
        for group in (volatile, durable):
            group.tell("key-1", Put(7))
            assert group.ask("key-1", GetAll()) == [7]
        for group, left in ((volatile, []), (durable, [7])):
            before = group.ask("key-1", WhoAreYou())
            os.kill(before.pid, signal.SIGKILL)

            def after(group: KeyedGroup[Account] = group, pid: int = before.pid) -> bool:
                try:
                    return group.ask("key-1", WhoAreYou()).pid != pid
                except ActorDied:
                    return False

            eventually(after, "another process has it")
            assert group.ask("key-1", GetAll()) == left
            group.tell("key-1", Put(8))
            assert group.ask("key-1", GetAll()) == [*left, 8]


def test_SH06_one_that_does_not_leave_in_time_is_stopped_and_the_move_completes(
    two: Node, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    group = two.keyed(Account, "accounts", args=(str(log),), hand_off=0.3)
    key = moved_key(["w1", "w2"], ["w1", "w2", "w3"])
    before = group.ask(key, WhoAreYou())
    group.tell(key, Stubborn(str(tmp_path / "never")))
    two.add_workers()
    begun = time.monotonic()
    after = group.ask(key, WhoAreYou(), timeout=10.0)
    assert after.worker == "w3"
    assert after.incarnation != before.incarnation
    assert time.monotonic() - begun < 5.0
    assert group_of(two).moving == 0
    assert not [line for line in read_lines(log) if line.startswith("end")]  # killed: no terminate


def test_SH07_a_new_worker_takes_the_least_and_disturbs_no_others(two: Node) -> None:
    group = two.keyed(Account, "accounts")
    before = {key: group.ask(key, WhoAreYou()) for key in KEYS}
    shards = group_of(two).shards
    stop = threading.Event()
    sent = Counter[str]()

    def keep_telling() -> None:
        while not stop.is_set():
            for key in KEYS:
                group.tell(key, Put(sent[key]))
                sent[key] += 1
            stop.wait(0.001)

    talker = threading.Thread(target=keep_telling)
    talker.start()
    try:
        assert two.add_workers() == ["w3"]
        status = settled(two)
        two.remove_worker("w3")
        again = settled(two)
    finally:
        stop.set()
        talker.join()
    assert sum(status.shards.values()) == 64
    assert 0 < status.shards["w3"] <= 2 * 64 // 3
    assert all(status.shards[name] <= shards[name] for name in ("w1", "w2"))
    assert again.shards == shards
    old, new = ShardTable(64, ["w1", "w2"]), ShardTable(64, ["w1", "w2", "w3"])
    moved = {key for key in KEYS if old.owner(key) != new.owner(key)}
    assert moved
    for key in KEYS:
        where, numbers = group.ask(key, WhoAreYou()), group.ask(key, GetAll())
        assert where.worker == before[key].worker
        if key in moved:  # it has begun twice again, and heard the rest without a gap
            assert where.incarnation != before[key].incarnation
            assert numbers == list(range(sent[key] - len(numbers), sent[key]))
        else:
            assert where.incarnation == before[key].incarnation
            assert numbers == list(range(sent[key]))
    assert two.dead_letters() == []
