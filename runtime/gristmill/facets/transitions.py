"""Declared state machines: which state follows which, as a table that is checked when it is made.

The table holds no state of its own. One table serves any number of machines: an actor that is a
state machine, and, embedded, one state variable per order.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, Generic, TypeVar

from gristmill.errors import InvalidStateTransition, UsageError

S = TypeVar("S", bound=Hashable)


class TransitionTable(Generic[S]):
    """The states of a machine and the transitions between them.

    Args:
        table: for each state, the state that each trigger leads to. A trigger is any hashable
            value; strings, enum members and message classes print well.
        initial: the state in which a machine starts.
        terminal: the states in which a machine ends; they have no exits and may be left out of
            ``table``.

    Raises:
        UsageError: a state is unknown, can't be reached or left, or is terminal and has exits.
    """

    def __init__(
        self,
        table: Mapping[S, Mapping[Any, S]],
        *,
        initial: S,
        terminal: Collection[S] = (),
    ) -> None:
        self._exits: dict[S, dict[Hashable, S]] = {s: dict(exits) for s, exits in table.items()}
        for state in terminal:
            self._exits.setdefault(state, {})
        self.initial = initial
        self.terminal: frozenset[S] = frozenset(terminal)
        self._check_states()
        self._check_reachable()

    @property
    def states(self) -> tuple[S, ...]:
        """All states, in the order of their declaration."""
        return tuple(self._exits)

    def triggers(self, state: S) -> tuple[Hashable, ...]:
        """Give the triggers that ``state`` reacts to; none for a terminal state."""
        return tuple(self._exits.get(state, ()))

    def next(self, state: S, trigger: Hashable) -> S:
        """Give the state that ``trigger`` leads to.

        Raises:
            InvalidStateTransition: ``state`` has no such trigger.
        """
        exits = self._exits.get(state, {})
        if trigger not in exits:
            raise InvalidStateTransition(_label(state), _label(trigger), detail=self._hint(state))
        return exits[trigger]

    def allows(self, source: S, target: S) -> bool:
        """Tell whether some trigger leads from ``source`` to ``target``."""
        return target in self._exits.get(source, {}).values()

    def check(self, source: S, target: S) -> None:
        """Refuse a transition that is not in the table.

        Raises:
            InvalidStateTransition: no trigger leads from ``source`` to ``target``.
        """
        if not self.allows(source, target):
            raise InvalidStateTransition(_label(source), _label(target), detail=self._hint(source))

    def is_path(self, states: Sequence[S]) -> bool:
        """Tell whether a machine can have gone through ``states``, from the initial one on.

        Nothing seen yet, an empty sequence, is a path too.
        """
        if not states:
            return True
        return states[0] == self.initial and all(self.allows(a, b) for a, b in pairwise(states))

    def draw(self) -> str:
        """Draw the table as text: the initial state marked ``>``, terminal ones ``*``."""
        lines: list[str] = []
        for state, exits in self._exits.items():
            mark = ">" if state == self.initial else "*" if state in self.terminal else " "
            lines.append(f"{mark} {_label(state)}")
            width = max((len(_label(trigger)) for trigger in exits), default=0)
            lines.extend(f"    {_label(t):<{width}} -> {_label(to)}" for t, to in exits.items())
        return "\n".join(lines)

    def _hint(self, state: S) -> str:
        if state not in self._exits:
            return "unknown state"
        if state in self.terminal:
            return f"{_label(state)} is terminal"
        exits = (f"{_label(t)} -> {_label(to)}" for t, to in self._exits[state].items())
        return f"allowed: {', '.join(exits)}"

    def _check_states(self) -> None:
        if self.initial not in self._exits:
            raise UsageError(f"initial state {_label(self.initial)} is not in the transition table")
        for state, exits in self._exits.items():
            if exits and state in self.terminal:
                raise UsageError(
                    f"terminal state {_label(state)} has exits; remove them, or take it out of "
                    "terminal"
                )
            if not exits and state not in self.terminal:
                raise UsageError(f"state {_label(state)} has no exits; declare it as terminal")
            for trigger, target in exits.items():
                if target not in self._exits:
                    raise UsageError(
                        f"{_label(state)} leads by {_label(trigger)} to the unknown state "
                        f"{_label(target)}; give it a row of its own, or declare it as terminal"
                    )

    def _check_reachable(self) -> None:
        reached = {self.initial}
        frontier = [self.initial]
        while frontier:
            found = set(self._exits[frontier.pop()].values()) - reached
            reached |= found
            frontier.extend(found)
        if lost := [_label(state) for state in self._exits if state not in reached]:
            raise UsageError(f"no transition leads from the initial state to {', '.join(lost)}")


def _label(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return value.__qualname__ if isinstance(value, type) else str(value)
