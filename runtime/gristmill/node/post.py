"""The client's post: asks and tells from any thread, without an event loop in the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from gristmill.errors import ActorNotFoundError, MailboxFullError, UsageError
from gristmill.messages import Request
from gristmill.node.plane import Plane, Wake
from gristmill.node.reading import BLOCKED_WAIT
from gristmill.node.requests import RequestKind, Waiter
from gristmill.node.sending import ClientSending, ControlSide
from gristmill.ref import Address, OverflowPolicy
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import ASK, pack

R = TypeVar("R")


class ClientPost(ClientSending):
    """Implements :class:`~gristmill.ref.Post` for a client."""

    def __init__(self, plane: Plane, wake: Wake, control: ControlSide) -> None:
        super().__init__(plane, wake, control, Codec(self))
        self._kinds: dict[type, RequestKind] = {}
        self._next_request = 1

    # --- ask ---

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and wait for its reply."""
        deadline = None if timeout is None else self._now() + timeout
        waiter = self.send_request(to, request, deadline)
        try:
            self._reading.until(waiter)
        finally:
            self._pending.pop(waiter.number, None)
        if not waiter.done:
            raise waiter.timed_out(timeout)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""
        deadline = None if timeout is None else self._now() + timeout
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits
                loop.call_soon_threadsafe(_finish, future)

        self._reading.join_loop(loop)
        number = 0
        try:
            waiter = await self._send_when_room(to, request, deadline, notify)
            number = waiter.number
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            raise waiter.timed_out(timeout) from None
        finally:
            self._pending.pop(number, None)
            self._reading.leave_loop(loop)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def _send_when_room(
        self,
        to: Address,
        request: Request[Any],
        deadline: float | None,
        notify: Callable[[], None],
    ) -> Waiter:
        while True:
            try:
                return self.send_request(to, request, deadline, wait=False, notify=notify)
            except MailboxFullError:
                late = deadline is not None and self._now() > deadline
                if late or to.mailbox.overflow is OverflowPolicy.FAIL:
                    raise
            await asyncio.sleep(BLOCKED_WAIT)

    def ask_many(
        self, to: Address, requests: Iterable[Request[R]], window: int, timeout: float | None
    ) -> Iterator[R]:
        """Send requests to one actor, ``window`` open at once; replies in order."""
        return self.ask_each(lambda _: to, requests, window, timeout)

    def ask_each(
        self,
        choose: Callable[[Request[R]], Address],
        requests: Iterable[Request[R]],
        window: int,
        timeout: float | None,
    ) -> Iterator[R]:
        """Send each request where ``choose`` says, ``window`` open at once; replies in order."""
        if window < 1:
            raise UsageError(f"window is {window}; it is how many requests may be open: 1 or more")
        waiting: deque[Waiter] = deque()
        source = iter(requests)
        more = True
        try:
            while True:
                while more and len(waiting) < window:
                    request = next(source, None)
                    if request is None:
                        more = False
                        break
                    deadline = None if timeout is None else self._now() + timeout
                    waiting.append(
                        self.send_request(choose(request), request, deadline, flush=False)
                    )
                if not waiting:
                    return
                self.flush()
                self._reading.until(waiting[0])
                if not waiting[0].done:
                    raise waiting[0].timed_out(timeout)
                while waiting and waiting[0].done:
                    yield waiting.popleft().result()
        finally:
            for waiter in waiting:
                self._pending.pop(waiter.number, None)

    def send_request(
        self,
        to: Address,
        request: Request[Any],
        deadline: float | None,
        *,
        flush: bool = True,
        wait: bool = True,
        notify: Callable[[], None] | None = None,
    ) -> Waiter:
        """Send a request; give what waits for its reply.

        Args:
            to: whom to ask.
            request: the question.
            deadline: monotonic seconds after which nobody waits.
            flush: send it now; False leaves it to the next flush.
            wait: wait for room in the mailbox.
            notify: called once there is an outcome, by the thread that brings it.
        """
        if self._barred is not None:
            raise self._barred
        if to.home in self._gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        cls = type(request)
        kind = self._kinds.get(cls) or self._kind(cls)
        body = self.codec.encode(request)
        plane = self.plane
        with self._send_lock:
            if not self._credit.take(to):
                self._wait_for_credit(to, deadline, wait=wait)
            number = self._next_request
            self._next_request = number + 1
            envelope = pack((ASK, to.key, 0, number, deadline or 0.0, body))
            waiter = self._pending[number] = Waiter(to, kind, deadline, number)
            waiter.notify = notify
            if kind.idempotent:
                waiter.envelope = envelope
            if not flush:
                plane.post(to.home, envelope)
            elif plane.send_now(to.home, envelope):
                self._outgoing.wake_reader()  # it flushes again
        return waiter

    def _kind(self, request: type[Request[Any]]) -> RequestKind:
        kind = self._kinds[request] = RequestKind.of(self.codec, request)
        return kind

    def stop_actor(self, to: Address, timeout: float) -> None:
        """Stop the actor in order, over the control plane."""
        self._control.stop_actor(to, timeout)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
