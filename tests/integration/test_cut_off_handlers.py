"""Handlers that are cut off, dropped and late: what they wanted is not half done."""

from __future__ import annotations

import pytest

from gristmill import Elasticity
from gristmill.testing import Simulation
from support import cut_off as c
from support.simulated import Ping


def test_a_handler_that_is_cut_off_has_done_nothing() -> None:
    with Simulation(1, journal=True) as node:
        other = node.spawn(c.Crasher, name="other")
        ref = node.spawn(c.Durably, args=(other,), name="durable")
        node.spawn(c.Passing, args=(ref,), name="passing").tell(c.Add(1))
        node.advance(1.0)
        other.tell(c.Boom())
        node.advance(10.0)
        assert ref.ask(c.Numbers()) == [1], "once, by the next incarnation"


def test_a_message_that_is_dropped_takes_nothing_of_the_handler_under_way_along() -> None:
    with Simulation(1, journal=True) as node:
        ref = node.spawn(c.Durably, name="durable")
        ref.tell(c.Add(1, fails=True))
        node.advance(1.0)
        for _ in range(5):
            ref.tell(c.Poke())
        node.advance(10.0)
        assert ref.ask(c.Numbers()) == []


@pytest.mark.parametrize("pokes", [0, 2])
def test_what_must_arrive_is_never_dropped_for_room(pokes: int) -> None:
    c.FailsOnce.attempts.clear()
    with Simulation(1, journal=True) as node:
        ref = node.spawn(c.FailsOnce, name="fails")
        passing = node.spawn(c.Passing, args=(ref,), name="passing")
        passing.tell(c.Add(1))
        passing.tell(c.Add(2))
        node.advance(1.0)
        for _ in range(pokes):
            passing.tell(c.Poke())
        node.advance(20.0)
        assert ref.ask(c.Numbers()) == [1, 2]


def test_what_a_stopped_actor_left_is_a_dead_letter_and_nothing_else() -> None:
    c.FailsOnce.attempts.clear()
    with Simulation(1, journal=True) as node:
        ref = node.spawn(c.Durably, name="stops", mailbox=c.Mailbox())
        passing = node.spawn(c.Passing, args=(ref,), name="passing")
        for number in range(4):
            passing.tell(c.Add(number))
        node.advance(1.0)
        node.supervisor().terminate_child("stops")
        node.advance(5.0)
        node.supervisor().delete_child("stops")
        left = len(node.dead_letters())
        handled = 4 - left
        again = node.spawn(c.Durably, name="stops")
        node.advance(20.0)
        assert len(again.ask(c.Numbers())) == handled
        assert len(node.dead_letters()) == left


def test_a_handler_whose_incarnation_has_ended_does_nothing_in_the_next_one() -> None:
    c.Ticking.seen.clear()
    with Simulation(1) as node:
        other = node.spawn(c.Crasher, name="other")
        ref = node.spawn(c.Ticking, args=(other,), name="ticking")
        ref.tell(c.Wait())
        node.advance(1.0)
        other.tell(c.Boom())
        node.advance(10.0)
        assert ref.ask(Ping()) == 1
        assert c.Ticking.seen == []


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_any_message_cancels_an_idle_timeout(gap: float) -> None:
    with Simulation(1) as node:
        ref = node.spawn(c.Idle)
        ref.tell(c.Touch(True))
        node.advance(gap)
        ref.tell(c.Touch(False))
        node.advance(5.0)
        assert ref.ask(c.Touched()) == ["touched", "touched"]


def test_a_member_that_owes_replies_is_not_stopped() -> None:
    with Simulation(1) as node:
        node.pool(c.Deferring, 4, name="deferring", elastic=Elasticity(1, 4))
        asking = node.spawn(c.Asking)
        asking.tell(c.AskAll("deferring", 8))
        node.advance(60.0)
        assert asking.ask(c.Touched()) == [str(number) for number in range(8)]


@pytest.mark.parametrize("crash", [False, True])
def test_a_keyed_actor_rests_whose_reminder_was_armed_before_a_crash(crash: bool) -> None:
    with Simulation(1, journal=True) as node:
        group = node.keyed(c.Reminding, "reminding", idle=10.0)
        group.tell("key", c.Remind())
        node.advance(1.0)
        if crash:
            group.tell("key", c.Boom())
        node.advance(200.0)
        (status,) = node.status().groups
        assert status.actors == 0
