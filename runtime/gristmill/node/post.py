"""The client's post: asks and tells from any thread, without an event loop in the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from gristmill.errors import ActorNotFoundError, MailboxFullError, UsageError
from gristmill.messages import Request
from gristmill.node.monitor import Monitor
from gristmill.node.pending import PendingReply, check_timeout
from gristmill.node.plane import Plane, Wake
from gristmill.node.reading import BLOCKED_WAIT, Reading
from gristmill.node.requests import RequestKind, Waiter
from gristmill.node.sending import ClientExporter, ClientSending, ControlSide
from gristmill.ref import Address, AnyRef, OverflowPolicy
from gristmill.supervision import ExitReason, NoProc, Shutdown
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import ASK, CANCEL, INSPECT, pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.signals import INCARNATION_SHIFT, Unwatch, Watch, signal_envelope
from gristmill.worker.counters import Cells

R = TypeVar("R")


class ClientPost(ClientSending):
    """Implements :class:`~gristmill.ref.Post` for a client."""

    def __init__(
        self,
        plane: Plane,
        wake: Wake,
        control: ControlSide,
        run_dir: Path,
        counted: Cells | None = None,
    ) -> None:
        super().__init__(plane, wake, control, ArrayExchange.of(run_dir, 0, 0), counted)
        self.codec = Codec(self, ClientExporter(self))
        self._kinds: dict[type, RequestKind] = {}
        self._next_request = 1
        self._last_monitor = 1 << INCARNATION_SHIFT

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
        except asyncio.CancelledError:
            self.abandon(number)
            raise
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
        try:
            while True:
                room = window - len(waiting)
                batch = list(islice(source, room))
                if batch:
                    deadline = None if timeout is None else self._now() + timeout
                    self._send_requests(choose, batch, deadline, waiting)
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
                self.abandon(waiter.number)

    def _send_requests(
        self,
        choose: Callable[[Request[R]], Address],
        requests: list[Request[R]],
        deadline: float | None,
        waiting: deque[Waiter],
    ) -> None:
        """Put requests into the next frames, and what waits for their replies into ``waiting``."""
        if self._barred is not None:  # in a forked process the lock may be held for ever
            raise self._barred
        encode, kinds, pending = self.codec.encode, self._kinds, self._pending
        take, post = self._credit.take, self.plane.post
        with self._send_lock:
            for request in requests:
                to = choose(request)
                if self._barred is not None:
                    raise self._barred
                if to.home in self._gone:
                    raise ActorNotFoundError(f"{to.label} has stopped")
                cls = type(request)
                kind = kinds.get(cls) or self._kind(cls)
                body = encode(request)
                if not take(to):
                    self._wait_for_credit(to, deadline, wait=True)
                number = self._next_request
                self._next_request = number + 1
                items = (ASK, to.key, 0, number, deadline or 0.0, body)
                waiter = pending[number] = Waiter(to, kind, deadline, number)
                if kind.idempotent:
                    waiter.again = items
                post(to.home, pack(items if type(body) is bytes else self._seal(items, to.home)))
                waiting.append(waiter)

    def send_request(
        self,
        to: Address,
        request: Request[Any],
        deadline: float | None,
        *,
        wait: bool = True,
        notify: Callable[[], None] | None = None,
    ) -> Waiter:
        """Send a request; give what waits for its reply.

        Args:
            to: whom to ask.
            request: the question.
            deadline: monotonic seconds after which nobody waits.
            wait: wait for room in the mailbox.
            notify: called once there is an outcome, by the thread that brings it.
        """
        if self._barred is not None:  # in a forked process the lock may be held for ever
            raise self._barred
        if to.home in self._gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        cls = type(request)
        kind = self._kinds.get(cls) or self._kind(cls)
        body = self.codec.encode(request)
        plane = self.plane
        with self._send_lock:
            if self._barred is not None:
                raise self._barred
            if not self._credit.take(to):
                self._wait_for_credit(to, deadline, wait=wait)
            number = self._next_request
            self._next_request = number + 1
            items: tuple[Any, ...] = (ASK, to.key, 0, number, deadline or 0.0, body)
            envelope = pack(items if type(body) is bytes else self._seal(items, to.home))
            waiter = self._pending[number] = Waiter(to, kind, deadline, number)
            waiter.notify = notify
            if kind.idempotent:
                waiter.again = items
            if plane.send_now(to.home, envelope):
                self._outgoing.wake_reader()  # it flushes again
        return waiter

    def _kind(self, request: type[Request[Any]]) -> RequestKind:
        kind = self._kinds[request] = RequestKind.of(self.codec, request)
        return kind

    # --- monitor ---

    def monitor(self, ref: AnyRef) -> Monitor:
        """Watch the present incarnation of an actor."""
        if self._barred is not None:
            raise self._barred
        to = ref.address
        with self._send_lock:
            self._last_monitor += 1
            number = self._last_monitor
            monitor = Monitor(self, ref, lambda: self._unwatch(to, number))
            if to.home in self._gone:
                monitor.reason = NoProc()
                return monitor
            self._monitors[number] = monitor
            self.plane.post(to.home, signal_envelope(to.key, Watch(number)))
        self.flush()
        return monitor

    def _unwatch(self, to: Address, number: int) -> None:
        if self._monitors.pop(number, None) is not None:
            with self._send_lock:
                self.plane.post(to.home, signal_envelope(to.key, Unwatch(number)))

    def request(self, to: Address, request: Request[R]) -> PendingReply[R]:
        """Send a request whose reply is fetched later."""
        return PendingReply(self, self.send_request(to, request, None))

    def inspect(self, to: Address, inspection: Request[R], timeout: float) -> R:
        """Ask a worker about one of its actors, and wait for its answer."""
        check_timeout(timeout)
        self._check()
        if to.home in self._gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        cls = type(inspection)
        kind = self._kinds.get(cls) or self._kind(cls)
        body = self.codec.encode(inspection)
        with self._send_lock:
            number = self._next_request
            self._next_request = number + 1
            waiter = Waiter(to, kind, self._now() + timeout, number)
            self._pending[number] = waiter
            self.plane.post(to.home, pack((INSPECT, to.key, number, body)))
        self.flush()
        return PendingReply[R](self, waiter).result(timeout)

    @property
    def reading(self) -> Reading:
        """Brings what comes."""
        return self._reading

    def abandon(self, number: int) -> None:
        """Drop the reply of a request when it comes, and have its callee stop with it."""
        waiter = self._pending.pop(number, None)
        if waiter is None or waiter.done or self._barred is not None:
            return
        to = waiter.to
        with self._send_lock:
            if to.home not in self._gone and self.plane.send_now(
                to.home, pack((CANCEL, to.key, number))
            ):
                self._outgoing.wake_reader()

    def stop_actor(self, to: Address, reason: ExitReason | None, timeout: float) -> None:
        """Stop the actor in order, over the control plane."""
        check_timeout(timeout)
        self._control.stop_actor(to, reason or Shutdown(), timeout)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
