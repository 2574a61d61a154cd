"""A simulated node: unmodified actors under virtual time, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorDied, AskTimeoutError, Node, SupervisorSpec
from gristmill.errors import NodeError, RestartIntensityError, UsageError
from gristmill.node.building.actor_builder import ActorBuilder
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.testing import Faults, NondeterminismError, Point, Simulation, StalledError
from support import simulated as s
from support.actors import (
    Add,
    Alarms,
    Arm,
    Clock,
    Forward,
    Incarnation,
    Listener,
    Note,
    Noted,
    Notes,
    Worker,
)

WORDS = [str(number) for number in range(20)]


def put_words(seed: int) -> list[str]:
    """Have two writers on two workers pass words on to a reader; give the order of arrival."""
    with Simulation(seed, workers=3) as node:
        reader = node.spawn(s.Reader, placement="w3")
        writers = [node.spawn(s.Writer, args=(reader,), placement=w) for w in ("w1", "w2")]
        for word in WORDS:
            writers[int(word) % 2].tell(s.Put(word))
        node.run_until(lambda: len(reader.ask(s.Words())) == len(WORDS))
        return reader.ask(s.Words())


def test_time_is_virtual() -> None:
    began = time.monotonic()
    with Simulation(0) as node:
        ref = node.spawn(s.Curious)
        before = node.now()
        slept = ref.ask(s.SleepFor(3600.0), timeout=None)
        assert slept == pytest.approx(3600.0, abs=0.1)  # whoever is woken takes its turn
        assert node.now() - before > 3600.0
        now, wall, first, _ = ref.ask(s.Facts())
        assert node.now() == pytest.approx(now, abs=0.1)
        later = ref.ask(s.Facts())
        assert later[1] - wall == pytest.approx(later[0] - now, abs=1e-5)
        assert later[2] > first
        assert ref.ask(s.Limited(5.0, 2.0)) == "late"
        assert ref.ask(s.Limited(2.0, 5.0)) == "in time"
        with pytest.raises(AskTimeoutError, match="in 7 s"):
            ref.ask(s.SleepFor(60.0), timeout=7.0)
    assert time.monotonic() - began < 10.0


def test_what_is_fetched_later_waits_in_virtual_time() -> None:
    with Simulation(0) as node:
        refs = [node.spawn(s.Curious) for _ in range(2)]
        for wait in (0.0, 1e6):  # whatever the machine's own clock says
            node.advance(wait)
            before = node.now()
            pending = refs[0].request(s.SleepFor(60.0))
            assert not pending.wait(3.0)
            assert node.now() == pytest.approx(before + 3.0, abs=0.1)
            assert pending.result(120.0) == pytest.approx(60.0, abs=0.1)
            before = node.now()
            assert len(node.multi_ask(refs, s.SleepFor(60.0), timeout=7.0).failed) == 2
            assert node.now() == pytest.approx(before + 7.0, abs=0.1)


def test_timers_fire_in_the_order_of_their_times() -> None:
    with Simulation(3) as node:
        ref = node.spawn(Clock)
        ref.ask(Arm([30.0, 10.0, 20.0]))
        node.advance(25.0)
        assert ref.ask(Alarms()) == pytest.approx([10.0, 20.0], abs=0.05)
        node.advance(10.0)
        assert ref.ask(Alarms()) == pytest.approx([10.0, 20.0, 30.0], abs=0.05)


def test_the_seed_decides_every_order_and_each_sender_keeps_its_own() -> None:
    orders = [put_words(seed) for seed in range(8)]
    assert put_words(3) == orders[3]
    assert len({tuple(order) for order in orders}) > 4
    for order in orders:
        for parity in (0, 1):
            of_one = [word for word in order if int(word) % 2 == parity]
            assert of_one == WORDS[parity::2]


SCRIPT = """
import hashlib, sys
from support.saga import run_saga
run = run_saga(int(sys.argv[1]), orders=6)
assert run.audit.ok, run.audit.violations
print(hashlib.sha256("\\n".join(run.trace).encode()).hexdigest(), run.worker_restarts)
"""


def test_the_trace_is_the_same_in_any_process_and_under_any_hash_seed() -> None:
    def trace(seed: int, hash_seed: str) -> str:
        root = Path(__file__).parents[2]
        path = os.pathsep.join(str(root / folder) for folder in ("runtime", "workers", "tests"))
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(seed)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = trace(1, "0")
    assert trace(1, "random") == first
    assert trace(2, "0") != first


def test_workers_talk_to_each_other_and_channels_work() -> None:
    with Simulation(5, workers=3) as node:
        near, far = node.spawn(Worker, placement="w1"), node.spawn(Worker, placement="w2")
        assert near.ask(Forward(far, 2, 3)) == 5
        assert list(far.ask_many([Add(n, 1) for n in range(100)], window=7)) == [*range(1, 101)]
        pool = node.pool(Worker, size=3)
        assert pool.ask(Add(1, 1)) == 2
        listener = node.spawn(Listener, placement="w3")
        with node.subscribe("numbers", Noted) as events:
            node.advance(0.1)
            node.publish("numbers", Noted(7))
            assert events.get(timeout=1.0) == Noted(7)
        del listener
        assert list(node.map(abs, [-1, 2, -3])) == [1, 2, 3]


def test_a_killed_worker_loses_its_mailboxes_and_comes_back() -> None:
    with Simulation(2) as node:
        ref = node.spawn(Worker, placement="w1")
        before = ref.ask(Incarnation())
        ref.tell(Note(1))
        node.kill("w1")
        with pytest.raises(ActorDied, match="killed by SIGKILL"):
            ref.ask(Add(1, 1))
        assert ref.ask(Incarnation()) != before
        assert ref.ask(Notes()) == []
        assert node.status().worker_restarts == 1
        node.kill("w1", after=1.5)
        at = node.now()
        node.run_until(lambda: node.status().worker_restarts == 2)
        assert 1.5 <= node.now() - at < 2.0


@pytest.mark.parametrize("point", list(Point))
@pytest.mark.parametrize("seed", range(6))
def test_what_is_told_at_least_once_survives_a_kill_at_any_point(seed: int, point: Point) -> None:
    with Simulation(seed, journal=True) as node:
        book = node.spawn(s.Book, name="book", placement="w1")
        node.kill("w1", point=point)
        for word in WORDS:
            book.tell(s.Put(word), delivery="at_least_once")
        node.run_until(lambda: not node.undelivered)
        assert book.ask(s.Words()) == WORDS
        assert node.status().worker_restarts == 1


@pytest.mark.parametrize("seed", range(6))
def test_what_must_arrive_outlives_a_sender_that_has_its_worker_for_itself(seed: int) -> None:
    with Simulation(seed, journal=True) as node:
        book = node.spawn(s.Book, name="book", placement="w1")
        errand = node.spawn(s.Errand, args=(book,), placement="dedicated", restart="temporary")
        node.pause("w1", 0.5)
        errand.tell(s.Put("a"))
        node.advance(0.4)
        node.kill("w1")
        node.advance(2.0)
        assert book.ask(s.Words()) == ["a"]
        assert [worker.name for worker in node.status().workers] == ["w1", "w2"]


@pytest.mark.parametrize("seed", range(6))
def test_what_must_arrive_outlives_a_worker_that_is_removed(seed: int) -> None:
    with Simulation(seed, workers=1, journal=True) as node:
        book = node.spawn(s.SlowBook, name="book", placement="w1")
        node.add_workers()
        group = node.keyed(s.Courier, "couriers", args=(book,))
        for word in WORDS:
            group.tell(word, s.Put(word))
        node.advance(0.4)
        node.remove_worker("w2")
        node.kill("w1")
        node.advance(30.0)
        assert sorted(book.ask(s.Words()), key=int) == WORDS


def test_a_worker_that_stays_for_what_nobody_takes_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Simulation(1, journal=True) as node:
        book = node.spawn(s.Book, name="book", restart="temporary")
        book.stop()
        errand = node.spawn(s.Errand, args=(book,), placement="dedicated", restart="temporary")
        errand.tell(s.Put("a"))
        node.advance(11.0)
        assert [line for line in caplog.messages if "this worker stays: 1 for book" in line]
        assert len(node.status().workers) == 3
        book = node.spawn(s.Book, name="book")
        node.advance(1.0)
        assert book.ask(s.Words()) == ["a"]
        assert len(node.status().workers) == 2


@pytest.mark.parametrize("end", [0.0, None])
def test_a_start_with_fewer_workers_sends_what_the_others_had(
    end: float | None, tmp_path: Path
) -> None:
    with Simulation(1, workers=2, journal=tmp_path) as node:
        book = node.spawn(s.Book, name="book", placement="w1")
        couriers = [node.spawn(s.Courier, args=(book,), placement=w) for w in ("w2", "dedicated")]
        for courier in couriers:
            courier.tell(s.Put("handled"))
        node.run_until(lambda: len(book.ask(s.Words())) == 2)
        node.pause("w1", 60.0)
        for courier in couriers:
            courier.tell(s.Put("left"))
        node.advance(1.0)
        node.stop(end)
    for _ in range(2):
        with Simulation(2, workers=1, journal=tmp_path) as node:
            book = node.spawn(s.Book, name="book")
            node.advance(1.0)
            assert book.ask(s.Words()) == ["handled", "handled", "left", "left"]


@pytest.mark.parametrize("seconds", [0.5, 100.0])
@pytest.mark.parametrize("sender", ["client", "worker"])
def test_what_must_arrive_waits_for_a_keyed_actor_that_can_not_start(
    sender: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    with Simulation(3, journal=True) as node:
        books = node.keyed(s.LateBook, "books", args=(node.now() + seconds,))
        courier = node.spawn(s.Courier, args=(books["a"],))
        if sender == "client":
            books.tell("a", s.Put("one"), delivery="at_least_once")
        else:
            courier.tell(s.Put("one"))
        node.advance(seconds + 31.0)
        node.run_until(lambda: not node.undelivered, timeout=0.1)
        assert books.ask("a", s.Words()) == ["one"]
        said = [line for line in caplog.messages if "tried again" in line]
        assert len(said) == 1
        assert said[0].startswith("books/a could not start: crash: ConnectionError: the database")
        starts = [line for line in node.trace if "StartActor(" in line and "books/a" in line]
        assert len(starts) == (2 if seconds < 1.0 else 9)  # after 1, 2, 4, 8, 16, 30 s ...


def test_an_actor_crashes_on_its_next_message_and_is_restarted() -> None:
    with Simulation(4) as node:
        ref = node.spawn(Worker)
        node.crash(ref)
        with pytest.raises(ActorCrashed, match="InjectedCrash"):
            ref.ask(Add(1, 1))
        assert ref.ask(Add(1, 1)) == 2
        assert node.status().actor_restarts == 1


def test_a_paused_worker_does_everything_later() -> None:
    with Simulation(1) as node:
        ref = node.spawn(Worker, placement="w1")
        node.pause("w1", 3.0)
        with pytest.raises(AskTimeoutError):
            ref.ask(Add(1, 1), timeout=1.0)
        ref.tell(Note(1))
        ref.tell(Note(2))
        assert ref.ask(Notes(), timeout=5.0) == [1, 2]


@pytest.mark.parametrize("seed", range(6))
def test_a_start_that_fails_when_it_is_late_costs_the_next_one_nothing(seed: int) -> None:
    s.LateStart.starts.clear()
    with Simulation(seed, workers=1, max_restarts=2, within=60.0) as node:
        ref = node.spawn(s.LateStart, start_timeout=1.0)
        node.crash(ref)
        with pytest.raises(ActorCrashed):
            ref.ask(s.Ping())
        node.advance(10.0)
        assert ref.ask(s.Ping()) == 3


def test_frames_can_be_delayed_and_keep_their_order() -> None:
    with Simulation(6) as node:
        far = node.spawn(Worker, placement="w2")
        near = node.spawn(Worker, placement="w1")
        node.delay("w1", "w2", 2.0)
        begun = node.now()
        assert near.ask(Forward(far, 1, 2)) == 3
        assert 2.0 < node.now() - begun < 2.1
        node.delay("client", "w2", 1.0)
        far.tell(Note(1))
        node.delay("client", "w2", 0.0)
        far.tell(Note(2))
        assert far.ask(Notes()) == [1, 2]


def test_supervisors_count_restarts_in_virtual_time() -> None:
    with Simulation(0, max_restarts=1, within=5.0) as node:
        ref = node.spawn(Worker)
        for _ in range(3):
            node.crash(ref)
            with pytest.raises(ActorCrashed):
                ref.ask(Add(1, 1))
            node.advance(6.0)
        assert ref.ask(Add(1, 1)) == 2
        for _ in range(2):
            node.crash(ref)
            with pytest.raises(ActorCrashed):
                ref.ask(Add(1, 1))
            node.advance(0.1)
        assert node.wait(5.0)
        assert isinstance(node.error, RestartIntensityError)


def test_random_faults_come_from_the_seed_and_end_when_they_are_to() -> None:
    def restarts(seed: int) -> tuple[int, str]:
        faults = Faults(kill_every=0.5, crash_every=0.5, pause_every=1.0, until=5.0)
        with Simulation(seed, workers=3, faults=faults, max_restarts=1000) as node:
            for _ in range(3):
                node.spawn(Worker)
            node.advance(5.5)
            count = node.status().worker_restarts
            node.advance(60.0)
            assert node.status().worker_restarts == count
            trace = "\n".join(node.trace)
        return count, hashlib.sha256(trace.encode()).hexdigest()

    assert restarts(1) == restarts(1)
    counts = [restarts(seed)[0] for seed in range(5)]
    assert all(counts)
    assert len(set(counts)) > 1


@pytest.mark.parametrize("what", sorted(s.CALLS))
@pytest.mark.parametrize("kind", [s.Touch, s.TouchLater])
def test_what_a_seed_cant_decide_is_refused_by_name(
    what: str, kind: type[s.Touch | s.TouchLater]
) -> None:
    with Simulation(0) as node:
        ref = node.spawn(s.Curious, name="curious", placement="w2")
        with pytest.raises(NondeterminismError) as caught:
            ref.ask(kind(what))
        text = str(caught.value)
        assert text.startswith(f"curious on w2, while it handles {kind.__name__}: {what}()")
        assert s.make_call("time.monotonic")


def test_a_thread_of_the_loop_is_refused_and_logging_is_not() -> None:
    with Simulation(0) as node:
        ref = node.spawn(s.Curious)
        assert ref.ask(s.LogIt()) == 1
        with pytest.raises(ActorCrashed, match="run_in_executor"):
            ref.ask(s.UseThread())


def test_a_builders_node_can_be_simulated() -> None:
    spec = SupervisorSpec("tree", children=(ActorBuilder(Worker).name("one").child_spec(),))
    with Simulation.of(NodeBuilder().workers(3).supervise(spec), 1) as node:
        assert isinstance(node, Node)
        assert node.lookup("one").ask(Add(1, 2)) == 3
        assert len(node.status().workers) == 3


def test_misuse_is_said() -> None:
    with pytest.raises(UsageError, match="has not begun"):
        Simulation(0).advance(1.0)
    with pytest.raises(UsageError, match="kill_every is 0"):
        Faults(kill_every=0.0)
    with Simulation(0) as node:
        ref = node.spawn(Worker)
        with pytest.raises(UsageError, match="no worker is named 'w9'"):
            node.kill("w9")
        with pytest.raises(UsageError, match="driven from plain code"):
            asyncio.run(ref.ask_async(Add(1, 2)))
        with pytest.raises(NodeError, match="within 2 virtual seconds"):
            node.run_until(lambda: False, timeout=2.0)
        with pytest.raises(UsageError, match="virtual"):
            node.granularity()


def test_an_endless_wait_for_nothing_is_said() -> None:
    with Simulation(0) as node:
        ref = node.spawn(s.Curious)
        node.pause("w1", 1e12)
        node.pause("w2", 1e12)
        with pytest.raises(AskTimeoutError):
            ref.ask(s.Facts(), timeout=30.0)
    with Simulation(0) as node, pytest.raises(StalledError):
        node.wait(None)


def test_the_trace_tells_what_happened() -> None:
    with Simulation(0) as node:
        ref = node.spawn(Worker, name="one", placement="w1")
        ref.ask(Add(1, 2))
        node.kill("w1")
        node.advance(1.0)
        text = "\n".join(node.trace)
    told = (
        "w1: boots as incarnation 1",
        "ask 1024 #",
        " Add",
        "reply 1",
        "w1: is killed",
        "w1: ends by signal 9",
        "w1: boots as incarnation 2",
        "supervisor: worker w1 died",
    )
    for part in told:
        assert part in text
