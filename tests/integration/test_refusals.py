"""A durable actor that refuses after it has persisted keeps nothing of it, whatever dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorNotFoundError, Node, Ref, Reject
from gristmill.errors import ActorDied, InvalidStateTransition
from gristmill.testing import Faults, Simulation
from support import tellers as t
from support.actors import read_lines
from support.processes import all_delivered, kill, worker_pids
from support.waiting import eventually


@pytest.fixture(params=["processes", "in_process", "simulated"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """Give a node of each kind whose supervisor restarts nobody."""
    options = {"workers": 2, "journal": tmp_path / "journal", "max_restarts": 0}
    kinds = {
        "processes": lambda: Node(**options),
        "in_process": lambda: Node(in_process=True, **options),
        "simulated": lambda: Simulation(3, **options),
    }
    with kinds[request.param]() as started:
        yield started


@pytest.mark.parametrize("how", ["now", "later"])
def test_the_asker_gets_the_refusal_and_nothing_else_has_happened(either: Node, how: str) -> None:
    listener = either.spawn(t.Listener, placement="w2")
    ref = either.spawn(t.Teller, args=(listener,), name="teller", placement="w1")
    assert ref.ask(t.Deposit(1)) == 1
    for _ in range(3):  # more often than its supervisor would restart it
        with pytest.raises(Reject, match="after all") as caught:
            ref.ask(t.Deposit(50, how))
        assert caught.value.code == how
        assert ref.ask(t.Balance()) == 1
    assert ref.ask(t.Deposit(2)) == 3
    # it would have heard of the others before the last one
    eventually(lambda: listener.ask(t.Balance()) == 3, "what the deposits have told")
    eventually(lambda: either.status().actor_restarts == 3, "the restarts are counted")
    assert either.dead_letters() == []


def test_an_at_least_once_message_that_is_refused_counts_as_handled(either: Node) -> None:
    ref = either.spawn(t.Teller, name="teller")
    for cents in (1, -50, 2, -50, 3):
        ref.tell(t.DepositTold(cents), delivery="at_least_once")
    all_delivered(ref)
    assert ref.ask(t.Balance()) == 6
    assert either.dead_letters() == []


def test_an_idempotency_key_that_was_completed_is_free_again(either: Node) -> None:
    ref = either.spawn(t.Teller, name="teller")
    for cents in (1, 2):  # another payload under the key: no conflict, as nothing was kept
        with pytest.raises(Reject, match="after all"):
            ref.ask(t.DepositOnce("key", cents))


def test_a_transition_that_is_refused_behind_an_event(either: Node) -> None:
    ref = either.spawn(t.Box, name="box")
    assert ref.ask(t.Deposit(1)) == 1
    with pytest.raises(InvalidStateTransition):
        ref.ask(t.Deposit(50, "close"))
    assert ref.ask(t.Balance()) == 1


def test_who_refuses_and_stops_is_gone_with_what_it_has_journaled(either: Node) -> None:
    ref = either.spawn(t.Teller, name="teller", restart="temporary")
    assert ref.ask(t.Deposit(1)) == 1
    with pytest.raises(Reject):
        ref.ask(t.DepositAndLeave(50))
    with pytest.raises(ActorNotFoundError):
        ref.ask(t.Balance())
    again = either.spawn(t.Teller, name="teller")
    assert again.ask(t.Balance()) == 1


def test_who_persists_when_it_is_cancelled_starts_again(either: Node, tmp_path: Path) -> None:
    ref = either.spawn(t.Teller, name="teller")
    log = tmp_path / "log"
    pending = ref.request(t.PayWhenCancelled(50, str(log)))
    eventually(lambda: either.status() and read_lines(log), "it waits")
    pending.abandon()
    assert ref.ask(t.Balance()) == 0
    assert ref.ask(t.Deposit(1)) == 1
    eventually(lambda: either.status().actor_restarts == 1, "the restart is counted")


def test_who_persists_after_its_end_is_refused(either: Node, tmp_path: Path) -> None:
    ref = either.spawn(t.Teller, name="teller", shutdown="brutal_kill", restart="temporary")
    log = tmp_path / "log"
    ref.request(t.PayWhenCancelled(50, str(log)))
    eventually(lambda: either.status() and read_lines(log), "it waits")
    ref.stop()
    eventually(lambda: either.status() and len(read_lines(log)) == 2, "the end of its handler")
    assert "persists when its incarnation has ended" in read_lines(log)[1]
    again = either.spawn(t.Teller, name="teller")
    assert again.ask(t.Balance()) == 0


def test_who_postpones_after_it_has_persisted_is_told_the_mistake(tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path / "journal") as node:
        ref = node.spawn(t.Teller, name="teller")
        with pytest.raises(ActorCrashed, match="postpone before you persist"):
            ref.ask(t.Postponing(50))
        assert ref.ask(t.Balance()) == 0


def test_the_log_says_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"workers": 1, "journal": tmp_path / "journal", "in_process": True}
    with caplog.at_level(logging.WARNING), Node(**options) as node:  # type: ignore[arg-type]  # a table
        ref = node.spawn(t.Teller, name="teller")
        with pytest.raises(Reject):
            ref.ask(t.Deposit(50, "now"))
        assert ref.ask(t.Balance()) == 0
    (line,) = [r.getMessage() for r in caplog.records if "teller has persisted" in r.getMessage()]
    assert "ended Deposit by Reject('after all')" in line
    assert "refuse before you persist" in line


def test_kills_between_refusals(tmp_path: Path) -> None:
    with Node(workers=2, journal=tmp_path / "journal", max_restarts=1000) as node:
        ref = node.spawn(t.Teller, name="teller", placement="w1")
        for paid in range(1, 5):
            assert ref.ask(t.Deposit(1)) == paid
            with pytest.raises(Reject):
                ref.ask(t.Deposit(50, "now"))
            kill(worker_pids(node)["w1"])
            assert balance(ref) == paid


@pytest.mark.parametrize("seed", range(8))
def test_kills_anywhere(seed: int) -> None:
    faults = Faults(kill_every=0.2, until=3.0)
    with Simulation(seed, journal=True, max_restarts=10_000, faults=faults) as sim:
        ref = sim.spawn(t.Teller, name="teller")
        paid = 0
        for _ in range(100):
            cents = sim.random.choice((1, -50))
            paid += max(0, cents)
            ref.tell(t.DepositTold(cents), delivery="at_least_once")
            sim.advance(0.02)
        sim.run_until(lambda: sim.undelivered == 0)
        assert balance(ref) == paid
        assert sim.status().worker_restarts > 1


def balance(ref: Ref[t.Teller]) -> int:
    """Ask until it lives."""
    while True:
        try:
            return ref.ask(t.Balance())
        except ActorDied:
            continue
