"""Keyed actors beside the rows of the conformance table."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import (
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    Mailbox,
    Node,
    OverflowPolicy,
)
from gristmill.errors import AlreadyStartedError, MailboxFullError, UsageError
from gristmill.testing import Simulation
from support.actors import read_lines
from support.keyed import (
    Account,
    Boom,
    GetAll,
    Late,
    Leave,
    Put,
    Relay,
    RelayByName,
    Savings,
    Slowly,
    Teller,
    WhoAreYou,
)
from support.processes import all_delivered
from support.waiting import eventually


def actors_of(node: Node, name: str) -> int:
    return next(group.actors for group in node.status().groups if group.name == name)


def puts(log: Path) -> list[int]:
    return [int(line.split()[2]) for line in read_lines(log) if line.startswith("put")]


@pytest.fixture
def own(nothing_is_left: None, tmp_path: Path) -> Iterator[Node]:
    with Node(workers=2, max_restarts=100, journal=tmp_path / "journal") as node:
        yield node


def test_an_idle_actor_ends_and_the_next_message_starts_another(node: Node) -> None:
    group = node.keyed(Account, "idle", idle=0.1)
    first = group.ask("key", WhoAreYou())
    group.tell("key", Put(1))
    eventually(lambda: actors_of(node, "idle") == 0, "it has ended")
    assert group.ask("key", WhoAreYou()).incarnation != first.incarnation
    assert group.ask("key", GetAll()) == []


def test_no_message_is_lost_to_idleness(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = node.keyed(Account, "restless", args=(str(log),), idle=0.02)
    teller = node.spawn(Teller)
    for number in range(60):
        group.tell("key", Put(number))
        teller.tell(Relay(group, "key", 1000 + number, 1001 + number))
        time.sleep(0.012 + 0.0004 * number)  # around the time after which it rests
    eventually(lambda: len(puts(log)) == 120, "everything was handled")
    assert [number for number in puts(log) if number < 1000] == list(range(60))
    assert [number for number in puts(log) if number >= 1000] == list(range(1000, 1060))
    lives = [line.split()[0] for line in read_lines(log) if not line.startswith("put")]
    assert lives.count("start") > 1
    assert lives == (["start", "end"] * len(lives))[: len(lives)]


def test_an_actor_that_waits_for_something_is_not_idle(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    group = node.keyed(Account, "waiting", idle=0.02)
    first = group.ask("key", WhoAreYou())
    reply = group["key"].request(Slowly(str(gate)))
    assert not reply.wait(0.3)
    gate.touch()
    assert reply.result() == 0
    assert first.key == "key"


def test_a_group_is_found_by_name_and_travels(node: Node) -> None:
    group = node.keyed(Account, "found")
    assert node.lookup_keyed("found") == group
    teller = node.spawn(Teller)
    assert teller.ask(RelayByName("found", "key", 5)) == [5]
    assert teller.ask(RelayByName("found", "key", 6)) == [5, 6]
    assert node.lookup("found/key").ask(GetAll()) == [5, 6]
    assert "found/key" not in node.status().names
    with pytest.raises(ActorNotFoundError, match="no group is named 'lost'"):
        node.lookup_keyed("lost")


def test_many_are_asked_at_once(node: Node) -> None:
    group = node.keyed(Account, "many")
    for number in range(200):
        group.tell("one", Put(number))
    replies = list(group["one"].ask_many([GetAll()] * 10))
    assert replies == [list(range(200))] * 10


def test_a_crashed_actor_starts_again_with_what_waited(node: Node) -> None:
    group = node.keyed(Account, "crashing", max_restarts=10)
    first = group.ask("key", WhoAreYou())
    group.tell("key", Boom())
    for number in range(5):
        group.tell("key", Put(number))
    assert group.ask("key", GetAll()) == [0, 1, 2, 3, 4]
    assert group.ask("key", WhoAreYou()).incarnation != first.incarnation


def test_a_group_that_crashes_too_often_begins_again_without_its_actors(node: Node) -> None:
    group = node.keyed(Account, "fragile", max_restarts=0)
    first = group.ask("bystander", WhoAreYou())
    group.tell("key", Boom())

    def begun_again() -> bool:
        try:
            return group.ask("bystander", WhoAreYou()).incarnation != first.incarnation
        except (ActorDied, ActorNotFoundError):  # it was asked in the moment of its end
            return False

    eventually(begun_again, "its supervisor has given up, and was started again")
    assert group.ask("key", GetAll()) == []


def test_one_that_leaves_by_itself_is_started_by_the_next_message(node: Node) -> None:
    group = node.keyed(Account, "leaving")
    group.tell("key", Put(1))
    group.tell("key", Leave())
    eventually(lambda: actors_of(node, "leaving") == 0, "it has ended")
    eventually(lambda: group.ask("key", GetAll()) == [], "another one answers")


def test_one_that_can_not_start_fails_its_askers_with_the_reason(node: Node) -> None:
    group = node.keyed(Account, "failing")
    letters = len(node.dead_letters())
    group.tell("refuses to start", Put(1))
    with pytest.raises(ActorNotFoundError, match=r"could not start.*not me"):
        group.ask("refuses to start", WhoAreYou())
    eventually(lambda: len(node.dead_letters()) > letters, "the message is a dead letter")
    teller = node.spawn(Teller)
    with pytest.raises(Exception, match="could not start"):
        teller.ask(RelayByName("failing", "refuses to start", 5))
    assert group.ask("another", GetAll()) == []


@pytest.mark.parametrize("policy", [OverflowPolicy.FAIL, OverflowPolicy.DROP_OLDEST])
def test_what_waits_with_a_sender_is_bounded(own: Node, tmp_path: Path, policy: str) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    mailbox = Mailbox(4, OverflowPolicy(policy))
    group = own.keyed(Account, "bounded", args=(str(log),), mailbox=mailbox, shards=1)
    home = group.ask("key", WhoAreYou()).worker
    held = group["key"].request(Slowly(str(gate)))
    mover = threading.Thread(target=own.remove_worker, args=(home,))
    mover.start()
    eventually(lambda: next(g.moving for g in own.status().groups), "it is about to leave")
    for number in range(4):
        group.tell("key", Put(number))
    if policy is OverflowPolicy.FAIL:
        with pytest.raises(MailboxFullError):
            group.tell("key", Put(4))
    else:
        group.tell("key", Put(4))
    gate.touch()
    assert held.result() == 0
    mover.join()
    kept = [0, 1, 2, 3] if policy is OverflowPolicy.FAIL else [1, 2, 3, 4]
    eventually(lambda: puts(log) == kept, "the rest has arrived")
    assert len(own.dead_letters()) == (policy is OverflowPolicy.DROP_OLDEST)


def test_what_must_arrive_follows_an_actor_that_moves(own: Node) -> None:
    group = own.keyed(Savings, "savings")
    keys = [f"key-{number}" for number in range(20)]
    for number in range(10):
        for key in keys:
            group.tell(key, Put(number), delivery="at_least_once")
        if number == 3:
            own.add_workers()
        if number == 7:
            own.remove_worker("w3")
    all_delivered(group["key-1"])
    assert [group.ask(key, GetAll()) for key in keys] == [list(range(10))] * 20


def test_what_must_arrive_is_sent_at_the_next_start(nothing_is_left: None, tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path) as node:
        group = node.keyed(Savings, "savings")
        with node.together():
            group.tell("key", Put(1), delivery="at_least_once")
        node.stop(0)
    with Node(workers=1, journal=tmp_path) as node:
        group = node.keyed(Savings, "savings")
        all_delivered(group["key"])
        assert group.ask("key", GetAll()) == [1]


def test_a_worker_with_others_on_it_is_not_removed(own: Node) -> None:
    own.spawn(Teller, name="rooted", placement="w2")
    with pytest.raises(UsageError, match="w2 hosts actors that can't move: rooted"):
        own.remove_worker("w2")
    with pytest.raises(UsageError, match="'w9' is no worker"):
        own.remove_worker("w9")
    own.remove_worker("w1")
    with pytest.raises(UsageError, match="the last worker"):
        own.remove_worker("w2")
    assert own.workers == 1
    assert own.add_workers(2) == ["w3", "w4"]
    assert list(own.map(abs, [-1, -2, -3])) == [1, 2, 3]


def test_bad_arguments_get_one_clear_error(node: Node) -> None:
    group = node.keyed(Account, "good")
    with pytest.raises(AlreadyStartedError, match="lookup_keyed"):
        node.keyed(Account, "good")
    with pytest.raises(UsageError, match="without '/'"):
        node.keyed(Account, "a/b")
    with pytest.raises(UsageError, match="shards is 0"):
        node.keyed(Account, "none", shards=0)
    with pytest.raises(UsageError, match="a key is a text"):
        group[""]
    with pytest.raises(UsageError, match="can't be monitored"):
        node.monitor(group["key"])
    with pytest.raises(UsageError, match="add_workers"):
        node.add_workers(0)


def test_it_works_in_one_process(nothing_is_left: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Node(workers=2, in_process=True) as node:
        group = node.keyed(Account, "accounts", args=(str(log),))
        keys = [f"key-{number}" for number in range(10)]
        for number in range(20):
            for key in keys:
                group.tell(key, Put(number))
            if number == 5:
                node.add_workers()
            if number == 12:
                node.remove_worker("w3")
        teller = node.spawn(Teller)
        assert teller.ask(RelayByName("accounts", "key-1", 20))[-1] == 20
        homes = {group.ask(key, WhoAreYou()).worker for key in keys}
        assert homes == {"w1", "w2"}
        for key in keys:
            mine = [line for line in read_lines(log) if line.startswith(f"put {key} ")]
            heard = [int(line.split()[2]) for line in mine]
            assert heard == list(range(21 if key == "key-1" else 20))


@pytest.mark.parametrize("seed", range(12))
def test_it_holds_in_every_order_of_a_simulation(seed: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Simulation(workers=2, seed=seed, max_restarts=100) as node:
        group = node.keyed(Account, "accounts", args=(str(log),), shards=8, idle=0.05)
        tellers = [node.spawn(Teller, placement=f"w{number}") for number in (1, 2)]
        keys = ["a", "b", "c"]
        for number in range(12):
            for key in keys:
                group.tell(key, Put(number))
                for place, teller in enumerate(tellers, 1):
                    teller.tell(Relay(group, key, 1000 * place + number, 1000 * place + number + 1))
            if number == 4:
                node.add_workers()
            if number == 8:
                node.remove_worker("w3")
        for key in keys:
            for _ in range(1000):
                mine = [line for line in read_lines(log) if line.startswith(f"put {key} ")]
                if len(mine) == 36:
                    break
                group.ask(key, GetAll())
            heard = [int(line.split()[2]) for line in mine]
            for place in range(3):
                own = [number for number in heard if number // 1000 == place]
                assert own == list(range(1000 * place, 1000 * place + 12))


def test_who_gives_up_before_an_actor_has_started_takes_no_room(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    group = node.keyed(Late, "late", args=(str(gate),))
    for _ in range(2):
        with pytest.raises(AskTimeoutError):
            group.ask("key", GetAll(), timeout=0.05)
    gate.touch()
    eventually(lambda: actors_of(node, "late") == 1, "it has started")
    for _ in range(3):
        assert group.ask("key", GetAll()) == []
