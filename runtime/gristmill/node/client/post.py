"""The client's post: asks and tells from any thread, without an event loop in the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.errors import ActorNotFoundError, MailboxFullError, UsageError
from gristmill.keyed import refuse_keyed
from gristmill.messages import Request
from gristmill.node.client.account import SEND, ClientAccount
from gristmill.node.client.grouping import Group
from gristmill.node.client.monitor import Monitor
from gristmill.node.client.pending import PendingReply, check_timeout
from gristmill.node.client.plane import Plane, Wake
from gristmill.node.client.reading import BLOCKED_WAIT, Reading
from gristmill.node.client.requests import PLACE_BITS, RequestKind, RequestRun, Waiter
from gristmill.node.client.sending import ClientExporter, ClientSending, ControlSide
from gristmill.node.client.streams import in_turn
from gristmill.node.tallies import ClientCounters
from gristmill.ref import Address, AnyRef, OverflowPolicy
from gristmill.supervision import ExitReason, NoProc, Shutdown
from gristmill.transport.codec import Codec, refuse_foreign
from gristmill.transport.envelope import ASK, CANCEL, INSPECT, pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.signals import INCARNATION_SHIFT, Unwatch, Watch, signal_envelope

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")


class ClientPost(ClientSending):
    """Implements :class:`~gristmill.ref.Post` for a client."""

    def __init__(
        self,
        plane: Plane,
        wake: Wake,
        control: ControlSide,
        run_dir: Path,
        counted: ClientCounters | None = None,
        account: ClientAccount | None = None,
    ) -> None:
        arrays = ArrayExchange.of(run_dir, 0, 0)
        super().__init__(plane, wake, control, arrays, counted, account)
        self.codec = Codec(self, ClientExporter(self))
        self._kinds: dict[type, RequestKind] = {}
        self._next_request = 1
        self._last_monitor = 1 << INCARNATION_SHIFT

    # --- ask ---

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and wait for its reply."""
        deadline = self.deadline(timeout)
        waiter = self.send_request(to, request, deadline)
        try:
            self._reading.until(waiter, deadline)
        finally:
            self._pending.pop(waiter.number, None)
        if not waiter.done:
            raise waiter.timed_out(timeout)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""
        import asyncio  # only who awaits pays for it: 4 MB, 20 ms

        self.check()  # before a loop watches sockets that may be closed
        deadline = self.deadline(timeout)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits
                loop.call_soon_threadsafe(_finish, future)

        waiter, body = self._encode(to, request, deadline, notify)
        self._reading.join_loop(loop)
        try:
            await self._post_when_room(waiter, body)
            left = None if deadline is None else deadline - self.now()
            async with asyncio.timeout(left):
                await future
        except TimeoutError:
            if not waiter.done:  # the loop may have been too busy to bring it
                raise waiter.timed_out(timeout) from None
        except asyncio.CancelledError:
            self.abandon(waiter.number)
            raise
        finally:
            self._pending.pop(waiter.number, None)
            self._reading.leave_loop(loop)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def _post_when_room(self, waiter: Waiter, body: bytes) -> None:
        import asyncio

        while True:
            try:
                self._post_request(waiter, body, wait=False)
                return
            except MailboxFullError:
                late = waiter.deadline is not None and self.now() > waiter.deadline
                if late or waiter.to.mailbox.overflow is OverflowPolicy.FAIL:
                    raise
            await asyncio.sleep(BLOCKED_WAIT)

    def deadline(self, timeout: float | None) -> float | None:
        """Give when a timeout that begins now is over, monotonic seconds; None for never.

        Raises:
            UsageError: it is negative or no number.
        """
        if timeout is None:
            return None
        if type(timeout) is not float or not timeout >= 0:
            check_timeout(timeout)
        return self.now() + timeout

    def ask_many(
        self, to: Address, requests: Iterable[Request[R]], window: int, timeout: float | None
    ) -> Iterator[R]:
        """Send requests to one actor, ``window`` open at once; replies in order."""
        return in_turn(self, lambda _: to, requests, window, timeout)

    def send_run(
        self, requests: Group, deadline: float | None, notify: Callable[[], None] | None = None
    ) -> RequestRun:
        """Put requests of one type to one actor into the next frame; give what gets the replies.

        Args:
            requests: at most :data:`MOST_TOGETHER`.
            deadline: monotonic seconds after which nobody waits.
            notify: called when all have an outcome, and when the one that is waited for has.
        """
        if self._barred is not None:  # in a forked process the lock may be held for ever
            raise self._barred
        to = requests.to
        kind = self._kinds.get(requests.kind) or self._kind(requests.kind)
        account = self.account
        begun = account.clock()
        bodies = self.codec.encode_many(requests.requests)
        size = sum(map(len, bodies))
        begun = account.asked(to, requests.kind, len(bodies), size, begun)
        run = RequestRun(to, kind, deadline, len(bodies), notify)
        if kind.idempotent:
            run.keep(bodies)
        with self._send_lock:
            run.number = self._enter(run)
            first = run.number << PLACE_BITS
            if to.home < 0:
                begun = self._ask_keyed(run, first, bodies[0], wait=True) or begun
                account.add(SEND, begun)
                return run
        try:
            begun = self._post_run(run, first, bodies) or begun
        except BaseException:
            self.abandon(run.number)
            raise
        account.add(SEND, begun)
        return run

    def _post_run(self, run: RequestRun, first: int, bodies: list[bytes]) -> int:
        """Send requests as there is room; give when the last wait for it ended, as others do."""
        to, sent, ended = run.to, 0, 0
        with self._send_lock:
            while sent < len(bodies) and not run.closed:
                self._check_target(to)
                room = self._credit.take_some(to, len(bodies) - sent)
                if room:
                    part = bodies[sent : sent + room]
                    self._outgoing.put_run(to.home, run.head, first + sent, part)
                    sent += room
                else:
                    goes_on = partial(self._goes_on, run)
                    ended = self._wait_for_room(to, run.deadline, goes_on, wait=True) or ended
        return ended

    def _goes_on(self, run: RequestRun) -> bool:
        return run.closed or self._credit.has_room(run.to)

    def _enter(self, waiter: Waiter | RequestRun) -> int:
        """Put open requests into the table; give their entry's number. Under the lock."""
        number = self._next_request
        self._next_request = number + 1
        self._pending[number] = waiter
        return number

    def _check_target(self, to: Address) -> None:
        """Refuse to send what can't arrive. Under the lock."""
        if self._barred is not None:
            raise self._barred
        if to.home in self._gone:
            raise ActorNotFoundError(f"{to.label} has stopped")

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
        waiter, body = self._encode(to, request, deadline, notify)
        self._post_request(waiter, body, wait=wait)
        return waiter

    def _encode(
        self,
        to: Address,
        request: Request[Any],
        deadline: float | None,
        notify: Callable[[], None] | None,
    ) -> tuple[Waiter, bytes]:
        """Encode a request; give what is going to wait for its reply, and the body."""
        self._check_target(to)
        cls = type(request)
        kind = self._kinds.get(cls) or self._kind(cls)
        begun = self.account.clock()
        body = self.codec.encode(request)
        self.account.asked(to, cls, 1, len(body), begun)
        waiter = Waiter(to, kind, deadline, 0)
        waiter.notify = notify
        if kind.idempotent:
            waiter.body = body
        return waiter, body

    def _post_request(self, waiter: Waiter, body: bytes, *, wait: bool) -> None:
        """Send an encoded request, and wait for room if need be and ``wait`` says so."""
        to, deadline = waiter.to, waiter.deadline
        account = self.account
        begun = account.clock()
        with self._send_lock:
            if self._barred is not None:
                raise self._barred
            if to.home < 0:
                waiter.number = self._enter(waiter)
                number = waiter.number << PLACE_BITS
                begun = self._ask_keyed(waiter, number, body, wait=wait) or begun
                account.add(SEND, begun)
                return
            if not self._credit.take(to):
                begun = self._wait_for_credit(to, deadline, wait=wait) or begun
                self._check_target(to)  # its worker may have gone meanwhile
            waiter.number = self._enter(waiter)
            items = (ASK, to.key, 0, deadline or 0.0, waiter.number << PLACE_BITS)
            if type(body) is bytes:
                envelope = pack((*items, (body,)))
            else:
                envelope = pack(self.arrays.seal((*items, body), to.home))
            if self.plane.send_now(to.home, envelope):
                self._outgoing.wake_reader()  # it flushes again
        account.add(SEND, begun)

    def _ask_keyed(
        self, entry: Waiter | RequestRun, number: int, body: bytes, *, wait: bool
    ) -> int:
        """Send a request to where its actor is now, or let it wait until that is known.

        Gives when that wait ended, perf_counter ns, and 0 if there was none.
        """
        send = partial(self.keyed.ask, entry, number, body)
        try:
            waited = self._wait_for_room(entry.to, entry.deadline, send, wait=wait)
        except BaseException:
            self._pending.pop(entry.number, None)
            raise
        if self.plane.flush():
            self._outgoing.wake_reader()
        return waited

    def _kind(self, request: type[Request[Any]]) -> RequestKind:
        if not issubclass(request, Request):
            raise UsageError(
                f"an actor is asked with a Request, and this is a {request.__qualname__}; tell it "
                "a Command or an Event"
            )
        kind = self._kinds[request] = RequestKind.of(self.codec, request)
        return kind

    # --- monitor ---

    def monitor(self, ref: AnyRef) -> Monitor:
        """Watch the present incarnation of an actor."""
        if self._barred is not None:
            raise self._barred
        to = ref.address
        refuse_keyed(to, "monitored")
        refuse_foreign(ref, self.node)
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
        refuse_keyed(to, "inspected")
        self.check()
        if to.home in self._gone:
            raise ActorNotFoundError(f"{to.label} has stopped")
        cls = type(inspection)
        kind = self._kinds.get(cls) or self._kind(cls)
        body = self.codec.encode(inspection)
        waiter = Waiter(to, kind, self.now() + timeout, 0)
        with self._send_lock:
            waiter.number = self._enter(waiter)
            request = waiter.number << PLACE_BITS
            self.plane.post(to.home, pack((INSPECT, to.key, request, body)))
        self.flush()
        return PendingReply[R](self, waiter).result(timeout)

    @property
    def reading(self) -> Reading:
        """Brings what comes."""
        return self._reading

    def abandon(self, number: int) -> None:
        """Drop the replies of an entry's requests when they come; have their callee stop too."""
        entry = self._pending.pop(number, None)
        if entry is None or self._barred is not None:
            return
        to, requests = entry.to, entry.open_requests()
        with self._send_lock:
            if not requests or to.home < 0 or to.home in self._gone:
                return  # what waits for the place of a keyed actor does not leave any more
            if self.plane.send_now(to.home, pack((CANCEL, to.key, requests))):
                self._outgoing.wake_reader()

    def stop_actor(self, to: Address, reason: ExitReason | None, timeout: float) -> None:
        """Stop the actor in order, over the control plane."""
        check_timeout(timeout)
        refuse_keyed(to, "stopped through its ref")
        self._control.stop_actor(to, reason or Shutdown(), timeout)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
