"""Elastic pools that actors send to: nothing is lost while members come, leave and die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gristmill import Mailbox, Node, SupervisorSpec
from gristmill.durability.journal import read_journal
from gristmill.errors import GristmillError, UsageError
from gristmill.node.building.actor_builder import ActorBuilder
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.node.status import PoolStatus
from gristmill.placement.elasticity import Elasticity
from gristmill.testing import Faults, Simulation
from support.actors import read_lines
from support.elastic import (
    AskAround,
    Counted,
    Counting,
    Gated,
    Sender,
    Spread,
    SpreadGated,
    SureSender,
    Waiting,
)
from support.processes import kill, worker_pids
from support.waiting import eventually

QUICK = Elasticity(1, 6, cooldown=0.1)
STILL = Elasticity(1, 6, cooldown=1000.0)


def pool_of(node: Node, name: str) -> PoolStatus:
    return next(pool for pool in node.status().pools if pool.name == name)


def numbers(log: Path, word: str = "") -> list[int]:
    """Give the numbers that were noted, in order."""
    lines = [line.split() for line in read_lines(log)] if log.exists() else []
    return [int(line[1 if word else 0]) for line in lines if not word or line[0] == word]


def running(node: Node, worker: str) -> int:
    """Give the process of a worker; 0 while there is none."""
    return worker_pids(node).get(worker, 0)


@pytest.fixture
def own(nothing_is_left: None, tmp_path: Path) -> Iterator[Node]:
    with Node(workers=2, max_restarts=1000, journal=tmp_path / "journal") as node:
        yield node


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
def test_nothing_is_lost_while_the_pool_changes(own: Node, tmp_path: Path, delivery: str) -> None:
    log = tmp_path / "log"
    own.pool(Waiting, 1, args=(str(log),), name="notes", elastic=QUICK)
    senders = [own.spawn(Sender, placement=worker) for worker in ("w1", "w2")]
    sent = 0

    def spread(more: int, seconds: float) -> None:
        nonlocal sent
        for sender in senders:
            sender.tell(Spread("notes", sent, sent + more, delivery, seconds))
            sent += more

    for _ in range(3):  # up and down again, with messages on their way throughout
        spread(40, 0.005)
        eventually(lambda: pool_of(own, "notes").size > 1, "it has grown")
        while pool_of(own, "notes").size > 1:
            spread(1, 0.0)
    eventually(lambda: len(numbers(log)) >= sent, "everything was handled", 20.0)
    assert sorted(numbers(log)) == list(range(sent))
    assert own.dead_letters() == []
    eventually(lambda: own.counters().waiting == 0, "all is counted")
    assert own.counters().balanced


def test_actors_ask_a_pool_that_grows_and_shrinks(own: Node) -> None:
    own.pool(Waiting, 1, name="askable", elastic=QUICK)
    senders = [own.spawn(Sender) for _ in range(8)]
    with ThreadPoolExecutor(len(senders)) as threads:
        rounds = [
            threads.submit(sender.ask, AskAround("askable", 60, 0.01), timeout=60.0)
            for sender in senders
        ]
        answers = Counter(name for one in rounds for name in one.result())
    assert sum(answers.values()) == 480
    assert len(answers) > 2
    at_once = senders[0].ask(AskAround("askable", 30, 0.001, at_once=True), timeout=60.0)
    assert len(at_once) == 30
    eventually(lambda: pool_of(own, "askable").size == 1, "it has shrunk", 10.0)
    assert senders[0].ask(AskAround("askable", 2, 0.0), timeout=60.0)
    assert own.dead_letters() == []


def test_requests_are_spread_over_the_members(own: Node) -> None:
    own.pool(Waiting, 3, name="three", elastic=Elasticity(3, 4, cooldown=1000.0))
    sender = own.spawn(Sender)
    answers = Counter(sender.ask(AskAround("three", 30, 0.05, at_once=True), timeout=60.0))
    assert sorted(answers.values()) == [10, 10, 10]


def test_a_killed_worker_loses_nothing_that_must_be_handled(own: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    own.pool(Counting, 1, args=(str(log),), name="counts", max_restarts=1000, elastic=QUICK)
    sender = own.spawn(Sender, name="sender", placement="w1")
    sent = 0

    def spread() -> None:
        nonlocal sent
        more = Spread("counts", sent, sent + 10, "at_least_once", 0.01, durably=True)
        sender.tell(more, delivery="at_least_once")
        sent += 10

    def keeps_up() -> bool:
        return len(set(numbers(log))) > sent - 60

    for victim in ("w1", "w2") * 4:
        for _ in range(10):
            spread()
            eventually(keeps_up, "it goes on", 30.0)
        kill(eventually(partial(running, own, victim), "it is up"))
    eventually(lambda: len(set(numbers(log))) == sent, "everything was handled", 30.0)
    assert own.status().worker_restarts == 8
    eventually(lambda: pool_of(own, "counts").size == 1, "it has shrunk", 30.0)
    assert not own.dead_letters()


def terminate(node: Node, pool: str, member: str) -> None:
    node.supervisor(pool).terminate_child(member)


def test_what_a_member_leaves_goes_to_another_one(own: Node, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    narrow = Mailbox(4)
    rule = Elasticity(1, 2, cooldown=1000.0)
    own.pool(Gated, 2, args=(str(log),), name="gated", mailbox=narrow, elastic=rule)
    sender = own.spawn(Sender)
    sender.tell(SpreadGated("gated", 20, str(gate)))
    eventually(lambda: len(numbers(log, "begun")) == 2, "both have something in hand")
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(terminate, own, "gated", "gated-2")
        eventually(lambda: "stopping" in str(own.status().tree), "it is about to end")
        gate.touch()
        ended.result()
    eventually(lambda: len(set(numbers(log, "done"))) == 20, "everything was handled")
    assert pool_of(own, "gated").size == 1
    assert own.dead_letters() == []


@pytest.mark.parametrize("before", [4, 1])
def test_what_an_earlier_run_has_left_goes_to_who_is_there(
    nothing_is_left: None, tmp_path: Path, before: int
) -> None:
    """That was a pool with more members, or a single actor with the pool's name."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    sender = ActorBuilder(Sender).name("sender").placement("w1")
    node = NodeBuilder().workers(2).journal(tmp_path / "journal").actor(sender)

    def pool(size: int) -> NodeBuilder:
        return node.pool(Gated, "gated", size=size, args=(str(log),), elastic=STILL)

    single = node.actor(ActorBuilder(Gated).args(str(log)).name("gated"))
    with (pool(before) if before > 1 else single).build() as first:
        first.lookup("sender").tell(SpreadGated("gated", 40, str(gate)))
        eventually(lambda: len(numbers(log, "begun")) == before, "all have something in hand")
        first.stop(0)
    assert numbers(log, "done") == []
    gate.touch()
    with pool(1).build():
        eventually(lambda: len(set(numbers(log, "done"))) == 40, "everything was handled")
    assert sorted(numbers(log, "done")) == list(range(40))


def test_a_member_that_has_missed_some_takes_what_comes_next(
    nothing_is_left: None, tmp_path: Path
) -> None:
    """Its journal knows up to which number it has handled what a worker has sent to it."""
    log = tmp_path / "log"

    def node(size: int) -> NodeBuilder:
        return (
            NodeBuilder()
            .workers(2)
            .journal(tmp_path / "journal")
            .actor(ActorBuilder(Sender).name("sender").placement("w1"))
            .pool(Counting, "counts", size=size, args=(str(log),), elastic=STILL)
        )

    with node(2).build() as first:
        sender = first.lookup("sender")
        sender.tell(Spread("counts", 0, 10, "at_least_once", 0.0, durably=True))
        eventually(lambda: len(numbers(log)) == 10, "both have handled some")
        sender.tell(Spread("counts", 10, 20, "at_least_once", 60.0, durably=True))
        eventually(lambda: first.counters().waiting > 4, "both have some in hand")
        first.stop(0)
    with node(1).build() as second:  # counts-2 is not there: what it had not handled is passed on
        eventually(lambda: second.counters().waiting >= 10, "what it left is with counts-1")
        second.stop(0)
    with node(2).build() as third:
        third.lookup("sender").tell(Spread("counts", 30, 40, "at_least_once", 0.0, durably=True))
        eventually(lambda: set(numbers(log)) >= set(range(30, 40)), "what is new was handled")
        third.stop(0)


def shop(log: Path, *, restarts: int = 3) -> NodeBuilder:
    services = SupervisorSpec("services", max_restarts=1000)
    return (
        NodeBuilder()
        .workers(2)
        .restarts(1000)
        .supervise(SupervisorSpec("shop", max_restarts=1000, children=(services,)))
        .pool(
            Waiting,
            "notes",
            size=2,
            args=(str(log),),
            max_restarts=restarts,
            elastic=QUICK,
            supervisor="shop/services",
        )
    )


def test_a_pool_may_stand_anywhere_in_a_tree(nothing_is_left: None, tmp_path: Path) -> None:
    builder = shop(tmp_path / "log").journal(tmp_path / "journal")
    # who comes first in the tree may send before there is any member
    early = SupervisorSpec("early", children=(ActorBuilder(Sender).args("notes").child_spec(),))
    tree = NodeBuilder().supervise(early, *builder.supervisors)
    assert [spec.id for spec in tree.supervisors] == ["early", "shop"]
    first = NodeBuilder().workers(2).journal(tmp_path / "journal").supervise(early)
    whole = first.supervise(SupervisorSpec("shop", children=(SupervisorSpec("services"),)))
    pool = whole.pool(
        Waiting,
        "notes",
        args=(str(tmp_path / "log"),),
        elastic=QUICK,
        supervisor="shop/services",
    )
    with pool.build() as node:
        eventually(lambda: sorted(numbers(tmp_path / "log")) == [1, 2], "both have arrived")
        sender = node.spawn(Sender)
        for number in range(100):
            sender.tell(Spread("notes", number, number + 1, "at_most_once", 0.01))
        eventually(lambda: pool_of(node, "notes").size > 1, "it has grown")
        paths = {child.id for child in node.supervisor("shop/services/notes").which_children()}
        assert paths >= {"notes-1", "notes-2"}
        eventually(lambda: pool_of(node, "notes").size == 1, "it has shrunk", 10.0)
        eventually(lambda: len(numbers(tmp_path / "log")) == 102, "nothing was lost")


def test_a_pool_whose_supervisor_was_restarted_goes_on(
    nothing_is_left: None, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with shop(log, restarts=0).journal(tmp_path / "journal").build() as node:
        sender = node.spawn(Sender, name="sender", placement="w1")
        sent = 0

        def spread(count: int) -> None:
            nonlocal sent
            more = Spread("notes", sent, sent + count, "at_least_once", 0.02)
            sender.tell(more, delivery="at_least_once")
            sent += count

        def grown() -> bool:
            spread(5)  # what was sent stays with the members of then, so go on until there are more
            return pool_of(node, "notes").size > 2

        eventually(grown, "it has grown")
        spread(50)
        kill(worker_pids(node)["w1"])  # more than the pool's supervisor allows
        eventually(lambda: set(numbers(log)) == set(range(sent)), "everything was handled", 15.0)
        eventually(lambda: pool_of(node, "notes").size >= 1, "it has members")
        spread(10)
        eventually(lambda: set(numbers(log)) == set(range(sent)), "it goes on", 15.0)


def test_a_reload_finds_the_members_that_there_are(nothing_is_left: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    builder = shop(log).journal(tmp_path / "journal")
    with builder.build() as node:
        eventually(lambda: pool_of(node, "notes").size == 1, "one of the two has left", 10.0)
        sender = node.spawn(Sender)
        sender.tell(Spread("notes", 0, 200, "at_least_once", 0.02))
        eventually(lambda: pool_of(node, "notes").size > 1, "it has grown")
        node.reload(supervisors=builder.supervisors)
        sender.tell(Spread("notes", 200, 210, "at_least_once", 0.02))
        eventually(lambda: set(numbers(log)) == set(range(210)), "everything was handled", 15.0)
        assert node.dead_letters() == []
        eventually(lambda: pool_of(node, "notes").size == 1, "it shrinks again", 15.0)


def test_it_works_in_one_process(nothing_is_left: None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Node(workers=2, in_process=True, journal=tmp_path / "journal") as node:
        node.pool(Waiting, 2, args=(str(log),), name="notes", elastic=QUICK)
        sender = node.spawn(Sender)
        sender.tell(Spread("notes", 0, 100, "at_least_once", 0.005))
        sender.tell(Spread("notes", 100, 200, "at_most_once", 0.005))
        assert len(sender.ask(AskAround("notes", 20, 0.01, at_once=True), timeout=60.0)) == 20
        eventually(lambda: sorted(numbers(log)) == list(range(200)), "everything was handled")
        eventually(lambda: pool_of(node, "notes").size == 1, "it has shrunk")


def test_bad_uses_get_one_clear_error(own: Node, tmp_path: Path) -> None:
    sender = own.spawn(Sender)
    with pytest.raises(GristmillError):
        sender.ask(AskAround("nobody", 1, 0.0))
    with pytest.raises(UsageError, match="no supervisor 'services' was declared before it"):
        NodeBuilder().pool(Waiting, "notes", elastic=QUICK, supervisor="services")


@pytest.mark.simulation(seeds=60)
def test_it_holds_in_every_order_and_whatever_is_killed(
    simulation_seed: int, tmp_path: Path
) -> None:
    faults = Faults(kill_every=0.6, crash_every=0.6, pause_every=2.0, until=6.0)
    counted = counted_in_a_simulation(simulation_seed, tmp_path, faults)
    assert set(counted) == set(range(SENT))


@pytest.mark.simulation(seeds=30)
def test_who_is_not_heard_of_in_time_loses_nothing(
    simulation_seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members leave before all have put their fences: what comes too late goes to others."""
    monkeypatch.setattr("gristmill.node.supervisor.actors.pools._FENCES_WITHIN", 0.01)
    faults = Faults(kill_every=1.0, pause_every=0.1, pause_seconds=1.5, until=6.0)
    counted = counted_in_a_simulation(simulation_seed, tmp_path, faults)
    assert set(counted) == set(range(SENT))


@pytest.mark.simulation(seeds=20)
def test_each_is_counted_once_while_nothing_dies(simulation_seed: int, tmp_path: Path) -> None:
    counted = counted_in_a_simulation(simulation_seed, tmp_path, Faults(pause_every=1.0))
    assert sorted(counted) == list(range(SENT))


SENT = 6 * 2 * 12


def counted_in_a_simulation(seed: int, folder: Path, faults: Faults) -> list[int]:
    """Send in bursts, so that the pool grows and shrinks; give what its members have journaled."""
    log, many = folder / "log", 100_000
    senders = [ActorBuilder(SureSender).name(f"s-{n}").placement(f"w{n}") for n in (1, 2)]
    builder = (
        NodeBuilder()
        .workers(3)
        .journal(folder / "journal")
        .restarts(many)
        .actor(*senders)
        .pool(
            Counting,
            "counts",
            args=(str(log),),
            mailbox=Mailbox(4),
            max_restarts=many,
            elastic=Elasticity(1, 5, cooldown=0.2),
        )
    )
    with Simulation.of(builder, seed, faults=faults) as node:
        sizes = set()
        for burst in range(6):
            for number in range(2):
                first = (burst * 2 + number) * 12
                spread = Spread("counts", first, first + 12, "at_least_once", 0.05, durably=True)
                node.lookup(f"s-{number + 1}").tell(spread, delivery="at_least_once")
            for _ in range(12):
                node.advance(0.1)
                sizes.add(pool_of(node, "counts").size)
        node.run_until(lambda: set(numbers(log)) == set(range(SENT)), timeout=120.0)
        assert len(sizes) > 1
        assert node.dead_letters() == []
    with read_journal(folder / "journal") as journal:
        records = [record for _, record in journal.all_records()]
    return [msgspec.msgpack.decode(record.payload, type=Counted).number for record in records]
