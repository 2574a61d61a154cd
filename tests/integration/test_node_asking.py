from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gristmill import (
    ActorCrashed,
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    Node,
    Ref,
    Reject,
)
from gristmill.errors import (
    AlreadyStartedError,
    NodeStoppedError,
    PayloadTooLargeError,
    ReplyTypeError,
    StartFailedError,
    UnknownMessageError,
    UsageError,
)
from gristmill.transport.codec import MAX_BODY
from gristmill.worker.telemetry import counters
from support.actors import (
    Add,
    AskSelf,
    BadStart,
    Blob,
    BlockingAsk,
    Compute,
    Crash,
    Fail,
    Forward,
    GetQuote,
    Hold,
    HoldAgain,
    Incarnation,
    Leave,
    Lie,
    Nap,
    Narrow,
    Note,
    Notes,
    Pid,
    Pump,
    PumpWaiting,
    Quote,
    Refuse,
    Unheard,
    UnheardCommand,
    Worker,
    invert,
    square,
)
from support.processes import kill
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually


@pytest.fixture(scope="module")
def worker(node: Node) -> Ref[Worker]:
    return node.spawn(Worker, args=(10,), name="asked", placement="w1")


@pytest.fixture(scope="module")
def other(node: Node) -> Ref[Worker]:
    return node.spawn(Worker, name="other", placement="w2")


def test_an_ask_gives_the_declared_reply(worker: Ref[Worker]) -> None:
    assert worker.ask(GetQuote("SKU-1", 3)) == Quote("SKU-1", 300)
    assert worker.ask(Add(1, 2)) == 13


def test_actors_run_in_other_processes(worker: Ref[Worker], other: Ref[Worker]) -> None:
    pids = {worker.ask(Pid()), other.ask(Pid()), os.getpid()}
    assert len(pids) == 3


def test_ask_many_keeps_order_and_raises_an_error_in_its_place(worker: Ref[Worker]) -> None:
    requests = [Add(i, 0) for i in range(3000)]
    assert list(worker.ask_many(requests, window=64)) == [10 + i for i in range(3000)]
    mixed = [Add(1, 0), Refuse("no"), Add(2, 0)]
    replies = worker.ask_many(mixed)
    assert next(replies) == 11
    with pytest.raises(Reject, match="no"):
        next(replies)
    assert worker.ask(Add(0, 0)) == 10


def test_threads_and_loops_ask_at_once(worker: Ref[Worker], other: Ref[Worker]) -> None:
    async def many(count: int) -> int:
        replies = await asyncio.gather(*(other.ask_async(Add(i, 1)) for i in range(count)))
        return sum(replies)

    def loop_after_loop(_: int) -> int:
        return sum(asyncio.run(many(50)) for _ in range(5))

    def one_by_one(_: int) -> int:
        return sum(worker.ask(Add(i, 0)) for i in range(300))

    def pipelined(_: int) -> int:
        return sum(other.ask_many((Add(i, 0) for i in range(300)), window=32))

    with ThreadPoolExecutor(8) as threads:
        loops = [threads.submit(loop_after_loop, n) for n in range(2)]
        singles = [threads.submit(one_by_one, n) for n in range(3)]
        pipes = [threads.submit(pipelined, n) for n in range(3)]
        assert [f.result(20) for f in loops] == [5 * sum(range(1, 51))] * 2
        assert [f.result(20) for f in singles] == [sum(range(10, 310))] * 3
        assert [f.result(20) for f in pipes] == [sum(range(300))] * 3


def test_more_async_asks_than_the_mailbox_has_places(worker: Ref[Worker]) -> None:
    async def many() -> list[int]:
        return await asyncio.gather(*(worker.ask_async(Add(i, 0)) for i in range(3000)))

    assert asyncio.run(many()) == [10 + i for i in range(3000)]


def test_a_waiting_thread_takes_over_when_the_reader_leaves(
    worker: Ref[Worker], other: Ref[Worker], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(worker.ask, Hold(str(first)), timeout=10)
        eventually(lambda: worker._post._reading.led, "a thread reads")  # type: ignore[attr-defined]  # ours
        follower = threads.submit(other.ask, Hold(str(second)), timeout=10)
        first.touch()
        leader.result(5)
        second.touch()
        assert follower.result(5) == other.ask(Pid())


def test_a_timeout_names_the_living_callee_and_its_late_answer_is_dropped(
    worker: Ref[Worker], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with pytest.raises(AskTimeoutError, match=r"asked is alive and did not answer Hold in 0\.05 s"):
        worker.ask(Hold(str(gate)), timeout=0.05)
    gate.touch()
    assert worker.ask(Add(1, 1)) == 12


def test_an_async_timeout(other: Ref[Worker], tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def ask() -> None:
        await other.ask_async(Hold(str(gate)), timeout=0.05)

    with pytest.raises(AskTimeoutError, match="other is alive"):
        asyncio.run(ask())
    gate.touch()
    assert other.ask(Add(1, 1)) == 2


def test_a_message_whose_asker_has_given_up_is_not_computed(
    node: Node, worker: Ref[Worker], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with pytest.raises(AskTimeoutError):
        worker.ask(Compute(str(gate)), timeout=0.05)
    with pytest.raises(AskTimeoutError):
        worker.ask(Unheard(), timeout=0.05)
    gate.touch()
    letters = eventually(
        lambda: [x for x in node.dead_letters() if x.reason.startswith("expired")], "a dead letter"
    )
    assert letters[-1].message_type == "support.actors:Unheard"
    assert letters[-1].target == "asked"


def test_a_refusal_reaches_the_asker_and_harms_nobody(worker: Ref[Worker]) -> None:
    life = worker.ask(Incarnation())
    with pytest.raises(Reject, match="over the limit") as caught:
        worker.ask(Refuse("over the limit"))
    assert caught.value.code == "too_much"
    assert worker.ask(Incarnation()) == life


def test_a_crash_reaches_the_asker_at_once_with_the_remote_traceback(worker: Ref[Worker]) -> None:
    life = worker.ask(Incarnation())
    begun = time.monotonic()
    with pytest.raises(
        ActorCrashed, match="asked crashed while handling Fail: ValueError: boom"
    ) as e:
        worker.ask(Fail("boom"), timeout=None)
    assert time.monotonic() - begun < 1.0
    error = e.value.error
    assert error is not None
    assert error.cause is not None
    assert error.cause.type == "KeyError"
    assert "actors.py" in error.traceback
    assert "raise ValueError(msg.text) from error" in "".join(e.value.__notes__)
    assert worker.ask(Incarnation()) != life


def test_a_crash_resets_the_state_and_keeps_the_mailbox(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ref = node.spawn(Worker)
    ref.tell(Note(1))
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(ref.ask, Compute(str(gate)))
        ref.tell(Crash("x"))
        ref.tell(Note(2))
        ref.tell(Note(3))
        gate.touch()
        held.result(5)
    assert ref.ask(Notes()) == [2, 3]


def test_on_restart_drop_makes_dead_letters_of_the_mailbox(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ref = node.spawn(Worker, name="dropper", on_restart="drop")
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(ref.ask, Compute(str(gate)))
        eventually(lambda: not held.done(), "the actor computes")
        ref.tell(Crash("x"))
        ref.tell(Note(2))
        gate.touch()
        held.result(5)
    eventually(
        lambda: [x for x in node.dead_letters() if "dropped at the restart" in x.reason],
        "a dead letter",
    )
    assert ref.ask(Notes()) == []


def test_an_unknown_message_names_what_is_known(node: Node, worker: Ref[Worker]) -> None:
    life = worker.ask(Incarnation())
    with pytest.raises(UnknownMessageError, match=r"asked has no handler for .*Unheard.*GetQuote"):
        worker.ask(Unheard())
    worker.tell(UnheardCommand())
    letters = eventually(
        lambda: [x for x in node.dead_letters() if x.message_type.endswith("UnheardCommand")],
        "a dead letter",
    )
    assert "no handler" in letters[0].reason
    assert worker.ask(Incarnation()) == life


def test_a_reply_of_the_wrong_type_is_the_handlers_crash(worker: Ref[Worker]) -> None:
    with pytest.raises(
        (ReplyTypeError, ActorCrashed), match=r"Worker\.lie answered Lie with a str"
    ):
        worker.ask(Lie())
    assert worker.ask(Add(0, 0)) == 10


def test_a_payload_over_the_limit_is_refused_by_its_sender(worker: Ref[Worker]) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"Blob is .* bytes"):
        worker.ask(Blob(bytes(MAX_BODY + 1)))
    assert worker.ask(Blob(bytes(3 * 1024 * 1024)), timeout=10) == 3 * 1024 * 1024


def test_a_synchronous_handler_cannot_ask(worker: Ref[Worker], other: Ref[Worker]) -> None:
    with pytest.raises(Reject, match=r"can't ask other .*Make the handler async"):
        worker.ask(BlockingAsk(other))


def test_an_async_handler_asks_other_actors(worker: Ref[Worker], other: Ref[Worker]) -> None:
    assert worker.ask(Forward(other, 4, 5)) == 9
    assert other.ask(Forward(worker, 4, 5)) == 19


def test_asking_oneself_is_refused_at_once(worker: Ref[Worker]) -> None:
    with pytest.raises(Reject, match="asks itself"):
        worker.ask(AskSelf(), timeout=None)


def test_a_message_to_a_stopped_actor(node: Node) -> None:
    ref = node.spawn(Worker, name="short-lived")
    ref.stop()
    begun = time.monotonic()
    with pytest.raises(ActorNotFoundError):
        ref.ask(Add(1, 1), timeout=None)
    assert time.monotonic() - begun < 1.0
    ref.tell(Note(1))
    eventually(
        lambda: [x for x in node.dead_letters() if x.message_type.endswith(":Note")],
        "a dead letter",
    )
    with pytest.raises(ActorNotFoundError, match="short-lived"):
        node.lookup("short-lived")


def test_what_waits_for_an_actor_that_stops_is_handled_first(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ref = node.spawn(Worker)
    with ThreadPoolExecutor(3) as threads:
        held = threads.submit(ref.ask, Compute(str(gate)))
        added = threads.submit(lambda: list(ref.ask_many([Add(1, 1), Add(2, 2)])))
        gate.touch()
        held.result(5)
        ref.stop()
        assert added.result(5) == [2, 4]


def test_what_was_told_before_a_stop_is_handled_before_it(node: Node) -> None:
    letters = node.status().dead_letters
    for number in range(200):
        ref = node.spawn(Worker)
        ref.tell(Note(number))
        ref.stop()
    assert node.status().dead_letters == letters


def test_a_name_is_taken_once(node: Node) -> None:
    node.spawn(Worker, name="unique")
    with pytest.raises(AlreadyStartedError, match="'unique' is taken by actor #"):
        node.spawn(Worker, name="unique")
    assert node.lookup("unique").ask(Add(1, 1)) == 2


def test_a_failing_constructor_travels_to_the_spawner(node: Node) -> None:
    with pytest.raises(StartFailedError, match=r"broken could not start: .*no table") as caught:
        node.spawn(BadStart, name="broken")
    assert "raise RuntimeError" in "".join(caught.value.__notes__)
    with pytest.raises(ActorNotFoundError):
        node.lookup("broken")
    assert node.spawn(Worker, name="broken").ask(Add(1, 1)) == 2


def test_constructor_arguments_are_checked(node: Node) -> None:
    with pytest.raises(StartFailedError, match="too many positional"):
        node.spawn(Worker, args=(1, 2, 3))
    with pytest.raises(StartFailedError, match=r"[Ee]xpected `int`"):
        node.spawn(Worker, kwargs={"base": "ten"})


def test_an_actor_that_leaves_by_itself(node: Node) -> None:

    ref = node.spawn(Worker, name="leaver", restart="transient")
    ref.tell(Leave())
    eventually(lambda: "leaver" not in node.status().names, "its name is free")
    with pytest.raises(ActorNotFoundError):
        ref.ask(Add(1, 1))


def test_plain_tells_without_credit_pause_the_actor(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    slow = node.spawn(Narrow, name="slow", placement="w2")
    pump = node.spawn(Worker, name="pump", placement="w1")
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(slow.ask, Compute(str(gate)), timeout=10)
        eventually(lambda: not held.done(), "the target computes")
        pump.tell(Pump(slow, 100))
        with pytest.raises(AskTimeoutError):
            pump.ask(Add(1, 1), timeout=0.05)
        gate.touch()
        held.result(5)
    assert pump.ask(Add(1, 1)) == 2
    eventually(lambda: slow.ask(Notes()) == list(range(1, 101)), "all tells are there, in order")


@pytest.mark.parametrize("placement", ["w1", "w2"])
def test_awaited_tells_wait_for_room(node: Node, placement: str) -> None:

    target = node.spawn(Narrow, placement="w2")
    pump = node.spawn(Worker, placement=placement)
    pump.tell(PumpWaiting(target, 200))
    eventually(lambda: target.ask(Notes()) == list(range(1, 201)), "all tells are there, in order")


def test_map_runs_functions_on_the_workers(node: Node) -> None:
    assert list(node.map(square, range(100))) == [i * i for i in range(100)]
    assert list(node.map(square, [])) == []
    results = node.map(invert, [4, 2, 0, 1], batch=1)
    assert [next(results), next(results)] == [0.25, 0.5]
    with pytest.raises(ActorCrashed, match="ZeroDivisionError"):
        next(results)
    with pytest.raises(UsageError, match="lambda"):
        list(node.map(lambda x: x, [1]))


def test_a_pool_is_one_ref_for_several_actors(node: Node) -> None:
    pool = node.pool(Worker, 2, name="team")
    assert len({pool.ask(Incarnation()) for _ in range(4)}) == 2
    assert sorted(pool.ask_many(Add(i, 0) for i in range(10))) == list(range(10))
    spread = node.pool(Worker, 3, routing="consistent_hash")
    assert {spread.member("order-1") for _ in range(5)} == {spread.member("order-1")}
    with pytest.raises(UsageError, match="key"):
        spread.ask(Pid())


def in_fork(act: Callable[[], object]) -> str:
    """Do something in a fork of this process; give the error that it raises."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = ""
        try:
            act()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def test_a_forked_client_is_told(node: Node, worker: Ref[Worker]) -> None:
    told = "UsageError: this process was forked from a client"
    assert told in in_fork(lambda: worker.ask(Add(1, 1)))
    assert told in in_fork(node.status)
    assert told in in_fork(lambda: node.spawn(Worker))
    assert told in in_fork(worker.stop)
    assert worker.ask(Add(1, 1)) == 12


def test_a_forked_client_leaves_the_node_alone(node: Node, worker: Ref[Worker]) -> None:
    assert in_fork(node.stop) == ""
    assert worker.ask(Add(1, 1)) == 12


def test_threads_that_ask_while_the_node_stops_are_told() -> None:
    outcomes: list[BaseException] = []
    node = Node(workers=1).start()
    ref = node.spawn(Worker)

    def ask() -> None:
        try:
            ref.ask(Nap(30), timeout=None)
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ref._post._pending) == 3, "three asks wait")  # type: ignore[attr-defined]  # ours
    node.stop(0.5)
    for thread in threads:
        thread.join(5)
    assert len(outcomes) == 3
    assert all(
        isinstance(error, NodeStoppedError | ActorNotFoundError) or "died" in str(error)
        for error in outcomes
    ), outcomes
    with pytest.raises(NodeStoppedError):
        ref.ask(Add(1, 1))


def test_whoever_awaits_a_reply_is_told_that_the_node_has_stopped() -> None:
    node = Node(workers=1).start()
    ref = node.spawn(Worker)

    async def await_two() -> None:
        waiting = asyncio.create_task(ref.ask_async(Nap(30), timeout=None))
        await asyncio.sleep(0)  # it asks
        await asyncio.to_thread(node.stop, 0.5)
        with pytest.raises((NodeStoppedError, ActorDied, ActorNotFoundError)):
            await waiting
        with pytest.raises(NodeStoppedError):
            await ref.ask_async(Add(1, 1))

    asyncio.run(await_two())


def test_an_actor_stopped_on_a_worker_of_its_own_is_not_waited_for(node: Node) -> None:
    ref = node.spawn(Worker, args=(1,), placement="dedicated")
    pid = ref.ask(Pid())
    ref.stop()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
    eventually(lambda: refuses(ref), "the ask is refused")
    letters = node.status().dead_letters
    ref.tell(Note(1))
    eventually(lambda: node.status().dead_letters > letters, "the tell is a dead letter")


def refuses(ref: Ref[Worker]) -> bool:
    try:
        ref.ask(Pid(), timeout=0.5)
    except ActorNotFoundError:
        return True
    except AskTimeoutError:
        return False
    return False


def passes(seconds: float) -> None:
    """Let time pass, in which this thread reads nothing."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end, "the time is over", seconds + 5.0)


@pytest.mark.parametrize("to", ["actor", "pool"])
def test_replies_that_a_slow_reader_finds_late_came_in_time(node: Node, to: str) -> None:
    target = node.spawn(Worker) if to == "actor" else node.pool(Worker, 2)
    replies = target.ask_many([Add(n, 0) for n in range(200)], window=200, timeout=0.5)
    found = [next(replies)]
    passes(0.6)
    assert found + list(replies) == list(range(200))


def test_a_loop_that_is_busy_finds_a_reply_that_came_in_time(worker: Ref[Worker]) -> None:
    async def ask() -> int:
        asking = asyncio.create_task(worker.ask_async(Add(1, 2), timeout=0.5))
        await asyncio.sleep(0)  # it is sent
        passes(1.0)
        return await asking

    assert asyncio.run(ask()) == 13


def test_requests_that_can_not_be_sent_leave_nothing(node: Node) -> None:
    gone = node.spawn(Worker, placement="dedicated")
    gone.stop()
    eventually(lambda: len(node.status().workers) == 2, "its worker has gone")
    post = node._connected().post
    assert post.wait_until(lambda: gone.address.home in post.peers.gone, 5.0)
    for _ in range(3):
        with pytest.raises(ActorNotFoundError):
            list(gone.ask_many([Add(1, 1)]))
    assert not post._pending


def test_requests_that_wait_for_room_fail_with_those_that_were_sent(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    with Node(workers=1, max_restarts=100) as node, ThreadPoolExecutor(1) as threads:
        ref = node.spawn(Narrow)
        pid = ref.ask(Pid())
        asked = threads.submit(list, ref.ask_many([Compute(gate)] * 16, window=64))
        post = node._connected().post
        eventually(lambda: post._credit.places(1).get(ref.address.key) == 4, "there is no room")
        kill(pid)
        with pytest.raises(ActorDied):
            asked.result(10.0)
        assert ref.ask(Add(1, 1), timeout=10.0) == 2  # and computes nothing of it meanwhile


def test_how_long_somebody_waits_is_no_deadline_of_the_request(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Node(workers=1, max_restarts=100) as node:
        ref = node.spawn(Worker)
        pid = ref.ask(Pid())
        asked = ref.request(HoldAgain(str(gate)))
        assert not asked.wait(0.05)
        kill(pid)
        counted = node._connected().post.counters
        eventually(lambda: counted[counters.RESENT], "it was sent again")
        gate.touch()
        assert asked.result(10.0) != pid
