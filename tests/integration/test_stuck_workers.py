from __future__ import annotations

import contextlib
import time

import pytest

from gristmill import ActorDied, Node
from gristmill.errors import UsageError
from support.actors import Add, Pid
from support.deaths import Await, Limited, Slow, Spin


@pytest.mark.parametrize("message", [Spin(20), Await(20, 0.01), Await(20, 20)])
def test_a_handler_past_its_time_limit_ends_with_its_worker(
    node: Node, message: Spin | Await
) -> None:
    ref = node.spawn(Limited, name="limited", placement="dedicated")
    pid = ref.ask(Pid())
    begun = time.monotonic()
    name = type(message).__name__
    with pytest.raises(ActorDied, match=f"{name} took longer than its time limit of 0.2 s") as died:
        ref.ask(message, timeout=None)
    assert 0.2 <= time.monotonic() - begun < 2.0
    death = died.value.death
    assert death is not None
    assert (death.signal, death.actor, death.message) == (9, "limited", name)
    assert death.seconds >= 0.2
    assert ref.ask(Pid()) != pid
    ref.stop()


def test_handlers_within_their_limit_live_however_many_they_are(node: Node) -> None:
    ref = node.spawn(Slow, placement="dedicated", time_limit=0.3)
    pid = ref.ask(Pid())
    for _ in range(4):
        assert ref.ask(Spin(0.1)) == 1
        assert ref.ask(Await(0.1, 0.01)) == 1
    assert sum(ref.ask_many([Spin(0.02)] * 30)) == 30
    assert ref.ask(Pid()) == pid
    ref.stop()


def test_an_idle_actor_is_not_held_against_its_limit(node: Node) -> None:
    ref = node.spawn(Limited, placement="dedicated", time_limit=0.05)
    other = node.spawn(Slow)
    pid = ref.ask(Pid())
    other.ask(Spin(0.3))
    assert ref.ask(Pid()) == pid
    ref.stop()
    other.stop()


def test_an_error_in_a_limited_handler_does_not_leave_its_clock_running(node: Node) -> None:
    ref = node.spawn(Limited, placement="dedicated", time_limit=0.1)
    pid = ref.ask(Pid())
    with contextlib.suppress(TimeoutError):
        ref.ask(Await(0.05, 0.01), timeout=0.02)
    other = node.spawn(Slow)
    other.ask(Spin(0.4))
    assert ref.ask(Pid()) == pid
    ref.stop()
    other.stop()


@pytest.mark.parametrize(
    ("placement", "limit", "told"),
    [
        ("any", None, 'needs placement="dedicated"'),
        ("w1", 1.0, 'needs placement="dedicated"'),
        ("dedicated", 0.0, "seconds above 0"),
        ("dedicated", -1.0, "seconds above 0"),
        ("dedicated", float("inf"), "seconds above 0"),
        ("dedicated", float("nan"), "seconds above 0"),
    ],
)
def test_a_limit_that_cannot_work_is_refused(
    node: Node, placement: str, limit: float | None, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        node.spawn(Limited, placement=placement, time_limit=limit)


def test_no_limit_is_the_default(node: Node) -> None:
    ref = node.spawn(Slow, placement="dedicated")
    assert ref.ask(Spin(0.6)) == 1
    assert ref.ask(Add(1, 1)) == 2
    ref.stop()
