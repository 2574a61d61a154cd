"""Accounting for coroutines: compute is what runs between two awaits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from gristmill.metrics import Meter, TimeClass
from gristmill.worker.turns.eager import Suspended

_COMPUTE = int(TimeClass.COMPUTE)
_DISPATCH = int(TimeClass.DISPATCH)


class metered:  # noqa: N801 - used like a function around a coroutine
    """Await an actor's coroutine with every step of it accounted for as compute.

    Args:
        work: the coroutine, or one that has begun and waits.
        meter: of the thread that runs it.
        enter: called before each step.
        leave: called after each step.
    """

    __slots__ = ("_awaited", "_coroutine", "_enter", "_has_begun", "_leave", "_meter", "compute_ns")

    def __init__(
        self,
        work: Coroutine[Any, Any, Any] | Suspended,
        meter: Meter,
        enter: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        has_begun = isinstance(work, Suspended) and work.has_begun
        self._coroutine = work.coroutine if isinstance(work, Suspended) else work
        self._awaited = work.awaited if isinstance(work, Suspended) else None
        self._has_begun = has_begun
        self._meter = meter
        self._enter = enter
        self._leave = leave
        self.compute_ns = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        """Drive the coroutine, switching the meter around each step."""
        coroutine, meter = self._coroutine, self._meter
        awaited, waits = self._awaited, self._has_begun
        step = coroutine.send
        value: Any = None
        while True:
            if waits:
                try:
                    value = yield awaited
                    step = coroutine.send
                except BaseException as error:  # cancellation passes through to the handler
                    value = error
                    step = coroutine.throw
            waits = True
            self._enter()
            meter.switch(_COMPUTE)
            before = meter.classes[_COMPUTE]
            try:
                awaited = step(value)
            except StopIteration as done:
                return done.value
            finally:
                meter.switch(_DISPATCH)
                self._leave()
                self.compute_ns += meter.classes[_COMPUTE] - before
