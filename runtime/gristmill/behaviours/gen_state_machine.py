"""``GenStateMachine``: an actor whose handlers depend on its state, with a declared table."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.clauses import Clauses, UnhandledMessageError, call, clauses_of, on
from gristmill.behaviours.context import DEFERRED, Context, Postponed, check_delay
from gristmill.behaviours.protocol import Handler, Protocol, check_reply
from gristmill.behaviours.timeouts import Timeout, Timeouts
from gristmill.errors import (
    InvalidStateTransition,
    ProtocolError,
    ReplyTypeError,
    UsageError,
)
from gristmill.facets.transitions import TransitionTable
from gristmill.messages import Command, Event, Message, Request

__all__ = ["GenStateMachine", "UnhandledMessageError", "on"]

_STATE = "the state's timeout"
_EVENT = "the event's timeout"


class _Turn:
    """What the handler in progress has decided."""

    __slots__ = ("again", "target", "timeouts")

    def __init__(self, state: object) -> None:
        self.target: Any = state
        self.again = False
        self.timeouts: dict[Hashable, Timeout | None] = {}


class _Course:
    """Where a machine stands; apart from the attributes that its class gives it."""

    __slots__ = ("entering", "state", "timeouts", "turn")

    def __init__(self, state: object) -> None:
        self.state: Any = state
        self.turn: _Turn | None = None
        self.timeouts: Timeouts | None = None
        """None before the start."""
        self.entering = False


class GenStateMachine(Actor):
    """A state machine over a :class:`~gristmill.facets.transitions.TransitionTable`.

    A handler decides with :meth:`become` or :meth:`fire`. What it decides takes place when it has
    finished, in this order: its reply leaves, the new state is set and the old state's timeout
    cancelled, the timeouts it wants are armed, :meth:`on_enter` runs, then come the messages that
    it inserted with ``ctx.continue_with``, then those that were postponed, then the mailbox.

    A transition that the table does not have raises
    :class:`~gristmill.errors.InvalidStateTransition` in the handler: nothing has changed, and the
    asker gets it. A message without a clause in the present state crashes the machine, so that
    none is dropped in silence; ``ctx.postpone()`` keeps it for a later state.

    Timeouts are messages that are due: :meth:`state_timeout` ends with the state,
    :meth:`event_timeout` with the next message, and those by name with nothing but their end.
    """

    table: ClassVar[TransitionTable[Any]]
    """The states and the transitions between them; every machine class declares it."""

    _course: _Course | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the clauses against the table, and build the protocol."""
        super().__init_subclass__(**options)
        if not isinstance(getattr(cls, "table", None), TransitionTable):
            raise ProtocolError(
                f"{cls.__qualname__} declares no transitions; write table = TransitionTable(...)"
            )
        if inspect.iscoroutinefunction(cls.on_enter):
            raise ProtocolError(f"{cls.__qualname__}.on_enter is async; it is a plain method")
        found = clauses_of(cls, cls.table.states, cls.__protocol__.handlers)
        handlers = {kind: each.handler(_run, _run_async) for kind, each in found.items()}
        cls.__protocol__ = Protocol(cls, handlers)

    @property
    def state(self) -> Any:
        """The present state; while a handler runs, the one in which it began."""
        return self.table.initial if self._course is None else self._course.state

    def become(self, state: Any) -> None:
        """Go to ``state`` when the handler has finished; outside a handler at once.

        Outside a handler is the constructor, and ``apply`` during a replay.

        Raises:
            InvalidStateTransition: the table has no such transition. Nothing has changed.
            UsageError: the table has no such state.
        """
        try:
            self.table.check(self._ahead(), state)
        except InvalidStateTransition:
            if state not in self.table.states:
                known = ", ".join(map(str, self.table.states))
                name = type(self).__qualname__
                raise UsageError(f"{name} has no state {state!r} (states: {known})") from None
            raise
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
        if self._on_course.turn is not None:
            self._on_course.turn.again = True

    # --- timeouts ---

    def state_timeout(
        self,
        seconds: float | None,
        message: Command | Event | None = None,
        *,
        absolute: bool = False,
    ) -> None:
        """Handle ``message`` after ``seconds`` in this state; leaving the state cancels it.

        In a handler that changes the state it is the new state's. Other messages and
        :meth:`repeat` leave it alone.

        Args:
            seconds: from the end of the handler on; None or infinity cancels. Asked for again, it
                starts again.
            message: what is due; the machine handles it, and it may be ``internal``.
            absolute: ``seconds`` is the instant, on the clock of ``ctx.now()``.

        Raises:
            UsageError: the time is negative or no number, the machine has no clause for the
                message, or it has not started.
        """
        self._want(_STATE, seconds, message, absolute=absolute)

    def event_timeout(
        self,
        seconds: float | None,
        message: Command | Event | None = None,
        *,
        absolute: bool = False,
    ) -> None:
        """Handle ``message`` unless another one comes within ``seconds``; else as state_timeout.

        Any message cancels it, also an inserted, a postponed or a due one.
        """
        self._want(_EVENT, seconds, message, absolute=absolute)

    def timeout(
        self,
        name: Hashable,
        seconds: float | None,
        message: Command | Event | None = None,
        *,
        absolute: bool = False,
    ) -> None:
        """Handle ``message`` after ``seconds``, whatever happens; else as state_timeout.

        There may be as many of these as there are names. They end with the incarnation.
        """
        self._want((name,), seconds, message, absolute=absolute)

    def _want(
        self,
        name: Hashable,
        seconds: float | None,
        message: Command | Event | None,
        *,
        absolute: bool,
    ) -> None:
        wanted = None
        if seconds is not None and seconds != math.inf:
            check_delay(seconds)
            if message is None or type(message) not in type(self).__protocol__.handlers:
                raise UsageError(
                    f"{type(self).__qualname__} has no clause for {message!r}, which is to be due"
                )
            wanted = Timeout(seconds, message, absolute)
        course = self._on_course
        if course.turn is not None:
            course.turn.timeouts[name] = wanted
        elif course.timeouts is not None:
            course.timeouts.change(name, wanted)
        else:
            raise UsageError("a timeout can be armed from on_start on")

    def on_enter(self, old: Any, ctx: Context) -> None:
        """Run when a state was entered, before any further message; it can't change the state.

        That is at the start and on :meth:`repeat`, where ``old`` is that state too, and on a
        change of state.
        """

    # --- the runtime's part ---

    def __begin__(self, ctx: Context) -> Any:
        """Start, then enter the first state."""
        self._on_course.timeouts = Timeouts(ctx)
        starting = super().__begin__(ctx)
        if inspect.isawaitable(starting):
            return self._enter_after(starting, ctx)
        self._enter(self.state, ctx)
        return starting

    async def _enter_after(self, starting: Any, ctx: Context) -> Any:
        value = await starting
        self._enter(self.state, ctx)
        return value

    def __state__(self) -> dict[str, Any]:
        """Give the attributes and the state."""
        attributes = super().__state__()
        attributes.pop("_course", None)
        return attributes | {"state": self.state}

    def __set_state__(self, state: dict[str, Any]) -> None:
        """Put other attributes, and another state of the table, in the place of these."""
        if state.get("state") not in self.table.states:
            raise UsageError(f"{state.get('state')!r} is no state of the table")
        course = self._on_course
        attributes = {name: value for name, value in state.items() if name != "state"}
        super().__set_state__(attributes)
        self._course = course
        course.state = state["state"]

    @property
    def _on_course(self) -> _Course:
        if self._course is None:
            self._course = _Course(self.table.initial)
        return self._course

    def _ahead(self) -> Any:
        turn = self._on_course.turn
        return self.state if turn is None else turn.target

    def _go(self, state: Any) -> None:
        course = self._on_course
        if course.entering:
            raise UsageError(f"{type(self).__qualname__}.on_enter can't change the state")
        if course.turn is None:
            course.state = state
        else:
            course.turn.target = state

    def _enter(self, old: Any, ctx: Context) -> None:
        course = self._on_course
        course.entering = True
        try:
            given: Any = self.on_enter(old, ctx)  # type: ignore[func-returns-value]  # checked here
        finally:
            course.entering = False
        if given is not None:
            raise UsageError(f"{type(self).__qualname__}.on_enter gave {given!r}; it gives nothing")

    def _begin_turn(self) -> _Turn:
        course = self._on_course
        assert course.timeouts is not None
        course.timeouts.change(_EVENT, None)
        turn = course.turn = _Turn(course.state)
        return turn

    def _end_turn(self, turn: _Turn, clause: Handler, value: Any, ctx: Context) -> Any:
        """Let the turn's decisions take place; give what is still to be answered."""
        self._on_course.turn = None
        if issubclass(clause.message, Request):
            enters = turn.again or turn.target != self.state
            if enters and value is not DEFERRED:
                wrong = check_reply(clause, type(self), value)
                if wrong:
                    raise ReplyTypeError(wrong)
                ctx.defer_reply()(value)  # before on_enter sends anything
                value = DEFERRED
        elif value is not None:
            name = f"{type(self).__qualname__}.{clause.name}"
            raise UsageError(f"{name} gave {value!r}, but nothing waits for an answer")
        if self._settle(turn, ctx):
            ctx.retry_postponed()
        return value

    def _settle(self, turn: _Turn, ctx: Context) -> bool:
        """Carry out what a handler has decided; give whether the state has changed."""
        course = self._on_course
        assert course.timeouts is not None
        course.turn = None
        old = course.state
        changes = bool(turn.target != old)
        if changes:
            course.timeouts.change(_STATE, None)
            course.state = turn.target
        for name, wanted in turn.timeouts.items():
            course.timeouts.change(name, wanted)
        if changes or turn.again:
            self._enter(old, ctx)
        return changes


def _run(clauses: Clauses) -> Callable[..., Any]:
    def run(machine: GenStateMachine, message: Message, ctx: Context) -> Any:
        turn = machine._begin_turn()  # noqa: SLF001 - the machine's own half
        try:
            clause = clauses.choose(machine)
            value = call(clause, machine, message, ctx)
        except Postponed as postponed:
            postponed.retry = machine._settle(turn, ctx)  # noqa: SLF001 - as above
            raise
        except BaseException:
            machine._on_course.turn = None  # noqa: SLF001 - as above
            raise
        return machine._end_turn(turn, clause, value, ctx)  # noqa: SLF001 - as above

    return run


def _run_async(clauses: Clauses) -> Callable[..., Any]:
    async def run(machine: GenStateMachine, message: Message, ctx: Context) -> Any:
        turn = machine._begin_turn()  # noqa: SLF001 - the machine's own half
        try:
            clause = clauses.choose(machine)
            value = call(clause, machine, message, ctx)
            if clause.is_async:
                value = await value
        except Postponed as postponed:
            postponed.retry = machine._settle(turn, ctx)  # noqa: SLF001 - as above
            raise
        except BaseException:
            machine._on_course.turn = None  # noqa: SLF001 - as above
            raise
        return machine._end_turn(turn, clause, value, ctx)  # noqa: SLF001 - as above

    return run
