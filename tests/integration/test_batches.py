"""Batch handlers, over real processes, in one process and simulated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gristmill import ActorCrashed, ActorDied, AskTimeoutError, Node, Ref, Reject
from gristmill.errors import ActorError, DecodeError, GristmillError
from gristmill.testing import Simulation
from support import batches as b
from support.mailboxes import in_one_go
from support.processes import all_delivered, kill, next_pid, worker_pids
from support.waiting import eventually


@pytest.fixture(scope="module", params=["processes", "in_process", "simulated"])
def node(
    request: pytest.FixtureRequest,
    own_temporary_directory: Path,
    nothing_is_left: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    """Give a node of each kind, with a journal."""
    options: dict[str, Any] = {"workers": 2, "max_restarts": 1000, "within": 1.0}
    if request.param == "simulated":
        with Simulation(0, journal=True, **options) as simulated:
            yield simulated
        return
    journal = tmp_path_factory.mktemp("journal")
    in_process = request.param == "in_process"
    with Node(in_process=in_process, journal=journal, **options) as started:
        yield started


@pytest.fixture
def squares(node: Node) -> Iterator[Ref[b.Squares]]:
    ref = node.spawn(b.Squares)
    yield ref
    ref.stop()


def outcomes(node: Node, ref: Ref[Any], requests: list[Any]) -> list[Any]:
    """Give the replies, or errors, of requests that are in the mailbox together."""
    with in_one_go(node, ref):
        pending = [ref.request(request) for request in requests]
    found: list[Any] = []
    for each in pending:
        try:
            found.append(each.result(timeout=10.0))
        except GristmillError as error:
            found.append(error)
    return found


def test_messages_in_a_row_come_together_and_are_answered_in_order(
    node: Node, squares: Ref[b.Squares]
) -> None:
    numbers = [*range(20, 40)]
    assert outcomes(node, squares, [b.Square(n) for n in numbers]) == [n * n for n in numbers]
    assert squares.ask(b.Sizes()) == [8, 8, 4]


def test_another_message_ends_a_batch_and_keeps_its_place(
    node: Node, squares: Ref[b.Squares]
) -> None:
    requests = [b.Square(2), b.Square(3), b.Cube(2), b.Square(4), b.SquareLater(5), b.Square(6)]
    assert outcomes(node, squares, requests) == [4, 9, 8, 16, 25, 36]
    assert squares.ask(b.Sizes()) == [2, 0, 1, 1, 1]


def test_one_alone_is_a_batch_of_one(squares: Ref[b.Squares]) -> None:
    assert squares.ask(b.Square(7)) == 49
    assert squares.ask(b.Sizes()) == [1]


def test_a_reject_among_the_replies_refuses_that_ask_alone(
    node: Node, squares: Ref[b.Squares]
) -> None:
    first, second, third = outcomes(node, squares, [b.Square(n) for n in (3, 13, 4)])
    assert (first, third) == (9, 16)
    assert isinstance(second, Reject)
    assert second.code == "luck"


def test_a_reject_that_is_raised_refuses_all(node: Node, squares: Ref[b.Squares]) -> None:
    found = outcomes(node, squares, [b.Square(n) for n in (3, -2, 4)])
    assert [getattr(each, "code", each) for each in found] == ["negative"] * 3
    assert squares.ask(b.Square(2)) == 4
    assert squares.ask(b.Sizes()) == [3, 1]  # it has not crashed


@pytest.mark.parametrize("kind", [b.Square, b.SquareLater])
def test_a_crash_is_told_to_all_in_hand_and_what_waits_stays(
    node: Node, squares: Ref[b.Squares], kind: Any
) -> None:
    letters = len(node.dead_letters())
    found = outcomes(node, squares, [kind(n) for n in (3, -1, 4, 5, 5, 5, 5, 5, 6, 7)])
    assert all(isinstance(each, ActorCrashed) for each in found[:8])
    assert "minus one" in str(found[0])
    assert found[8:] == [36, 49]
    eventually(lambda: len(node.dead_letters()) == letters + 8, "each is a dead letter")


def test_a_message_that_is_malformed_is_refused_alone(node: Node, squares: Ref[b.Squares]) -> None:
    requests = [b.Square(2), b.Square("x"), b.Square(3)]  # type: ignore[arg-type]  # the test
    first, second, third = outcomes(node, squares, requests)
    assert (first, third) == (4, 9)
    assert isinstance(second, DecodeError)
    assert squares.ask(b.Sizes()) == [2]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("short", "Squares.wrong answered 3 Wrong with 2 replies"),
        ("none", "Squares.wrong answered a batch of Wrong with a NoneType"),
        ("type", r"Squares.wrong answered Wrong with a str.*reply 2 of 3"),
    ],
)
def test_wrong_replies_crash_with_the_name_of_the_handler(
    node: Node, squares: Ref[b.Squares], how: str, told: str
) -> None:
    for error in outcomes(node, squares, [b.Wrong(how)] * 3):
        assert isinstance(error, ActorCrashed)
        with pytest.raises(ActorCrashed, match=told):
            raise error


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("postpone", r"ctx.postpone\(\) is about one message"),
        ("defer", r"ctx.defer_reply\(\) is about one message"),
        ("sender", "ctx.sender is about one message.*ctx.senders"),
    ],
)
def test_what_is_about_one_message_is_refused_in_a_batch(
    squares: Ref[b.Squares], what: str, told: str
) -> None:
    with pytest.raises(ActorCrashed, match=told):
        squares.ask(b.Misuse(what))


def test_senders_has_one_for_each_message(node: Node, squares: Ref[b.Squares]) -> None:
    askers = [node.spawn(b.Asker, name=f"asker-{n}") for n in (1, 2)]
    with in_one_go(node, squares):
        pending = [squares.request(b.WhoAmI())]
        pending += [asker.request(b.AskWho(squares)) for asker in askers]
    assert [each.result() for each in pending] == ["client", "asker-1", "asker-2"]
    for asker in askers:
        asker.stop()


def test_expired_messages_are_not_computed(node: Node, squares: Ref[b.Squares]) -> None:
    with in_one_go(node, squares):
        first = squares.request(b.Square(2))
        with pytest.raises(AskTimeoutError):
            squares.ask(b.Square(3), timeout=0.01)
        last = squares.request(b.Square(4))
    assert (first.result(), last.result()) == (4, 16)
    assert squares.ask(b.Sizes()) == [2]


def test_async_batch_handlers_answer_in_order(node: Node, squares: Ref[b.Squares]) -> None:
    numbers = [*range(20)]
    requests = [b.SquareLater(n) for n in numbers]
    assert outcomes(node, squares, requests) == [n * n for n in numbers]
    assert squares.ask(b.Sizes()) == [8, 8, 4]


def test_a_full_batch_does_not_wait_and_a_short_one_waits_no_longer_than_it_may(
    node: Node,
) -> None:
    patient = node.spawn(b.Patient)
    assert list(patient.ask_many([b.Square(n) for n in range(8)])) == [n * n for n in range(8)]
    assert patient.ask(b.Cube(2), timeout=10.0) == 8
    sizes = patient.ask(b.Sizes())
    assert max(sizes) <= 4
    assert sum(sizes) == 9
    patient.stop()


def test_another_message_does_not_wait_behind_a_batch_that_waits(node: Node) -> None:
    patient = node.spawn(b.Patient)
    first = patient.request(b.Square(3))
    assert patient.ask(b.Sizes(), timeout=5.0) == [1]  # 10 s would be too long
    assert first.result() == 9
    patient.stop()


def test_durable_actors_handle_each_numbered_message_once_and_in_order(node: Node) -> None:
    keeper = node.spawn(b.Keeper, name="keeper", placement="w1")
    asker = node.spawn(b.Asker, name="relay", placement="w2")
    with in_one_go(node, keeper):
        for number in range(20, 40):
            keeper.tell(b.Put(number), delivery="at_least_once")
        assert asker.ask(b.Relay(keeper, tuple(range(50, 60)))) == 10
    kept = eventually(lambda: _kept(keeper, 30), "all have been handled")
    assert [n for n in kept if n < 50] == [*range(20, 40)]
    assert [n for n in kept if n >= 50] == [*range(50, 60)]
    sizes = keeper.ask(b.Sizes())
    assert max(sizes) == 8
    for ref in (keeper, asker):
        ref.stop()


def _kept(keeper: Ref[Any], count: int) -> list[int]:
    kept = keeper.ask(b.Kept())
    return kept if len(kept) == count else []


def test_the_poison_of_a_batch_is_found_and_the_others_are_handled(node: Node) -> None:
    keeper = node.spawn(b.Keeper, name="poisoned")
    letters = len(node.dead_letters())
    with in_one_go(node, keeper):
        for number in (1, 2, 13, 4, 5):
            keeper.tell(b.Put(number), delivery="at_least_once")
    eventually(lambda: _kept_through_restarts(keeper) == [1, 2, 4, 5], "all but the poison")
    (letter,) = eventually(lambda: node.dead_letters()[letters:], "the poison")
    assert "thirteen" in letter.reason
    keeper.stop()


def _kept_through_restarts(keeper: Ref[Any]) -> list[int]:
    try:
        return keeper.ask(b.Kept())
    except ActorError:
        return []


def test_events_of_a_channel_come_in_batches(node: Node) -> None:
    keeper = node.spawn(b.Keeper, name="listener")
    with in_one_go(node, keeper):
        for number in range(12):
            node.publish("calls", b.Happened(number))
    assert eventually(lambda: _kept(keeper, 12), "all have come") == [*range(12)]
    keeper.stop()


def test_the_report_counts_messages_and_batches(node: Node) -> None:
    if isinstance(node, Simulation):
        pytest.skip("virtual time has no granularity")
    ref = node.spawn(b.Governed)
    assert list(ref.ask_many([b.Square(n) for n in range(500)])) == [n * n for n in range(500)]
    sizes = ref.ask(b.Sizes())
    rows = eventually(
        lambda: [
            row
            for row in node.granularity().types
            if row.actor == "Governed" and row.message == "Square" and row.messages == 500
        ],
        "the report has all messages",
    )
    (row,) = rows
    assert row.items == 500
    assert row.batches == len(sizes)
    assert sum(row.hist.compute.values()) == sum(row.hist.mailbox_wait.values()) == 500
    assert row.governor is not None
    assert row.governor.target == 10.0
    assert row.governor.size >= 1
    ref.stop()


# --- over processes alone ---


def test_batches_across_kills_of_the_worker(tmp_path: Path) -> None:
    with Node(workers=2, journal=tmp_path, max_restarts=100) as node:
        keeper = node.spawn(b.Keeper, name="keeper", placement="w1")
        killed: list[int] = []
        for number in range(20, 320):
            keeper.tell(b.Put(number), delivery="at_least_once")
            if number % 100 == 70:
                killed.append(next_pid(node, "w1", killed))
                kill(killed[-1])
        all_delivered(keeper)
        assert eventually(lambda: _kept_through_restarts(keeper), "it is up") == [*range(20, 320)]
        assert node.status().worker_restarts >= 1


def test_the_poison_of_a_batch_that_kills_its_worker_is_quarantined(tmp_path: Path) -> None:
    with Node(workers=1, journal=tmp_path, max_restarts=100) as node:
        keeper = node.spawn(b.Keeper, name="keeper")
        with contextlib.suppress(ActorDied), in_one_go(node, keeper):  # it dies as it goes on
            for number in (1, 2, 666, 4, 5):
                keeper.tell(b.Put(number), delivery="at_least_once")
        eventually(lambda: _kept_through_restarts(keeper) == [1, 2, 4, 5], "all others", 20.0)
        (letter,) = eventually(node.dead_letters, "the poison")
        assert "quarantined" in letter.reason
        all_delivered(keeper)


def test_an_async_batch_whose_worker_dies_is_answered_at_once() -> None:
    with Node(workers=1, max_restarts=100) as node, ThreadPoolExecutor(3) as threads:
        ref = node.spawn(b.Squares)
        asked = [threads.submit(ref.ask, b.SquareLater(-3), timeout=None) for _ in range(3)]
        eventually(lambda: all(each.running() for each in asked), "all have begun")
        assert ref.request(b.SquareLater(1)).wait(0.05) is False  # behind the one that waits
        kill(worker_pids(node)["w1"])
        for each in asked:
            with pytest.raises(ActorDied):
                each.result(5)
