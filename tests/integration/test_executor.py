from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gristmill import ActorCrashed, ActorDied, Node
from gristmill.errors import NodeStoppedError, PayloadTooLargeError, UsageError
from gristmill.node.executor import NodeExecutor
from support.actors import Quote
from support.functions import (
    Corner,
    Till,
    blank,
    dearer,
    die,
    divide,
    doubled,
    first,
    no_plain_data,
    pair,
    power,
    process,
    total,
    wait_for,
    zeros,
)
from support.waiting import eventually


@pytest.fixture
def executor(node: Node) -> Iterator[NodeExecutor]:
    with node.executor() as made:
        yield made


def test_a_future_gives_what_the_function_returned(executor: NodeExecutor) -> None:
    assert executor.submit(power, 3).result(5) == 9
    assert executor.submit(power, 2, exponent=10).result(5) == 1024
    assert executor.submit(total, 1, 2, three=3).result(5) == 6


def test_values_keep_their_types_by_the_annotations(executor: NodeExecutor) -> None:
    assert executor.submit(dearer, Quote("a", 5), cents=2).result(5) == Quote("a", 7)
    assert executor.submit(pair, 1).result(5) == (1, "1")
    array = executor.submit(doubled, np.arange(3.0)).result(5)
    assert array.tolist() == [0.0, 2.0, 4.0]


def test_calls_use_every_worker(executor: NodeExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    held = executor.submit(wait_for, str(gate))
    others = {executor.submit(process).result(5) for _ in range(5)}
    assert len(others) == 1, "the other worker ran all of them"
    assert not held.done()
    gate.touch()
    assert held.result(5) == str(gate)


@pytest.mark.parametrize("chunksize", [1, 7, 1000])
def test_map_gives_results_in_order(executor: NodeExecutor, chunksize: int) -> None:
    found = executor.map(power, range(100), [2, 3] * 50, chunksize=chunksize)
    assert list(found) == [n ** (2 + n % 2) for n in range(100)]
    assert list(executor.map(power, [], chunksize=chunksize)) == []


def test_map_raises_what_failed_in_its_place(executor: NodeExecutor) -> None:
    results = executor.map(divide, [1.0, 2.0, 3.0], [1.0, 0.0, 3.0])
    assert next(results) == 1.0
    with pytest.raises(ActorCrashed, match="divide raised ZeroDivisionError"):
        next(results)


def test_map_that_takes_too_long_times_out(executor: NodeExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results = executor.map(wait_for, [str(gate)] * 3, timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    gate.touch()


def test_an_exception_shows_the_remote_traceback_as_its_cause(executor: NodeExecutor) -> None:
    error = executor.submit(divide, 1.0, 0.0).exception(5)
    assert isinstance(error, ActorCrashed)
    assert error.error is not None
    assert error.error.type == "ZeroDivisionError"
    assert "return dividend / divisor" in str(error.__cause__)


def test_arguments_and_results_that_can_not_travel_end_only_their_call(
    executor: NodeExecutor,
) -> None:
    assert "can't travel" in str(executor.submit(no_plain_data, 1).exception(5))
    assert isinstance(executor.submit(power, object()).exception(5), UsageError)  # type: ignore[arg-type]  # the mistake
    assert "missing 1 required" in str(executor.submit(power).exception(5))  # type: ignore[call-arg]  # the mistake
    assert executor.submit(power, 2).result(5) == 4


def test_what_no_worker_could_import_is_refused_at_once(executor: NodeExecutor) -> None:
    with pytest.raises(UsageError, match="lambda"):
        executor.submit(lambda: 1)
    with pytest.raises(UsageError, match="chunksize is 0"):
        executor.map(power, [1], chunksize=0)
    with pytest.raises(UsageError, match="bound to a Till"):
        executor.submit(Till(3).price, 1)
    with pytest.raises(UsageError, match="inherited by Corner"):
        executor.map(Corner.opened, [1])
    assert executor.submit(Till.opened, 1).result(5) == "Till 1"


def test_a_queued_call_can_be_cancelled_and_a_running_one_not(
    executor: NodeExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running: list[Future[Any]] = [executor.submit(wait_for, str(gate)) for _ in range(2)]
    queued = executor.submit(power, 2)
    behind = executor.submit(power, 3)
    assert [future.cancel() for future in (*running, queued)] == [False, False, True]
    gate.touch()
    assert behind.result(5) == 9
    assert [future.result(5) for future in running] == [str(gate)] * 2
    assert queued.cancelled()


@pytest.mark.parametrize("cancel", [True, False])
def test_shutdown_ends_what_was_submitted(node: Node, tmp_path: Path, *, cancel: bool) -> None:
    executor = node.executor()
    gate = tmp_path / f"gate-{cancel}"
    running: list[Future[Any]] = [executor.submit(wait_for, str(gate)) for _ in range(2)]
    queued = executor.submit(power, 2)
    threading.Timer(0.02, gate.touch).start()
    executor.shutdown(cancel_futures=cancel)
    assert all(future.done() for future in (*running, queued))
    assert queued.cancelled() is cancel
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(power, 2)


def test_the_death_of_a_worker_fails_its_call_and_the_executor_goes_on(
    executor: NodeExecutor,
) -> None:
    for _ in range(6):  # more often than supervisors restart by default
        error = executor.submit(die).exception(10)
        assert isinstance(error, ActorDied)
        assert isinstance(error, BrokenExecutor)
    assert [f.result(10) for f in [executor.submit(power, n) for n in range(4)]] == [0, 1, 4, 9]


def test_many_threads_submit_at_once(executor: NodeExecutor) -> None:
    def work(start: int) -> int:
        futures = [executor.submit(power, start + n) for n in range(50)]
        return sum(future.result(10) for future in as_completed(futures, 10))

    with ThreadPoolExecutor(4) as threads:
        sums = list(threads.map(work, range(0, 200, 50)))
    assert sum(sums) == sum(n * n for n in range(200))


def test_a_callback_may_submit_and_ask(node: Node, executor: NodeExecutor) -> None:
    second: Future[int] = Future()

    def go_on(first: Future[int]) -> None:
        inner = executor.submit(power, first.result())
        inner.add_done_callback(lambda done: second.set_result(done.result()))
        assert node.lookup("gristmill-functions-1").name

    executor.submit(power, 3).add_done_callback(go_on)
    assert second.result(5) == 81


def test_an_event_loop_can_use_it(executor: NodeExecutor) -> None:
    async def run() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, power, n) for n in range(9)))

    assert asyncio.run(run()) == [n * n for n in range(9)]


def test_its_thread_ends_when_there_is_nothing_to_do(executor: NodeExecutor) -> None:
    assert executor.submit(power, 2).result(5) == 4
    eventually(lambda: executor._thread is None, "the thread has ended")
    assert executor.submit(power, 2).result(5) == 4


def test_the_end_of_the_node_fails_what_waits(tmp_path: Path) -> None:
    with Node(workers=1) as node:
        executor = node.executor()
        futures = [executor.submit(wait_for, str(tmp_path / "never")) for _ in range(2)]
        node.stop(0)
    running, queued = (future.exception(5) for future in futures)
    assert isinstance(running, BrokenExecutor)
    assert isinstance(queued, BrokenExecutor)
    assert isinstance(queued, NodeStoppedError)
    executor.shutdown()


def test_in_process() -> None:
    with Node(workers=2, in_process=True) as node, node.executor() as executor:
        assert list(executor.map(power, range(20), chunksize=3)) == [n * n for n in range(20)]
        assert "ZeroDivisionError" in str(executor.submit(divide, 1.0, 0.0).exception(5))


def frames(make: Callable[[int], npt.NDArray[np.float64]], size: int) -> Iterator[Any]:
    """Give one array again and again, with another number in it."""
    frame = make(size)
    for number in range(8):
        frame[:] = number
        yield frame
    frame[:] = -1


@pytest.mark.parametrize("size", [50, 50_000])
@pytest.mark.parametrize("room", [True, False])
def test_what_a_caller_does_to_arguments_later_nobody_sees(
    node: Node,
    executor: NodeExecutor,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    *,
    room: bool,
) -> None:
    if not room:
        monkeypatch.setattr(node._connected().post.arrays.pool._segments, "_limit", 0)
    for make in (np.zeros, node.empty):
        wanted = [float(number) for number in range(8)]
        assert [f.result(5) for f in [executor.submit(first, x) for x in frames(make, size)]] == (
            wanted
        )
        assert list(executor.map(first, frames(make, size), chunksize=3)) == wanted
        assert list(node.map(first, frames(make, size), batch=1)) == wanted
        assert list(node.map(first, frames(make, size))) == wanted
        kept = make(size)
        kept[:] = 5
        results = node.map(first, [kept])
        kept[:] = -1
        assert list(results) == [5.0]


def test_batches_are_as_large_as_messages_can_be(node: Node, executor: NodeExecutor) -> None:
    size, count = 100_000, 700  # 70 MB
    assert [len(each) for each in node.map(blank, [size] * count, batch=count)] == [size] * count
    assert list(node.map(len, [bytes(size)] * count, batch=count)) == [size] * count
    found = executor.map(blank, [size] * count, chunksize=count)
    assert [len(each) for each in found] == [size] * count
    assert list(executor.map(len, [bytes(size)] * count, chunksize=count)) == [size] * count
    assert len(executor.submit(blank, 40_000_000).result(10)) == 40_000_000


def test_a_result_that_is_too_large_is_the_error_of_its_call(node: Node) -> None:
    before = {node.executor().submit(process).result(5) for _ in range(2)}
    results = node.map(zeros, [3, 10**9, 5], batch=3)
    assert next(results).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ActorCrashed, match=r"functions:zeros raised .*8,000,000,000 bytes"):
        next(results)
    assert {node.executor().submit(process).result(5) for _ in range(2)} == before


def test_arguments_that_are_too_large_are_named(node: Node, executor: NodeExecutor) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"the arguments of builtins:len: .* 70,000,0"):
        node.map(len, [b"", bytes(70_000_000)])
    with pytest.raises(PayloadTooLargeError, match="the arguments of builtins:len"):
        executor.map(len, [b"", bytes(70_000_000)])
    with pytest.raises(PayloadTooLargeError, match="the arguments of builtins:len"):
        executor.map(len, [np.broadcast_to(0.0, 10**10)])
    error = executor.submit(len, bytes(70_000_000)).exception(5)
    assert isinstance(error, PayloadTooLargeError)
