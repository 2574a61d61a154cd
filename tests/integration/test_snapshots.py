"""Snapshots of durable actors: few events are replayed, and none is lost or comes twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import Durable, Node
from gristmill.durability.journal import read_journal
from gristmill.errors import StartFailedError, UsageError
from gristmill.testing import Faults, Simulation
from support.accounts import (
    Account,
    Balance,
    Deposit,
    DepositOnce,
    FsyncEachCommit,
    Moody,
    Plain,
    Replayed,
)
from support.processes import all_delivered, kill, next_pid


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(params=["processes", "in_process"])
def either(request: pytest.FixtureRequest, journal: Path) -> Iterator[Node]:
    """Give a node of each kind."""
    with Node(
        workers=2, journal=journal, max_restarts=1000, in_process=request.param == "in_process"
    ) as started:
        yield started


def test_a_start_replays_only_what_came_after_the_snapshot(either: Node, journal: Path) -> None:
    ref = either.spawn(Account, name="account", placement="w1")
    for _ in range(25):
        ref.tell(Deposit(1))
    assert ref.ask(Balance()) == 25
    with read_journal(journal) as reader:
        snapshot = reader.last_snapshot("account")
        assert snapshot is not None
        assert snapshot.seq + len(list(reader.replay("account"))) == 25
        assert snapshot.seq >= 10
    ref.stop()
    again = either.spawn(Account, name="account", placement="w2")
    snapshots, events = again.ask(Replayed())
    assert snapshots == 1
    assert events == 25 - snapshot.seq
    assert again.ask(Balance()) == 25
    again.tell(Deposit(1))
    assert again.ask(Balance()) == 26


def test_the_keys_of_requests_are_in_the_snapshot(either: Node) -> None:
    ref = either.spawn(Account, name="account")
    for number in range(30):
        assert ref.ask(DepositOnce(f"key-{number}", 1)) == number + 1
    ref.stop()
    again = either.spawn(Account, name="account")
    assert again.ask(Replayed())[0] == 1
    for number in range(30):
        assert again.ask(DepositOnce(f"key-{number}", 1)) == number + 1
    assert again.ask(Balance()) == 30


def test_state_is_back_after_kills_and_after_a_restart_of_the_whole_node(journal: Path) -> None:
    told = 0
    chance = random.Random(3)
    for _ in range(2):
        with Node(workers=2, journal=journal, max_restarts=1000) as node:
            ref = node.spawn(Account, name="account", placement=chance.choice(["w1", "w2"]))
            killed: list[int] = []
            for _ in range(2):
                for _ in range(15):
                    ref.tell(Deposit(1), delivery="at_least_once")
                    told += 1
                killed.append(next_pid(node, f"w{ref.address.home}", killed))
                kill(killed[-1])
            all_delivered(ref)
            assert ref.ask(Balance()) == told


@pytest.mark.parametrize("seed", range(10))
def test_no_event_is_lost_or_comes_twice_whatever_goes_wrong(seed: int) -> None:
    faults = Faults(kill_every=0.05, crash_every=0.1, until=1.0)
    with Simulation(
        seed, workers=2, journal=True, faults=faults, max_restarts=10_000, within=1.0
    ) as sim:
        ref = None
        while ref is None:
            try:
                ref = sim.spawn(Account, name="account")
            except StartFailedError:
                continue
        for _ in range(60):
            ref.tell(Deposit(1), delivery="at_least_once")
            sim.advance(0.02)
        sim.advance(1.0)
        sim.run_until(lambda: sim.undelivered == 0)
        assert ref.ask(Balance()) == 60


def test_an_actor_that_fails_to_give_a_snapshot_keeps_its_events(either: Node) -> None:
    ref = either.spawn(Moody, name="account")
    for _ in range(25):
        ref.tell(Deposit(1))
    assert ref.ask(Balance()) == 25
    ref.stop()
    again = either.spawn(Moody, name="account")
    assert again.ask(Replayed()) == (0, 25)


def test_an_actor_without_snapshot_and_restore_can_not_be_asked_for_them(either: Node) -> None:
    with pytest.raises(
        StartFailedError, match=r"define snapshot\(self\) and restore\(self, state\) in Plain"
    ):
        either.spawn(Plain, name="plain", facets=[Durable(snapshot_every=5)])
    with pytest.raises(UsageError, match="snapshot_every is -1"):
        Durable(snapshot_every=-1)


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_power_adds_an_fsync_to_every_commit(
    journal: Path, durability: str, synchronous: int
) -> None:
    # in WAL mode SQLite syncs the log at each commit when this is FULL (2), else at checkpoints
    with Node(workers=1, journal=journal, durability=durability) as node:  # type: ignore[arg-type]  # a parameter
        ref = node.spawn(Plain, name="plain")
        ref.tell(Deposit(1))
        assert ref.ask(Balance()) == 1
        assert ref.ask(FsyncEachCommit()) == [("wal", synchronous)]
