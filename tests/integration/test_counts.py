"""No message disappears without being counted, whatever is killed."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gristmill import Event, Node, Ref
from gristmill.errors import ActorDied, ActorError, StartFailedError
from gristmill.node.deliveries import LOST_ON_WIRE, LOST_WITH_PROCESS, Deliveries
from gristmill.testing import Faults, Simulation
from support.actors import Note, Worker
from support.counting import (
    Bump,
    BumpAsk,
    BumpLate,
    Counter,
    DurableCounter,
    Effects,
    Hang,
    Refused,
    Relay,
)
from support.processes import all_delivered, kill, worker_pids
from support.scripts import running
from support.waiting import eventually

SECONDS = 1.2
KILLS = 5
"""At least so many, however long they take."""


KILLED_CLIENT = """
    import os, signal
    from gristmill import Ref
    from gristmill.cli.nodes import attached
    from gristmill.ref import Address
    from gristmill.transport import control as c
    from support.actors import Note

    with attached("NODE") as (connection, _):
        ref = Ref(connection.call(c.Lookup("told"), Address), connection.post)
        for number in range(100):
            ref.tell(Note(number))
        connection.post.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Thing(Event):
    """Something has happened."""

    number: int


@pytest.fixture
def journaled(tmp_path: Path) -> Iterator[Node]:
    with Node(workers=2, journal=tmp_path / "journal", max_restarts=10_000, within=1.0) as node:
        yield node


@pytest.fixture(scope="module", params=["processes", "in_process"])
def either(
    request: pytest.FixtureRequest, own_temporary_directory: object, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node of each kind."""
    with Node(workers=2, in_process=request.param == "in_process") as started:
        yield started


def at_rest(node: Node) -> Deliveries:
    """Wait until nothing is left to do, and give the counts."""

    seen: list[Deliveries] = []

    def settled() -> bool:
        seen[:] = [node.counters()]
        return seen[0].waiting == 0

    with contextlib.suppress(AssertionError):
        eventually(settled, "nothing waits", within=10.0)
    assert seen[0].waiting == 0, str(seen[0])
    return seen[0]


def repeat(act: Callable[[], object], until: threading.Event) -> None:
    """Do something again and again; whom it is about may die."""
    while not until.is_set():
        with contextlib.suppress(ActorError):
            act()


def test_every_message_under_random_kills_has_one_fate(journaled: Node, tmp_path: Path) -> None:
    node = journaled
    counters: list[Ref[Counter]] = []
    for number in range(4):
        kind = DurableCounter if number == 3 else Counter
        path, home = tmp_path / f"{number}.effects", f"w{number % 2 + 1}"
        counters.append(node.spawn(kind, args=(str(path),), name=f"c{number}", placement=home))
    one, two, three, durable = counters
    over = threading.Event()
    asked = random.Random(1)
    loads: list[Callable[[], object]] = [
        lambda: one.tell(Bump()),
        lambda: two.tell(Relay(one, 3)),
        lambda: three.tell(Relay(two, 3)),
        lambda: (three.tell(BumpLate()), two.tell(Refused()), time.sleep(0.001)),  # a pace
        lambda: asked.choice(counters).ask(BumpAsk(1), timeout=5.0),
        lambda: (durable.tell(Bump(), delivery="at_least_once"), time.sleep(0.002)),
        lambda: (two.tell(Relay(durable, 2, "at_least_once")), time.sleep(0.01)),
    ]
    threads = [threading.Thread(target=repeat, args=(load, over)) for load in loads]
    for thread in threads:
        thread.start()
    kills = 0
    fate = random.Random(2)
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS or kills < KILLS:
        assert time.monotonic() < begun + 60, f"{kills} kills"
        time.sleep(fate.uniform(0.02, 0.15))  # the load is what this waits for
        pids = worker_pids(node)
        if pids:
            with contextlib.suppress(ProcessLookupError):
                kill(fate.choice(sorted(pids.values())))
                kills += 1
    over.set()
    for thread in threads:
        thread.join(20)
    all_delivered(durable)
    counted = at_rest(node)
    assert counted.balanced, str(counted)
    assert counted.in_doubt <= 2 * kills  # one handler computes in a worker, one may await
    effects = sum(Effects(tmp_path / f"{number}.effects").count for number in range(4))
    assert counted.handled <= effects <= counted.handled + counted.in_doubt
    assert counted.rejected > 0
    assert counted.dropped[LOST_WITH_PROCESS] + counted.dropped.get(LOST_ON_WIRE, 0) > 0


def test_one_kill_loses_what_waits_and_leaves_one_message_in_doubt(
    node: Node, tmp_path: Path
) -> None:
    before = at_rest(node)
    ref = node.spawn(Counter, args=(str(tmp_path / "effects"),), name="held", placement="w1")
    begun = tmp_path / "begun"
    pending = ref.request(Hang(str(begun), holding=True))
    eventually(begun.exists, "it computes")
    for _ in range(50):
        ref.tell(Bump())
    assert (node.counters() - before).waiting == 51
    kill(worker_pids(node)["w1"])
    with pytest.raises(ActorDied):
        pending.result(5)
    lost = at_rest(node) - before
    assert lost.balanced
    assert (lost.sent, lost.in_doubt, lost.dropped_in_all) == (51, 1, 50)
    assert set(lost.dropped) <= {LOST_ON_WIRE, LOST_WITH_PROCESS}
    ref.stop()


def test_a_handler_that_awaits_and_is_killed_with_its_actor_is_a_dead_letter(
    either: Node, tmp_path: Path
) -> None:
    before = at_rest(either)
    ref = either.spawn(Counter, args=(str(tmp_path / "effects"),), shutdown="brutal_kill")
    begun = tmp_path / "begun"
    pending = ref.request(Hang(str(begun), holding=False))
    ref.tell(Bump())
    eventually(lambda: either.status() and begun.exists(), "it is in hand")
    ref.stop()
    with pytest.raises(ActorError):
        pending.result(5)
    counted = at_rest(either) - before
    assert counted.balanced
    assert (counted.sent, counted.dead_lettered) == (2, 2)


def test_events_and_messages_to_oneself_count_too(either: Node) -> None:
    before = at_rest(either)
    with either.subscribe("things", Thing) as mine, either.subscribe("things", Thing) as other:
        either.publish("things", Thing(1))
        assert mine.get(5) == other.get(5) == Thing(1)
    counted = at_rest(either) - before
    assert counted.balanced
    assert (counted.published, counted.sent, counted.handled) == (1, 1, 1)


def test_what_is_told_to_an_actor_that_has_stopped_is_counted(either: Node) -> None:
    before = at_rest(either)
    ref = either.spawn(Worker)
    ref.stop()
    ref.tell(Note(1))
    counted = at_rest(either) - before
    assert (counted.sent, counted.dead_lettered, counted.balanced) == (1, 1, True)


def test_a_killed_client_leaves_its_counts(node: Node, tmp_path: Path) -> None:
    before = at_rest(node)
    ref = node.spawn(Worker, name="told")
    with running(tmp_path, KILLED_CLIENT.replace("NODE", node.node_id)) as script:
        assert script.wait() == 128 + signal.SIGKILL
    eventually(lambda: node.status().clients == 1, "its end is known")
    counted = at_rest(node) - before
    assert counted.balanced
    assert counted.sent == 100
    assert counted.handled + counted.dropped.get(LOST_ON_WIRE, 0) == 100
    ref.stop()


def spawned(sim: Simulation, number: int, path: Path) -> Ref[Counter]:
    """Start an actor; its start may be hit too."""
    while True:
        with contextlib.suppress(StartFailedError):
            kind = DurableCounter if number == 3 else Counter
            return sim.spawn(kind, args=(str(path),), name=f"c{number}")


@pytest.mark.parametrize("seed", range(8))
def test_every_message_has_one_fate_whatever_goes_wrong(seed: int, tmp_path: Path) -> None:
    faults = Faults(kill_every=0.02, crash_every=0.02, pause_every=0.05, until=0.5)
    with Simulation(
        seed, workers=3, faults=faults, journal=True, max_restarts=10_000, within=1.0
    ) as sim:
        paths = [tmp_path / f"{number}.effects" for number in range(4)]
        refs = [spawned(sim, n, path) for n, path in enumerate(paths)]
        one, two, three, durable = refs
        for _ in range(40):
            one.tell(Bump())
            two.tell(Relay(one, 3))
            three.tell(Relay(two, 2))
            three.tell(BumpLate())
            two.tell(Refused())
            durable.tell(Bump(), delivery="at_least_once")
            one.tell(Relay(durable, 1, "at_least_once"))
            with contextlib.suppress(ActorError):
                sim.random.choice(refs).ask(BumpAsk(1), timeout=5.0)
        sim.advance(1.0)
        sim.run_until(lambda: sim.undelivered == 0 and sim.counters().waiting == 0)
        counted = sim.counters()
        assert counted.balanced, str(counted)
        effects = sum(Effects(path).count for path in paths)
        assert counted.handled <= effects <= counted.handled + counted.in_doubt
        assert counted.rejected > 0
        assert counted.dropped_in_all > 0
