"""Many requests to a pool: whoever is free gets the next, and replies come in order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorDied, AskTimeoutError, Node, Request
from gristmill.errors import UsageError
from gristmill.node.pool import Pool
from gristmill.testing import Simulation
from support.actors import Add, Compute, Fail, Pid, Worker
from support.batches import Sizes, Square, Squares
from support.functions import passed
from support.poison import Scale, Weigh
from support.processes import kill, next_pid
from support.waiting import eventually


@pytest.fixture(scope="module")
def pool(node: Node) -> Pool[Worker]:
    return node.pool(Worker, 2, args=(10,), max_restarts=1000)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "gate"
    yield path
    path.touch()


def held(gate: Path, then: int) -> Iterator[Request[int]]:
    """Give a request that takes until so many more have been sent, and those."""
    yield Compute(str(gate))
    for _ in range(then):
        yield Pid()
    gate.touch()


def is_even(pool: Pool[Worker]) -> bool:
    """Tell whether the pool takes both members to have as much to do."""
    return len({pool.ask(Pid()) for _ in range(4)}) == 2


@pytest.mark.parametrize("window", [None, 1, 2, 7, 1024])
def test_replies_come_in_the_order_of_the_requests(pool: Pool[Worker], window: int | None) -> None:
    asked = [Pid() if number % 5 == 0 else Add(number, 1) for number in range(3000)]
    replies = list(pool.ask_many(iter(asked), window=window))
    pids = {member.ask(Pid()) for member in pool.members}
    assert len(replies) == len(asked)
    for number, reply in enumerate(replies):
        assert reply in pids if number % 5 == 0 else reply == number + 11
    assert list(pool.ask_many([], window=window)) == []
    assert is_even(pool)


@pytest.mark.parametrize("kind", ["traced", "in_process", "simulated"])
def test_nodes_of_all_kinds_spread(kind: str) -> None:
    node = Simulation(0, workers=2) if kind == "simulated" else Node(
        workers=2, in_process=kind == "in_process", trace=kind == "traced"
    )  # fmt: skip
    with node:
        pool = node.pool(Worker, 2)
        for window in (None, 1, 7, 1024):
            replies = pool.ask_many((Add(number, 1) for number in range(300)), window=window)
            assert list(replies) == list(range(1, 301))


def test_whoever_is_free_gets_the_next(pool: Pool[Worker], gate: Path) -> None:
    first, *others = pool.ask_many(held(gate, then=100), timeout=15.0)
    assert first not in others
    assert len(set(others)) == 1


def test_those_of_a_window_run_ahead_of_one_that_takes_long(pool: Pool[Worker], gate: Path) -> None:
    first, *others = pool.ask_many(held(gate, then=14), window=8, timeout=15.0)
    assert Counter(others)[first] <= 4  # its share of the window


def test_batches_of_a_map_go_to_whoever_is_free(node: Node, gate: Path) -> None:
    steps = [f"wait {gate}", *["pass"] * 20, f"open {gate}"]
    first, *others = node.map(passed, steps, batch=1, timeout=15.0)
    assert first not in others
    assert len(set(others)) == 1


def test_what_is_open_of_a_stream_counts_for_others(pool: Pool[Worker], gate: Path) -> None:
    sent, replies = threading.Event(), []

    def requests() -> Iterator[Request[int]]:
        yield Compute(str(gate))
        sent.set()

    thread = threading.Thread(target=lambda: replies.extend(pool.ask_many(requests())))
    thread.start()
    assert sent.wait(5.0)
    others = {pool.ask(Pid()) for _ in range(10)}
    gate.touch()
    thread.join(10.0)
    assert len(others) == 1
    assert not others.intersection(replies)


def test_an_error_is_raised_in_its_turn_and_ends_the_stream(pool: Pool[Worker]) -> None:
    replies = pool.ask_many([Add(1, 1), Add(2, 1), Fail("why"), *[Add(3, 1)] * 100])
    assert [next(replies), next(replies)] == [12, 13]
    with pytest.raises(ActorCrashed):
        next(replies)
    eventually(lambda: is_even(pool), "nothing is open any more")


def test_who_takes_no_more_replies_leaves_nothing_open(pool: Pool[Worker]) -> None:
    replies = pool.ask_many([Add(number, 1) for number in range(1000)])
    assert next(replies) == 11
    replies.close()  # type: ignore[attr-defined]  # it is a generator
    assert is_even(pool)


def test_each_request_has_its_timeout(pool: Pool[Worker], gate: Path) -> None:
    replies = pool.ask_many([Compute(str(gate)), Pid()], timeout=0.05)
    with pytest.raises(AskTimeoutError, match="Compute"):
        next(replies)


def test_the_death_of_a_worker_is_told(pool: Pool[Worker], gate: Path) -> None:
    victim = pool.members[0].ask(Pid())

    def requests() -> Iterator[Request[int]]:
        yield Compute(str(gate))
        kill(victim)

    with pytest.raises(ActorDied):
        list(pool.ask_many(requests(), timeout=15.0))
    gate.touch()
    eventually(lambda: pool.members[0].ask(Pid()) != victim, "it is back")


def test_idempotent_requests_outlive_the_deaths_of_workers(
    node: Node, pool: Pool[Worker], tmp_path: Path
) -> None:
    scales = node.pool(Scale, 2, args=(str(tmp_path / "log"),), max_restarts=1000)
    numbers = [number for number in range(2000) if number != 13]
    killed: list[int] = []

    def requests() -> Iterator[Weigh]:
        for number in numbers:
            if number in {500, 1000, 1500}:
                killed.append(next_pid(node, "w1", killed))
                kill(killed[-1])
            yield Weigh(number)

    assert list(scales.ask_many(requests(), timeout=30.0)) == numbers
    assert is_even(pool)


def test_members_that_take_batches_find_enough_in_their_mailboxes(node: Node) -> None:
    squares = node.pool(Squares, 2)
    assert list(squares.ask_many(map(Square, range(20, 420)))) == [n * n for n in range(20, 420)]
    sizes = [size for member in squares.members for size in member.ask(Sizes())]
    assert sizes.count(8) >= 40


def test_a_window_is_at_least_one_request(pool: Pool[Worker]) -> None:
    with pytest.raises(UsageError, match="window is 0"):
        pool.ask_many([Pid()], window=0)
