"""Accounting for coroutines: compute is what runs between two awaits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from gristmill.metrics import Meter, TimeClass

_COMPUTE = int(TimeClass.COMPUTE)
_DISPATCH = int(TimeClass.DISPATCH)


class metered:  # noqa: N801 - used like a function around a coroutine
    """Await a handler's coroutine with every step of it accounted for as compute.

    ``enter`` and ``leave`` are called around each step.
    """

    __slots__ = ("_coroutine", "_enter", "_leave", "_meter", "began", "compute_ns")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        meter: Meter,
        enter: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        self._coroutine = coroutine
        self._meter = meter
        self._enter = enter
        self._leave = leave
        self.began = meter.last
        self.compute_ns = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        """Drive the coroutine, switching the meter around each step."""
        coroutine, meter = self._coroutine, self._meter
        step = coroutine.send
        value: Any = None
        while True:
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
            try:
                value = yield awaited
                step = coroutine.send
            except BaseException as error:  # cancellation passes through to the handler
                value = error
                step = coroutine.throw
