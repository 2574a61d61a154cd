"""Credit: who waits for room, who fails, and actors that wait for each other in a circle."""

from __future__ import annotations

import pytest

from gristmill import Mailbox, Node, Ref
from gristmill.testing import Simulation
from support.floods import Basin, Drops, Flood, FloodSelf
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually


def circle(sim: Simulation, size: int, *, waiting: bool) -> list[Ref[Basin]]:
    """Have actors on as many workers flood one another, each the next one."""
    refs = [
        sim.spawn(Basin, name=f"basin-{n}", placement=f"w{n + 1}", restart="transient")
        for n in range(size)
    ]
    for n, ref in enumerate(refs):
        ref.tell(Flood(refs[(n + 1) % size], 50, waiting=waiting, rest=0.5))
    return refs


@pytest.mark.parametrize("waiting", [False, True], ids=["tell", "await tell"])
@pytest.mark.parametrize("size", [2, 3])
def test_a_circle_of_actors_without_room_fails_by_name(size: int, *, waiting: bool) -> None:
    for seed in range(3):
        with Simulation(seed, workers=3, max_restarts=100) as sim:
            refs = circle(sim, size, waiting=waiting)
            sim.run_until(lambda sim=sim: bool(sim.dead_letters()), timeout=10.0)
            names = " -> ".join([*(f"basin-{n}" for n in range(size)), "basin-0"])
            assert (
                f"{names} wait for room in each other's mailboxes" in sim.dead_letters()[0].reason
            )
            sim.run_until(lambda sim=sim: sim.counters().balanced, timeout=30.0)
            counted = sim.counters()
            drops = sum(ref.ask(Drops(), timeout=60.0) for ref in refs)
            assert drops > 50 * (size - 1)
            lost = 50 - 4 if not waiting else 1
            assert counted.dead_lettered == lost, str(counted)
            assert counted.dropped_in_all == 0


def test_a_long_wait_that_is_no_circle_is_no_failure() -> None:
    with Simulation(1, workers=2) as sim:
        slow = sim.spawn(Basin, placement="w1")
        busy = sim.spawn(Basin, placement="w2")
        slow.tell(Flood(busy, 1, rest=30.0))
        busy.tell(Flood(slow, 50))
        sim.advance(20.0)
        assert sim.counters().waiting > 40
        sim.advance(20.0)
        assert slow.ask(Drops()) == 50
        assert busy.ask(Drops()) == 1
        assert not sim.dead_letters()


@pytest.mark.parametrize("waiting", [False, True], ids=["tell", "await tell"])
def test_all_of_a_flood_arrives_where_there_is_little_room(node: Node, *, waiting: bool) -> None:
    source = node.spawn(Basin, placement="w1")
    target = node.spawn(Basin, placement="w2")
    source.tell(Flood(target, 500, waiting=waiting))
    eventually(lambda: target.ask(Drops()) == 500, "all drops")
    assert source.ask(Drops()) == 0
    source.stop()
    target.stop()


def test_a_tell_to_oneself_fails_when_there_is_no_room(node: Node) -> None:
    ref = node.spawn(Basin, mailbox=Mailbox(capacity=3))
    assert ref.ask(FloodSelf(10)) == 3
    assert ref.ask(Drops()) == 3
    ref.stop()
