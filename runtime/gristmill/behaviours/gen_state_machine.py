"""``GenStateMachine``: an actor whose handlers depend on its state, with a declared table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context, Timer
from gristmill.behaviours.protocol import Handler, Protocol, handlers_of
from gristmill.errors import GristmillError, ProtocolError, UsageError
from gristmill.facets.transitions import TransitionTable
from gristmill.messages import Command, Event, Message

F = TypeVar("F", bound=Callable[..., Any])

_STATES = "__gristmill_states__"
_UNSET: Any = object()


class UnhandledMessageError(GristmillError):
    """The machine has no clause for a message in its present state; crashes the machine."""


def on(*states: Hashable) -> Callable[[F], F]:
    """Mark a method as the handler, in these states, of the message type it is annotated with.

    It looks like any handler and answers like one. A method with plain ``@handles`` takes its
    message in every state that has no clause of its own for it.
    """

    def mark(function: F) -> F:
        setattr(function, _STATES, states)
        return function

    return mark


class GenStateMachine(Actor):
    """A state machine over a :class:`~gristmill.facets.transitions.TransitionTable`.

    A handler decides with :meth:`become` or :meth:`fire`; the change takes place when it has
    finished, in this order: the state timeout of the old state is cancelled, the new state is
    set, :meth:`on_enter` runs, postponed messages are tried again. A transition that the table
    does not have raises :class:`~gristmill.errors.InvalidStateTransition` in the handler: nothing
    has changed, and the asker gets it. A message without a clause in the present state crashes
    the machine, so that none is dropped in silence; ``ctx.postpone()`` keeps it for a later state.
    """

    table: ClassVar[TransitionTable[Any]]
    """The states and the transitions between them; every machine class declares it."""

    _state: Any = _UNSET
    _next: Any = _UNSET
    _handling = False
    _again = False
    _context: Context | None = None
    _timer: Timer | None = None
    _wanted_timeout: tuple[float, Command | Event] | None = None

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Check the clauses against the table, and build the protocol."""
        super().__init_subclass__(**options)
        if not isinstance(getattr(cls, "table", None), TransitionTable):
            raise ProtocolError(
                f"{cls.__qualname__} declares no transitions; write table = TransitionTable(...)"
            )
        if inspect.iscoroutinefunction(cls.on_enter):
            raise ProtocolError(f"{cls.__qualname__}.on_enter is async; it is a plain method")
        cls.__protocol__ = _machine_protocol(cls, cls.__protocol__)

    @property
    def state(self) -> Any:  # noqa: ANN401 - a state of the table
        """The present state; while a handler runs, the one in which it began."""
        return self.table.initial if self._state is _UNSET else self._state

    def become(self, state: Any) -> None:  # noqa: ANN401 - a state of the table
        """Go to ``state`` when the handler has finished; outside a handler at once.

        Outside a handler is the constructor, and ``apply`` during a replay.

        Raises:
            InvalidStateTransition: the table has no such transition. Nothing has changed.
        """
        source = self._ahead()
        self.table.check(source, state)
        self._go(state)

    def fire(self, trigger: Hashable) -> None:
        """Go where ``trigger`` leads from here, as :meth:`become` does.

        Raises:
            InvalidStateTransition: it leads nowhere from here. Nothing has changed.
        """
        self._go(self.table.next(self._ahead(), trigger))

    def repeat(self) -> None:
        """Enter the present state again when the handler has finished."""
        self._go(self._ahead())
        self._again = self._handling

    def state_timeout(self, seconds: float, message: Command | Event) -> None:
        """Handle ``message`` after ``seconds`` in this state; leaving the state cancels it.

        In a handler that changes the state it is the new state's. Arming it again restarts it.
        """
        if self._handling:
            self._wanted_timeout = (seconds, message)
        else:
            self._arm(seconds, message)

    def on_enter(self, old: Any, ctx: Context) -> None:  # noqa: ANN401 - a state of the table
        """Run when a state was entered, before any further message; it can't change the state.

        That is at the start and on :meth:`repeat`, where ``old`` is that state too, and on a
        change of state.
        """

    # --- the runtime's part ---

    def __begin__(self, ctx: Context) -> Any:  # noqa: ANN401 - None or an awaitable
        """Start, then enter the first state."""
        self._context = ctx
        starting = super().__begin__(ctx)
        if inspect.isawaitable(starting):
            return self._enter_after(starting, ctx)
        self._enter(self.state, ctx)
        return None

    async def _enter_after(self, starting: Any, ctx: Context) -> None:  # noqa: ANN401
        await starting
        self._enter(self.state, ctx)

    def _enter(self, old: Any, ctx: Context) -> None:  # noqa: ANN401 - a state of the table
        before = self._state
        self.on_enter(old, ctx)
        if self._state is not before:
            raise UsageError(f"{type(self).__qualname__}.on_enter can't change the state")

    def _ahead(self) -> Any:  # noqa: ANN401 - a state of the table
        return self.state if self._next is _UNSET else self._next

    def _go(self, state: Any) -> None:  # noqa: ANN401 - a state of the table
        if self._handling:
            self._next = state
        else:
            self._state = state

    def _reset(self) -> None:
        self._next, self._again, self._wanted_timeout = _UNSET, False, None

    @contextmanager
    def _transition(self, ctx: Context) -> Iterator[None]:
        """Run a clause; what it decided takes place unless it raises."""
        self._reset()
        self._handling = True
        try:
            yield
            target, timeout = self._ahead(), self._wanted_timeout
        finally:
            self._handling = False
            self._next = _UNSET
        old = self.state
        if target != old:
            self._cancel_timeout()
            self._state = target
        if timeout is not None:
            self._arm(*timeout)
        if target != old or self._again:
            self._enter(old, ctx)
        if target != old:
            ctx.retry_postponed()

    def _arm(self, seconds: float, message: Command | Event) -> None:
        if self._context is None:
            raise UsageError("a state timeout can be armed from on_start on")
        timer = self._context.send_after(seconds, message)
        self._cancel_timeout()
        self._timer = timer

    def _cancel_timeout(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class _Clauses:
    """The handlers of one message type, by state."""

    def __init__(self, message: type[Message]) -> None:
        self.message = message
        self.by_state: dict[Hashable, Handler] = {}
        self.otherwise: Handler | None = None

    def all(self) -> list[Handler]:
        found = list(self.by_state.values())
        return found if self.otherwise is None else [*found, self.otherwise]

    def choose(self, machine: GenStateMachine) -> Handler:
        clause = self.by_state.get(machine.state, self.otherwise)
        if clause is None:
            states = ", ".join(map(str, self.by_state))
            raise UnhandledMessageError(
                f"{type(machine).__qualname__} has no clause for {self.message.__qualname__} in "
                f"state {machine.state} (it has in: {states}); add one with @on, or postpone it"
            )
        return clause

    def handler(self) -> Handler:
        """Make the one handler that the runtime calls."""
        clauses = self.all()
        is_async = any(clause.is_async for clause in clauses)
        first = clauses[0]
        return Handler(
            name=first.name,
            function=_run_async(self) if is_async else _run(self),
            message=self.message,
            wants_context=True,
            is_async=is_async,
            reply=first.reply,
            reply_class=first.reply_class,
        )


def _call(clause: Handler, machine: GenStateMachine, message: Message, ctx: Context) -> Any:  # noqa: ANN401
    if clause.wants_context:
        return clause.function(machine, message, ctx)
    return clause.function(machine, message)


def _run(clauses: _Clauses) -> Callable[..., Any]:
    def run(machine: GenStateMachine, message: Message, ctx: Context) -> Any:  # noqa: ANN401
        clause = clauses.choose(machine)
        with machine._transition(ctx):  # noqa: SLF001 - the machine's own half
            return _call(clause, machine, message, ctx)

    return run


def _run_async(clauses: _Clauses) -> Callable[..., Any]:
    async def run(machine: GenStateMachine, message: Message, ctx: Context) -> Any:  # noqa: ANN401
        clause = clauses.choose(machine)
        with machine._transition(ctx):  # noqa: SLF001 - the machine's own half
            value = _call(clause, machine, message, ctx)
            return await value if clause.is_async else value

    return run


def _machine_protocol(cls: type[GenStateMachine], common: Protocol) -> Protocol:
    found: dict[type[Message], _Clauses] = {}
    for message, handler in common.handlers.items():
        found[message] = _Clauses(message)
        found[message].otherwise = handler
    names = dict.fromkeys(name for klass in reversed(cls.__mro__) for name in vars(klass))
    for name in names:
        function = inspect.getattr_static(cls, name)
        states = getattr(function, _STATES, None)
        if states is None:
            continue
        _check_states(cls, name, states)
        for handler in handlers_of(cls, name, function):
            clauses = found.setdefault(handler.message, _Clauses(handler.message))
            for state in states:
                other = clauses.by_state.get(state)
                if other is not None:
                    raise ProtocolError(
                        f"{cls.__qualname__} has two clauses for {handler.message.__qualname__} "
                        f"in state {state}: {other.name} and {name}; keep one"
                    )
                clauses.by_state[state] = handler
    return Protocol(cls, {message: clauses.handler() for message, clauses in found.items()})


def _check_states(cls: type[GenStateMachine], name: str, states: tuple[Hashable, ...]) -> None:
    known = ", ".join(map(str, cls.table.states))
    if not states:
        raise ProtocolError(
            f"{cls.__qualname__}.{name}: say in which states, @on(State.A, ...); "
            "for every state write @handles"
        )
    for state in states:
        if state not in cls.table.states:
            raise ProtocolError(
                f"{cls.__qualname__}.{name}: {state!r} is no state of the table (states: {known})"
            )
