from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorDied, Node, Ref
from gristmill.errors import GristmillError, UsageError
from support.actors import (
    Add,
    Compute,
    Die,
    Fail,
    ForwardHold,
    Ledger,
    Note,
    Notes,
    Pid,
    Poisoned,
    Witness,
    Worker,
    read_lines,
)
from support.processes import all_delivered, kill, next_pid, worker_pids
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually

DEATHS = [
    pytest.param("kill", "killed by SIGKILL", id="kill"),
    pytest.param("segv", "killed by SIGSEGV", id="segfault"),
    pytest.param("exit", "exited with code 7", id="os._exit"),
]


@pytest.mark.parametrize(("how", "told"), DEATHS)
def test_the_asker_is_told_at_once_how_the_worker_died(node: Node, how: str, told: str) -> None:
    ref = node.spawn(Worker, placement="w1")
    first = ref.ask(Pid())
    begun = time.monotonic()
    with pytest.raises(ActorDied, match=f"was asked Die when its worker w1 died .{told}"):
        ref.ask(Die(how), timeout=None)
    assert time.monotonic() - begun < 1.0
    assert ref.ask(Pid()) != first
    ref.stop()


@pytest.mark.parametrize(("how", "told"), DEATHS)
def test_an_asking_actor_is_told_at_once(node: Node, how: str, told: str) -> None:
    callee = node.spawn(Worker, placement="w1")
    caller = node.spawn(Worker, placement="w2")
    begun = time.monotonic()
    reply = caller.ask(ForwardHold(callee, how), timeout=None)
    assert time.monotonic() - begun < 1.0
    assert reply.startswith("ActorDied: ")
    assert told in reply
    assert callee.ask(Add(1, 1)) == 2
    callee.stop()
    caller.stop()


def test_all_actors_of_a_dead_worker_come_back_and_others_never_notice(node: Node) -> None:
    near = [node.spawn(Worker, name=f"near-{n}", placement="w1") for n in range(5)]
    far = node.spawn(Worker, name="far", placement="w2")
    far.tell(Note(1))
    for ref in near:
        ref.tell(Note(1))
        assert ref.ask(Notes()) == [1]
    kill(worker_pids(node)["w1"])
    eventually(lambda: _answers_anew(near), "all are back, with new state")
    assert far.ask(Notes()) == [1]


def _answers_anew(refs: list[Ref[Worker]]) -> bool:
    for ref in refs:
        try:
            if ref.ask(Notes(), timeout=2):
                return False
        except ActorDied:
            return False
    return True


def test_a_kill_under_load_costs_only_what_was_in_flight(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1")
    died = answered = 0
    victim = worker_pids(node)["w1"]
    for number in range(3000):
        if number == 1000:
            kill(victim)
        try:
            assert ref.ask(Add(number, 1)) == number + 1
            answered += 1
        except ActorDied:
            died += 1
    assert died <= 1
    assert answered >= 2999


def test_a_kill_with_many_open_asks_tells_each_of_them(node: Node) -> None:
    ref = node.spawn(Worker, placement="w1")
    ref.ask(Pid())
    outcomes = []

    def one(number: int) -> str:
        try:
            return str(ref.ask(Add(number, 0), timeout=10))
        except ActorDied:
            return "died"

    with ThreadPoolExecutor(16) as threads:
        running = [threads.submit(one, n) for n in range(400)]
        kill(worker_pids(node)["w1"])
        outcomes = [future.result(10) for future in running]
    assert all(outcome in ("died", str(n)) for n, outcome in enumerate(outcomes))
    assert outcomes[-1] == "399"


def test_a_poisonous_at_least_once_message_becomes_a_dead_letter(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1, journal=tmp_path / "journal", max_restarts=10) as node:
        ref = node.spawn(Poisoned, args=(str(seen),), name="poisoned")
        for number in (1, 13, 2):
            ref.tell(Note(number), delivery="at_least_once")
        eventually(lambda: read_lines(seen)[-1:] == ["2"], "the message behind the poison")
        assert read_lines(seen) == ["1", "13", "13", "13", "2"]
        (letter,) = eventually(node.dead_letters, "a dead letter")
        assert "thirteen" in letter.reason
        assert letter.error is not None
        all_delivered(ref)


def test_default_delivery_never_handles_a_crashing_message_twice(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1) as node:
        ref = node.spawn(Poisoned, args=(str(seen),), name="poisoned")
        for number in (1, 13, 2):
            ref.tell(Note(number))
        eventually(lambda: read_lines(seen) == ["1", "13", "2"], "each was tried once")
        assert len(node.dead_letters()) == 1


def test_a_durable_actor_counts_each_message_once_across_kills(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    sent = list(range(1, 301))
    dead: list[int] = []
    with Node(workers=2, journal=journal, max_restarts=100) as node:
        ref = node.spawn(Ledger, name="ledger", placement="w1")
        for number in sent:
            ref.tell(Note(number), delivery="at_least_once")
            if number % 100 == 50:
                dead.append(next_pid(node, "w1", dead))
                kill(dead[-1])
        all_delivered(ref)
        assert _patiently(lambda: ref.ask(Notes())) == sent
        assert node.status().worker_restarts >= 1
    with Node(workers=2, journal=journal) as node:
        again = node.spawn(Ledger, name="ledger", placement="w2")
        assert again.ask(Notes()) == sent


def test_a_volatile_actor_gets_each_message_at_least_once_across_kills(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with Node(workers=1, journal=tmp_path / "journal", max_restarts=100) as node:
        ref = node.spawn(Witness, args=(str(seen),), name="witness")
        for number in range(1, 101):
            ref.tell(Note(number), delivery="at_least_once")
            if number == 50:
                kill(worker_pids(node)["w1"])
        all_delivered(ref)
    noted = [line for line in read_lines(seen) if line.startswith("note")]
    assert set(noted) == {f"note {n}" for n in range(1, 101)}


def test_what_a_run_could_not_deliver_is_delivered_by_the_next_one(tmp_path: Path) -> None:
    journal, seen, gate = tmp_path / "journal", tmp_path / "seen", tmp_path / "gate"
    node = Node(workers=1, journal=journal).start()
    ref = node.spawn(Witness, args=(str(seen),), name="witness")
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(ref.ask, Compute(str(gate)), timeout=None)
        eventually(lambda: ref._post._pending, "the actor computes")  # type: ignore[attr-defined]  # ours
        for number in (1, 2, 3):
            ref.tell(Note(number), delivery="at_least_once")
        node.stop(0)
        with contextlib.suppress(GristmillError):
            held.result(5)
    assert read_lines(seen) == ["start witness"]
    with Node(workers=1, journal=journal) as node:
        node.spawn(Witness, args=(str(seen),), name="witness")
        eventually(lambda: "note 3" in read_lines(seen), "the messages of the run before")
    assert [line for line in read_lines(seen) if line[:4] == "note"] == [
        "note 1",
        "note 2",
        "note 3",
    ]


def test_a_crash_of_a_durable_actor_undoes_its_handlers_events(tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path / "journal") as node:
        ref = node.spawn(Ledger, name="ledger")
        ref.tell(Note(1))
        with pytest.raises(ActorCrashed, match="on purpose"):
            ref.ask(Fail("on purpose"))
        assert ref.ask(Notes()) == [1]


def test_what_is_told_together_leaves_when_the_block_ends(tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path / "journal") as node:
        ref = node.spawn(Ledger, name="ledger")
        with node.together():
            for number in range(1, 51):
                ref.tell(Note(number), delivery="at_least_once")
            assert node.undelivered == 0
            assert ref.ask(Notes()) == []
        eventually(lambda: ref.ask(Notes()) == list(range(1, 51)), "all were handled in order")
        eventually(lambda: not node.undelivered, "all were acknowledged")


def test_at_least_once_needs_a_journal_and_a_name(tmp_path: Path) -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Worker, name="named")
        with pytest.raises(UsageError, match=r"Node\(journal=DIRECTORY\)"):
            ref.tell(Note(1), delivery="at_least_once")
    with Node(workers=1, journal=tmp_path / "journal") as node:
        ref = node.spawn(Worker)
        with pytest.raises(UsageError, match="has no name"):
            ref.tell(Note(1), delivery="at_least_once")


def _patiently(ask: Callable[[], list[int]]) -> list[int]:
    while True:
        try:
            return ask()
        except ActorDied:
            continue
