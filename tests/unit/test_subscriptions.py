"""When a subscription is known to all: a pure decision of the supervisor process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

import pytest

from gristmill.node.supervisor.hearing import Hearing
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.subscriptions import Subscriptions
from gristmill.transport import control as c


class Around:
    """What the subscriptions see of the supervisor process: two workers, and its timers."""

    def __init__(self) -> None:
        self.said: list[c.Subscribers] = []
        self.up = {1, 2}
        self.timers: dict[int, Callable[[], None]] = {}
        shell, roster = cast("SupervisorShell", self), cast("Roster", self)
        self.hearing = Hearing(shell)
        self.subscriptions = Subscriptions(shell, roster, self.hearing)
        self.known: list[str] = []
        self._numbers = itertools.count()

    def processes(self) -> set[int]:
        return set(self.up)

    def broadcast(self, message: c.Subscribers) -> None:
        self.said.append(message)

    def now(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: Callable[[], None]) -> int:
        assert when > 0
        number = next(self._numbers)
        self.timers[number] = callback
        return number

    def cancel(self, timer: int) -> None:
        self.timers.pop(timer)

    def await_(self, name: str, *targets: tuple[int, int]) -> None:
        self.subscriptions.when_known(set(targets), lambda: self.known.append(name))


@pytest.fixture
def around() -> Around:
    return Around()


def test_it_holds_when_every_process_has_heard(around: Around) -> None:
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.await_("7", (1, 7))
    around.await_("another", (1, 8))
    assert around.known == ["another"]
    (said,) = around.said
    assert (said.channel, said.targets) == ("a", ((1, 7),))
    around.hearing.heard(said.number, 1)
    around.hearing.heard(said.number, 1)
    assert around.known == ["another"]
    around.hearing.heard(said.number, 2)
    assert around.known == ["another", "7"]
    assert not around.timers
    around.hearing.heard(said.number, 2)  # nobody waits for it any more


def test_several_channels_must_all_be_known(around: Around) -> None:
    for channel in "ab":
        around.subscriptions.change(channel, (1, 7), wanted=True)
    around.await_("7", (1, 7), (1, 8))
    for message, process in [(1, 1), (1, 2), (0, 2)]:
        around.hearing.heard(around.said[message].number, process)
    assert around.known == []
    around.hearing.heard(around.said[0].number, 1)
    assert around.known == ["7"]


def test_what_changes_nothing_is_not_told(around: Around) -> None:
    around.subscriptions.change("a", (1, 7), wanted=False)
    assert around.said == []
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.subscriptions.end(1, 7)
    assert [said.targets for said in around.said] == [((1, 7),), ()]


def test_who_has_not_heard_in_time_is_not_waited_for(around: Around) -> None:
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.await_("7", (1, 7))
    (late,) = around.timers.values()
    late()
    assert around.known == ["7"]


def test_a_dead_process_is_not_waited_for_and_waits_no_more(around: Around) -> None:
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.subscriptions.change("a", (2, 8), wanted=True)
    around.await_("7", (1, 7))
    around.await_("8", (2, 8))
    around.hearing.heard(around.said[0].number, 1)
    around.hearing.process_down(2)
    around.subscriptions.process_down(2)
    assert around.known == ["7", "8"]


def test_an_actor_that_ends_waits_no_more(around: Around) -> None:
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.await_("7", (1, 7))
    around.subscriptions.stop_waiting((1, 7))
    around.subscriptions.stop_waiting((1, 7))
    assert around.known == ["7"]


def test_nobody_there_is_nobody_to_wait_for(around: Around) -> None:
    around.up = set()
    around.subscriptions.change("a", (1, 7), wanted=True)
    around.await_("7", (1, 7))
    assert around.known == ["7"]
