"""``VirtualLoop``: the event loop of a simulated worker. Its time is virtual; it never waits."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from gristmill.behaviours.actor_host import Timer
from gristmill.testing.determinism import NondeterminismError

T = TypeVar("T")

_Call = tuple[asyncio.Handle, contextvars.Context, Callable[..., object], tuple[Any, ...]]

_log = logging.getLogger("gristmill.testing")


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks when it is told to, as an event loop does in one round.

    Args:
        now: gives the virtual time in seconds.
        call_later: has something happen after so many virtual seconds.
        wake: called when there is something to run; :meth:`run_round` is to be called for it.
    """

    def __init__(
        self,
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        wake: Callable[[], None],
    ) -> None:
        self._now = now
        self._call_later = call_later
        self._wake = wake
        self._ready: deque[_Call] = deque()
        self._woken = False
        self._closed = False

    def run_round(self) -> None:
        """Run what is ready, and not what becomes ready meanwhile."""
        self._woken = False
        for _ in range(len(self._ready)):
            handle, context, callback, args = self._ready.popleft()
            if not handle.cancelled():
                context.run(callback, *args)

    def finish(self) -> None:
        """End the tasks that are left, and close; nothing of it counts any more."""
        self._wake = _nothing
        before = asyncio._get_running_loop()  # noqa: SLF001 - what event loops are to use
        asyncio._set_running_loop(self)  # noqa: SLF001 - what event loops are to use
        try:
            for task in asyncio.all_tasks(self):
                task.cancel()
            while self._ready:
                self.run_round()
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001 - what event loops are to use
            self._closed = True

    # --- what tasks and futures use ---

    def call_soon(  # type: ignore[override]  # typeshed wants a type variable tuple
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - passed on
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Run ``callback`` in the next round."""
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready((handle, context or contextvars.copy_context(), callback, args))
        return handle

    def _make_ready(self, call: _Call) -> None:
        self._ready.append(call)
        if not self._woken:
            self._woken = True
            self._wake()

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above

    def call_later(  # type: ignore[override]  # typeshed wants a type variable tuple
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - passed on
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` after ``delay`` virtual seconds."""
        return self.call_at(self._now() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # typeshed wants a type variable tuple
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - passed on
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` at a virtual time."""
        run_in = context or contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, run_in)
        call = (handle, run_in, callback, args)
        self._call_later(when - self._now(), lambda: self._make_ready(call))
        return handle

    def time(self) -> float:
        """Give the virtual time in seconds."""
        return self._now()

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # typeshed's changes with the version
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task on this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody else takes care of."""
        _log.error("%s", context.get("message"), exc_info=context.get("exception"))

    def get_debug(self) -> bool:
        """Give False: there is no debug mode."""
        return False

    def is_running(self) -> bool:
        """Give whether it can run anything."""
        return not self._closed

    def is_closed(self) -> bool:
        """Give whether it has been finished."""
        return self._closed

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Take in that a timer was cancelled, which it knows itself."""


def new_loop(
    now: Callable[[], float],
    call_later: Callable[[float, Callable[[], None]], Timer],
    wake: Callable[[], None],
) -> VirtualLoop:
    """Make a :class:`VirtualLoop`, which takes the same."""
    return VirtualLoop(now, call_later, wake)  # type: ignore[abstract]  # only to type checkers


def _nothing() -> None:
    pass


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **kwargs: object) -> NoReturn:
        del self, args, kwargs
        raise NondeterminismError(
            f"loop.{name}() reaches out of the simulation; put what it talks to behind an actor "
            "or an argument that a test can replace"
        )

    return refuse


_OUTSIDE = (
    "run_in_executor",
    "getaddrinfo",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "subprocess_exec",
    "subprocess_shell",
    "add_reader",
    "add_writer",
)
for _name in _OUTSIDE:
    setattr(VirtualLoop, _name, _refusal(_name))
