"""``Endings``: when the end of an incarnation counts, and for what reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gristmill.node.supervisor.actors.families import Families
from gristmill.node.supervisor.actors.start_limits import StartLimits
from gristmill.node.supervisor.roster import Roster
from gristmill.supervision import (
    Action,
    ExitReason,
    Normal,
    Shutdown,
    SupervisionTree,
    Verdict,
)

_REPLACED = Shutdown("its worker was replaced")
"""What actors end with that go on in another worker."""


class Driver(Protocol):
    """The part of the core that carries out what follows."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""


class Endings:
    """Tells the tree of ends: that of a parent only when its children have ended too.

    So an actor is started again, or counts as stopped, when nothing of it is left.
    """

    def __init__(
        self,
        driver: Driver,
        tree: SupervisionTree,
        roster: Roster,
        families: Families,
        limits: StartLimits,
        now: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._tree = tree
        self._roster = roster
        self._families = families
        self._limits = limits
        self._now = now
        self._events = itertools.count(-1, -1)

    def exited(
        self, exited: list[tuple[int, int]], reason: ExitReason, verdict: Verdict | None = None
    ) -> None:
        """One event has ended these incarnations, given as (key, incarnation).

        ``verdict`` is what the class of one that ended alone has decided.
        """
        keys, decided = self.decide(exited, reason, verdict=verdict)
        self._driver.act(decided)
        self._driver.settle(keys)

    def replaced(self, ended: list[tuple[int, int]]) -> None:
        """Incarnations, as (key, incarnation), ended with the worker that they were in."""
        keys, decided = self.decide(ended, _REPLACED, replaced=True)
        self._driver.act(decided)
        self._driver.settle(keys)

    def decide(
        self,
        exited: list[tuple[int, int]],
        reason: ExitReason,
        *,
        collateral: bool = False,
        verdict: Verdict | None = None,
        replaced: bool = False,
    ) -> tuple[list[int], list[Action]]:
        """Tell the tree of all whose end counts now; give their keys and what it has decided.

        Args:
            exited: what one event has ended, as (key, incarnation).
            reason: why.
            collateral: they did nothing wrong.
            verdict: what the class of one that ended alone has decided.
            replaced: they only go on elsewhere.
        """
        event = next(self._events)
        for key, incarnation in exited:
            self._roster.ended(key, incarnation)
        rest = []
        for pair in exited:
            key, _ = pair
            late = self._limits.is_overdue(key)
            why = self._limits.ended(key, reason)
            if self._families.has(key):
                told = None if late else verdict
                tell = partial(
                    self._tell, [pair], why, event, told, collateral=collateral, replaced=replaced
                )
                self._families.end(key, why, tell)
            elif late:
                self._tell([pair], why, event)
            else:
                rest.append(pair)
        decided = self._tell_tree(
            rest, reason, event, verdict, collateral=collateral, replaced=replaced
        )
        return [key for key, _ in rest], decided

    def _tell(
        self,
        exited: list[tuple[int, int]],
        reason: ExitReason,
        event: int,
        verdict: Verdict | None = None,
        *,
        collateral: bool = False,
        replaced: bool = False,
    ) -> None:
        self._driver.act(
            self._tell_tree(
                exited, reason, event, verdict, collateral=collateral, replaced=replaced
            )
        )
        self._driver.settle([key for key, _ in exited])

    def _tell_tree(
        self,
        exited: list[tuple[int, int]],
        reason: ExitReason,
        event: int,
        verdict: Verdict | None,
        *,
        collateral: bool = False,
        replaced: bool = False,
    ) -> list[Action]:
        if replaced:
            return self._tree.actors_replaced(exited, reason, self._now())
        if len(exited) == 1 and self._families.ends_with_parent(exited[0][0], reason):
            reason = Shutdown("its parent has ended")  # an ordered stop, and no failure
        now = self._now()
        return self._tree.actors_exited(
            exited, reason, now, event=event, collateral=collateral, verdict=verdict
        )

    def start_failed(
        self,
        key: int,
        incarnation: int,
        reason: ExitReason,
        *,
        ignored: bool,
        verdict: Verdict | None,
    ) -> None:
        """An incarnation could not start, or chose not to run."""
        self._roster.ended(key, incarnation)
        self._limits.ended(key, reason)  # even if it was late, its own error says more

        def tell() -> None:
            failed = self._tree.start_failed(
                key, incarnation, reason, self._now(), ignored=ignored, verdict=verdict
            )
            self._driver.act(failed)
            self._driver.settle([key])

        self._families.end(key, Normal() if ignored else reason, tell)
