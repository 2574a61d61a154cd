"""The clauses of a state machine: handlers of one message type that depend on the state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol, TypeVar

from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import Handler, handlers_of
from gristmill.errors import GristmillError, ProtocolError
from gristmill.messages import Message

F = TypeVar("F", bound=Callable[..., Any])

_STATES = "__gristmill_states__"


class UnhandledMessageError(GristmillError):
    """The machine has no clause for a message in its present state; crashes the machine."""


class Machine(Protocol):
    """What clauses need of the machine that they belong to."""

    @property
    def state(self) -> Any:
        """The present state."""


def on(*states: Hashable) -> Callable[[F], F]:
    """Mark a method as the handler, in these states, of the message type it is annotated with.

    It looks like any handler and answers like one. A method with plain ``@handles`` takes its
    message in every state that has no clause of its own for it.
    """

    def mark(function: F) -> F:
        setattr(function, _STATES, states)
        return function

    return mark


class Clauses:
    """The handlers of one message type, by state."""

    def __init__(self, message: type[Message]) -> None:
        self.message = message
        self._by_state: dict[Hashable, Handler] = {}
        self.otherwise: Handler | None = None
        """What handles it in the states that have no clause of their own."""

    def add(self, owner: type, state: Hashable, handler: Handler) -> None:
        """Add the clause of a state.

        Raises:
            ProtocolError: it has one.
        """
        _check_single(owner, handler)
        other = self._by_state.setdefault(state, handler)
        if other is not handler:
            raise ProtocolError(
                f"{owner.__qualname__} has two clauses for {self.message.__qualname__} "
                f"in state {state}: {other.name} and {handler.name}; keep one"
            )

    def choose(self, machine: Machine) -> Handler:
        """Give the clause of the present state.

        Raises:
            UnhandledMessageError: there is none.
        """
        clause = self._by_state.get(machine.state, self.otherwise)
        if clause is None:
            states = ", ".join(map(str, self._by_state))
            raise UnhandledMessageError(
                f"{type(machine).__qualname__} has no clause for {self.message.__qualname__} in "
                f"state {machine.state} (it has in: {states}); add one with @on, or postpone it"
            )
        return clause

    def handler(
        self, run: Callable[[Clauses], Any], run_async: Callable[[Clauses], Any]
    ) -> Handler:
        """Make the one handler that the runtime calls: what ``run``, or ``run_async``, makes."""
        clauses = list(self._by_state.values())
        if self.otherwise is not None:
            clauses.append(self.otherwise)
        first = clauses[0]
        is_async = any(clause.is_async for clause in clauses)
        return Handler(
            name=first.name,
            function=run_async(self) if is_async else run(self),
            message=self.message,
            wants_context=True,
            is_async=is_async,
            reply=first.reply,
            reply_class=first.reply_class,
            retried=first.retried,
        )


def clauses_of(
    cls: type, states: Collection[Hashable], common: dict[type[Message], Handler]
) -> dict[type[Message], Clauses]:
    """Collect the clauses of a machine class, besides the handlers for any state.

    Raises:
        ProtocolError: a clause names no state of the table, or one that has another clause.
    """
    found: dict[type[Message], Clauses] = {}
    for message, handler in common.items():
        _check_single(cls, handler)
        found[message] = Clauses(message)
        found[message].otherwise = handler
    names = dict.fromkeys(name for klass in reversed(cls.__mro__) for name in vars(klass))
    for name in names:
        function = inspect.getattr_static(cls, name)
        wanted = getattr(function, _STATES, None)
        if wanted is None:
            continue
        _check_states(cls, name, wanted, states)
        for handler in handlers_of(cls, name, function):
            clauses = found.setdefault(handler.message, Clauses(handler.message))
            for state in wanted:
                clauses.add(cls, state, handler)
    return found


def _check_single(owner: type, handler: Handler) -> None:
    if handler.batch is not None:
        raise ProtocolError(
            f"{owner.__qualname__}.{handler.name} takes batches, but a state machine takes one "
            "message at a time: each may change the state; leave batch=... out"
        )


def _check_states(
    cls: type, name: str, wanted: tuple[Hashable, ...], states: Collection[Hashable]
) -> None:
    if not wanted:
        raise ProtocolError(
            f"{cls.__qualname__}.{name}: say in which states, @on(State.A, ...); "
            "for every state write @handles"
        )
    for state in wanted:
        if state not in states:
            known = ", ".join(map(str, states))
            raise ProtocolError(
                f"{cls.__qualname__}.{name}: {state!r} is no state of the table (states: {known})"
            )


def call(clause: Handler, machine: Machine, message: Message, ctx: Context) -> Any:
    """Call a clause; give what it returns."""
    if clause.wants_context:
        return clause.function(machine, message, ctx)
    return clause.function(machine, message)
