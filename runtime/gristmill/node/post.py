"""The client's post: asks and tells from any thread, without an event loop in the way.

Whoever waits reads for all: one waiting thread leads and reads the socket, and hands over what is
not its own; when it leaves, another waiting thread takes over. An asyncio loop reads when its
socket is readable and no thread leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import msgspec

from gristmill.durability import JournalError, JournalStore
from gristmill.errors import (
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    DecodeError,
    GristmillError,
    MailboxFullError,
    NodeStoppedError,
    UsageError,
)
from gristmill.messages import Command, Event, Request, reply_type
from gristmill.node.plane import Plane, Wake
from gristmill.node.straggler import StragglerThread
from gristmill.ref import Address, DeliveryGuarantee, OverflowPolicy
from gristmill.supervision import ExitReason, describe
from gristmill.transport.codec import Codec
from gristmill.transport.control import PeerInfo
from gristmill.transport.credit import CreditBook
from gristmill.transport.envelope import (
    ACK,
    ASK,
    CREDIT,
    ERROR,
    EVENT,
    REPLY,
    TELL,
    ErrorReply,
    FrameReader,
    pack,
    to_exception,
)
from gristmill.worker.outbox import Outbox

R = TypeVar("R")

_GRACE = 0.005
"""Seconds for replies of a dead process that are still in the pipe."""
_SEND_TIMEOUT = 30.0
"""Seconds that a tell without a timeout of its own waits for room."""
_BLOCKED_WAIT = 0.001
_SLICE = 0.1
"""Seconds after which a reading thread looks at its deadline again."""
_TOGETHER = 64
"""Tells that go out together without waiting for more."""
_MAX_TRIES = 3
"""How often an idempotent request is sent before its callee's deaths are the answer."""


class _Forks:
    """Counts the forks that this process came from, which is cheaper than to ask for its pid."""

    count = 0

    def add(self) -> None:
        """A fork has made this process."""
        self.count += 1


class _Together(threading.local):
    """Whether a thread is in a :meth:`ClientPost.together` block, and what it has told there."""

    batch: list[tuple[Address, bytes]] | None = None


_forks = _Forks()
os.register_at_fork(after_in_child=_forks.add)


class Waiter(msgspec.Struct, eq=False):
    """One open request."""

    to: Address
    request: str
    """Its type's name."""
    decode: Callable[[bytes], Any]
    """Decodes the reply."""
    deadline: float | None
    number: int = 0
    done: bool = False
    value: Any = None
    error: BaseException | None = None
    event: threading.Event | None = None
    notify: Callable[[], None] | None = None
    envelope: bytes | None = None
    """What to send again when the callee's worker dies: only of an idempotent request."""
    tries: int = 1

    def answer(self, body: bytes) -> None:
        """Take in the encoded reply."""
        try:
            self.settle(self.decode(body), None)
        except msgspec.MsgspecError as error:
            text = f"{_label(self.to)} answered {self.request} with something else: {error}"
            self.settle(None, to_exception(ErrorReply("ReplyTypeError", text)))

    def settle(self, value: Any, error: BaseException | None) -> None:  # noqa: ANN401 - a reply
        """Set the outcome; the first one counts."""
        if self.done:
            return
        self.value, self.error = value, error
        self.done = True
        if self.event is not None:
            self.event.set()
        if self.notify is not None:
            self.notify()

    def result(self) -> Any:  # noqa: ANN401 - a reply
        """Give the reply or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class ControlSide(Protocol):
    """What the post needs of the control plane."""

    def stop_actor(self, to: Address, timeout: float) -> None:
        """Stop an actor in order."""

    def bury(self, to: Address, body: bytes) -> None:
        """Make a message to an actor that has stopped a dead letter."""


class ClientPost:
    """Implements :class:`~gristmill.ref.Post` for a client."""

    def __init__(
        self,
        plane: Plane,
        wake: Wake,
        control: ControlSide,
    ) -> None:
        self._control = control
        self._forks = _forks.count
        self.plane = plane
        self._wake = wake
        self.codec = Codec(self)
        self._reader = FrameReader()
        self._send_lock = threading.RLock()
        self._leader = threading.Lock()
        self._followers: set[Waiter] = set()
        self._pending: dict[int, Waiter] = {}
        self._next_request = 1
        self._credit = CreditBook()
        self._loops: dict[asyncio.AbstractEventLoop, int] = {}
        self._reply_decoders: dict[type, Callable[[bytes], Any]] = {}
        self._left = 0
        """Tells since the last flush."""
        self._stragglers = StragglerThread(self.flush)
        self._closed = False
        self._store: JournalStore | None = None
        self._outbox: Outbox | None = None
        self._together = _Together()
        self._located: dict[str, tuple[Address, int]] = {}
        self._stopped: GristmillError | None = None
        self._gone: set[int] = set()
        self.subscriptions: dict[str, list[Callable[[bytes], None]]] = {}

    # --- Post ---

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; waits for room when there is none."""
        self._check()
        body = self.codec.encode(message)
        if delivery is DeliveryGuarantee.AT_LEAST_ONCE:
            self._tell_journaled(to, body)
            return
        if to.home in self._gone:
            self._control.bury(to, body)
            return
        with self._send_lock:
            if not self._credit.take(to):
                self._wait_for_credit(to, time.monotonic() + _SEND_TIMEOUT, wait=True)
            self.plane.post(to.home, pack((TELL, to.key, 0, 0, body)))
            self._left += 1
            if self._left < _TOGETHER and self._stragglers.awake:
                return
            self._left = 0
            self._stragglers.wake()
            if not self.plane.flush():
                return
        self._flush_fully(time.monotonic() + _SEND_TIMEOUT)

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and wait for its reply."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        waiter = self._send_request(to, request, deadline)
        try:
            self._lead_until(waiter)
        finally:
            self._pending.pop(waiter.number, None)
        if not waiter.done:
            raise self._timeout(waiter, timeout)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._join_loop(loop)
        number = 0
        try:
            waiter = await self._send_when_room(to, request, deadline)
            number = waiter.number

            def notify() -> None:
                with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits
                    loop.call_soon_threadsafe(_finish, future)

            waiter.notify = notify
            if not waiter.done:
                async with asyncio.timeout(timeout):
                    await future
        except TimeoutError:
            raise self._timeout(waiter, timeout) from None
        finally:
            self._pending.pop(number, None)
            self._leave_loop(loop)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type

    async def _send_when_room(
        self, to: Address, request: Request[Any], deadline: float | None
    ) -> Waiter:
        while True:
            try:
                return self._send_request(to, request, deadline, wait=False)
            except MailboxFullError:
                late = deadline is not None and time.monotonic() > deadline
                if late or to.mailbox.overflow is OverflowPolicy.FAIL:
                    raise
            await asyncio.sleep(_BLOCKED_WAIT)

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
                    deadline = time.monotonic() + timeout if timeout is not None else None
                    waiting.append(
                        self._send_request(choose(request), request, deadline, flush=False)
                    )
                if not waiting:
                    return
                self.flush()
                self._lead_until(waiting[0])
                if not waiting[0].done:
                    raise self._timeout(waiting[0], timeout)
                while waiting and waiting[0].done:
                    yield waiting.popleft().result()
        finally:
            for waiter in waiting:
                self._pending.pop(waiter.number, None)

    def stop_actor(self, to: Address, timeout: float) -> None:
        """Stop the actor in order, over the control plane."""
        self._control.stop_actor(to, timeout)

    def publish(
        self, channel: str, homes: dict[int, list[int]], event: Event, *, heard_here: bool
    ) -> None:
        """Publish an event to subscribers, given as keys by process, and to this process's own."""
        self._check()
        body = self.codec.encode(event)
        with self._send_lock:
            if heard_here:
                for deliver in self.subscriptions.get(channel, ()):
                    deliver(body)
                self._wake.send()
            for address, keys in homes.items():
                self.plane.post(address, pack((EVENT, channel, keys, 0, body)))
            if not self.plane.flush():
                return
        self._flush_fully(time.monotonic() + _SEND_TIMEOUT)

    # --- sending ---

    def _send_request(
        self,
        to: Address,
        request: Request[Any],
        deadline: float | None,
        *,
        flush: bool = True,
        wait: bool = True,
    ) -> Waiter:
        self._check()
        if to.home in self._gone:
            raise ActorNotFoundError(f"{_label(to)} has stopped")
        kind = type(request)
        decode = self._reply_decoders.get(kind)
        if decode is None:
            decode = self._reply_decoders[kind] = _reply_decoder(self.codec, kind)
        body = self.codec.encode(request)
        waiter = Waiter(to, kind.__qualname__, decode, deadline)
        with self._send_lock:
            if not self._credit.take(to):
                self._wait_for_credit(to, deadline, wait=wait)
            number = waiter.number = self._next_request
            self._next_request += 1
            self._pending[number] = waiter
            envelope = pack((ASK, to.key, 0, number, deadline or 0.0, body))
            if kind.__idempotent__:
                waiter.envelope = envelope
            self.plane.post(to.home, envelope)
            if flush and self.plane.flush():
                self._wake.send()  # whoever reads flushes again
        return waiter

    def _wait_for_credit(self, to: Address, deadline: float | None, *, wait: bool) -> None:
        if to.mailbox.overflow is OverflowPolicy.FAIL or not wait:
            self.read_available()  # room may have been given back already
            if self._credit.take(to):
                return
            raise MailboxFullError(f"the mailbox of {_label(to)} has no room")
        self.plane.flush()
        while not self._credit.take(to):
            self._check()
            if deadline is not None and time.monotonic() > deadline:
                raise MailboxFullError(f"the mailbox of {_label(to)} got no room in time")
            self._send_lock.release()
            try:
                self._lead_once(0.01)
            finally:
                self._send_lock.acquire()

    def flush(self) -> bool:
        """Send what waits; give whether there was anything, or still is."""
        with self._send_lock:
            unsent = self.plane.unsent and not self._closed
            if unsent:
                self._left = 0
                self.plane.flush()
        return unsent

    def _flush_fully(self, deadline: float) -> None:
        """Flush until nothing is blocked: who tells and never waits has nobody to flush later."""
        while True:
            with self._send_lock:
                if not self.plane.flush():
                    return
            self._check()
            if time.monotonic() > deadline:
                raise MailboxFullError("the workers take no messages: the wire is full")
            self._lead_once(_BLOCKED_WAIT)

    # --- at least once ---

    def open_journal(self, store: JournalStore) -> None:
        """Journal at-least-once messages from now on, and send what an earlier run left."""
        with self._send_lock:
            self._store = store
            self._outbox = Outbox(store, self._transmit)
            for target, incarnation in self._located.values():
                self._outbox.located(target, incarnation)
            self.plane.flush()

    def _tell_journaled(self, to: Address, body: bytes) -> None:
        with self._send_lock:
            if self._outbox is None or self._store is None:
                raise UsageError(
                    "delivery='at_least_once' needs a journal; write Node(journal=DIRECTORY)"
                )
            if not to.name:
                raise UsageError(
                    f"delivery='at_least_once' needs a named target, and {_label(to)} has no name"
                )
        if self._together.batch is not None:
            self._together.batch.append((to, body))
        else:
            self._send_journaled([(to, body)])

    def _send_journaled(self, batch: list[tuple[Address, bytes]]) -> None:
        with self._send_lock:
            if self._outbox is None or self._store is None:
                return
            for to, body in batch:
                self._outbox.send(to, "", body)
            self._store.commit()
            self.plane.flush()
        self.read_available()  # who only tells has nobody else to read the acknowledgements

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Journal and send what this thread tells at least once in the block at its end, as one."""
        if self._together.batch is not None:
            yield
            return
        batch: list[tuple[Address, bytes]] = []
        self._together.batch = batch
        try:
            yield
        finally:
            self._together.batch = None
            if batch:
                self._send_journaled(batch)

    def _transmit(self, to: Address, sender: str, number: int, body: bytes) -> None:
        del sender  # a client's messages come from no actor
        self.plane.post(to.home, pack((TELL, to.key, 0, number, body)))

    @property
    def undelivered(self) -> int:
        """How many at-least-once messages are not acknowledged yet."""
        return len(self._outbox) if self._outbox is not None else 0

    # --- receiving ---

    def _lead_until(self, waiter: Waiter) -> None:
        """Read for all until ``waiter`` is done, or wait while another thread reads."""
        while not waiter.done:
            if self._leader.acquire(blocking=False):
                try:
                    if not self._lead(waiter):
                        return
                finally:
                    self._leader.release()
                    if self._followers or self._loops:
                        self._hand_over()
            elif not self._follow(waiter):
                break
        if waiter.event is not None and not self._leader.locked():
            self._hand_over()  # it may have been chosen to read when it was done already

    def _lead(self, waiter: Waiter) -> bool:
        plane = self.plane
        deadline = waiter.deadline
        while not waiter.done:
            patience = _SLICE
            if deadline is not None:
                patience = min(deadline - time.monotonic(), _SLICE)
                if patience <= 0:
                    return False
            if plane.unsent:
                self.flush()
                patience = min(patience, _BLOCKED_WAIT) if plane.unsent else patience
            frame = plane.receive_within(patience)
            if frame is not None:
                self._on_frame(frame)
        return True

    def _follow(self, waiter: Waiter) -> bool:
        event = waiter.event = threading.Event()
        self._followers.add(waiter)
        try:
            if waiter.done or not self._leader.locked():
                return True
            deadline = waiter.deadline
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            event.wait(remaining)
        finally:
            self._followers.discard(waiter)
        return True

    def _hand_over(self) -> None:
        """Let another waiting thread, or a waiting loop, read from now on."""
        if not self._wake_follower():
            for loop in list(self._loops):
                with contextlib.suppress(RuntimeError):  # it was closed at this moment
                    loop.call_soon_threadsafe(self.read_available)

    def _wake_follower(self) -> bool:
        for follower in list(self._followers):
            event = follower.event
            if not follower.done and event is not None:
                event.set()
                return True
        return False

    def _lead_once(self, seconds: float) -> None:
        """Read what comes within ``seconds``, unless another thread reads."""
        if not self._leader.acquire(timeout=seconds):
            return
        try:
            frame = self.plane.receive_within(seconds)
            while frame is not None:
                self._on_frame(frame)
                frame = self.plane.receive()
        finally:
            self._leader.release()
            self._hand_over()

    def read_available(self) -> None:
        """Read what is there, unless a thread is reading."""
        if not self._leader.acquire(blocking=False):
            return
        try:
            frame = self.plane.receive()
            while frame is not None:
                self._on_frame(frame)
                frame = self.plane.receive()
        finally:
            self._leader.release()
            self._wake_follower()  # it may have begun to wait while this read
        with self._send_lock:
            blocked = self.plane.flush()
        if blocked:
            for loop in list(self._loops):
                loop.call_soon_threadsafe(loop.call_later, _BLOCKED_WAIT, self.read_available)

    def _join_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        users = self._loops.get(loop, 0)
        self._loops[loop] = users + 1
        if not users:
            loop.add_reader(self.plane.fd, self.read_available)
            loop.call_soon(self.read_available)  # the descriptor is edge-triggered

    def _leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops[loop] -= 1
        if not self._loops[loop]:
            del self._loops[loop]
            loop.remove_reader(self.plane.fd)

    def _on_frame(self, frame: bytes) -> None:
        try:
            envelopes = self._reader.read(frame)
        except DecodeError:
            return  # nothing of ours; an asker gets its timeout
        source = envelopes[0][1]
        pending = self._pending
        acknowledged: dict[str, int] = {}
        for envelope in envelopes[1:]:
            kind = envelope[0]
            if kind == REPLY:
                waiter = pending.pop(envelope[1], None)
                if waiter is not None:
                    waiter.answer(envelope[2])
            elif kind == ERROR:
                waiter = pending.pop(envelope[1], None)
                if waiter is not None:
                    reply = msgspec.msgpack.decode(envelope[2], type=ErrorReply)
                    waiter.settle(None, to_exception(reply))
            elif kind == EVENT:
                for deliver in self.subscriptions.get(envelope[1], ()):
                    deliver(envelope[4])
            elif kind == CREDIT:
                with self._send_lock:
                    self._credit.give(source, envelope[1], envelope[2])
            elif kind == ACK:
                acknowledged[envelope[1]] = envelope[2]
        if acknowledged:
            self._on_acks(acknowledged)

    def _on_acks(self, acknowledged: dict[str, int]) -> None:
        """Forget what was handled: the highest number by target.

        While messages are open that is written with the next one: who has handled a message that
        comes again knows it.
        """
        with self._send_lock:
            if self._outbox is not None and self._store is not None:
                for target, number in acknowledged.items():
                    self._outbox.acknowledged(target, number)
                if not self.undelivered:
                    self._store.commit()
                self.plane.flush()

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Read for all until ``condition`` holds, ``timeout`` seconds at most; give it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not condition():
            self._check()
            remaining = 0.1 if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._lead_once(min(remaining, 0.1))
            self.flush()
        return True

    # --- what the control thread says ---

    def peer_up(self, peer: PeerInfo) -> None:
        """A process can be reached."""
        with self._send_lock:
            self.plane.connect(peer.address, peer.incarnation, peer.endpoint)
            deadline = time.monotonic() + 1.0
            while self.plane.flush() and time.monotonic() < deadline:
                time.sleep(_BLOCKED_WAIT)  # the connection is made in the background

    def peer_down(self, address: int, name: str, reason: ExitReason, *, final: bool) -> None:
        """A process has died: its credit is void, and asks to it fail."""
        with self._send_lock:
            if final:
                self._gone.add(address)
            self.plane.disconnect(address)
            self._credit.reset(address)
            if self._outbox is not None:
                self._outbox.lost(address)
            pending = list(self._pending.items())
        asked = [(number, waiter) for number, waiter in pending if waiter.to.home == address]
        if not asked:
            return
        time.sleep(_GRACE)  # replies that it sent before it died are still in the pipe
        self.read_available()
        died = f"its worker {name} died ({describe(reason)})"
        for number, waiter in asked:
            if waiter.done or number not in self._pending:
                continue
            if final:
                self._pending.pop(number, None)
                waiter.settle(None, ActorNotFoundError(f"{_label(waiter.to)} has stopped"))
            else:
                self._ask_again(number, waiter, died)
        with self._send_lock:
            self._wake.send()

    def _ask_again(self, number: int, waiter: Waiter, died: str) -> None:
        """Send an idempotent request to the next incarnation; fail any other."""
        if waiter.envelope is not None and waiter.tries < _MAX_TRIES:
            waiter.tries += 1
            with self._send_lock:
                self._credit.take(waiter.to)
                self.plane.post(waiter.to.home, waiter.envelope)
                self.plane.flush()
        elif self._pending.pop(number, None) is not None:
            text = f"{_label(waiter.to)} was asked {waiter.request} when {died}"
            waiter.settle(None, ActorDied(f"{text}; it may or may not have been handled"))

    def located(self, target: Address) -> None:
        """A named actor has started somewhere."""
        with self._send_lock:
            incarnation = self.plane.incarnation_of(target.home)
            self._located[target.name] = (target, incarnation)
            if self._outbox is not None:
                self._outbox.located(target, incarnation)
                self.plane.flush()

    def unlocated(self, name: str) -> None:
        """A name stands for nobody any more."""
        with self._send_lock:
            self._located.pop(name, None)
            if self._outbox is not None:
                self._outbox.unlocated(name)

    def stopped(self, error: GristmillError) -> None:
        """The node has ended: everything that waits is told."""
        self._stopped = error
        for number, waiter in list(self._pending.items()):
            self._pending.pop(number, None)
            waiter.settle(None, error)
        with self._send_lock:
            self._wake.send()

    def close(self) -> None:
        """Close the sockets."""
        if self._stopped is None:
            self.stopped(NodeStoppedError("the node was closed"))
        self._stragglers.close()
        with self._send_lock:
            self._closed = True
            if self._store is not None:
                with contextlib.suppress(JournalError):  # what isn't forgotten is sent again
                    self._store.commit()
                self._store.close()
            self._wake.close()
            self.plane.close()

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped
        if _forks.count != self._forks:
            raise UsageError(
                "this process was forked from a client; refs and nodes can't be used in it. "
                "Start a node of its own here"
            )

    def _timeout(self, waiter: Waiter, timeout: float | None) -> AskTimeoutError:
        return AskTimeoutError(
            f"{_label(waiter.to)} is alive and did not answer {waiter.request} in {timeout:g} s"
        )


def _reply_decoder(codec: Codec, kind: type[Request[Any]]) -> Callable[[bytes], Any]:
    decode: Callable[[bytes], Any] = codec.decoder(reply_type(kind)).decode
    return decode


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _label(to: Address) -> str:
    return to.name or f"{to.type.rpartition(':')[2] or 'actor'}#{to.key}"
