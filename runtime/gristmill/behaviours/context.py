"""``Context``: what a handler can do beyond its own state.

Time, randomness and ids come from here and nowhere else, so that a simulator can decide them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gristmill.behaviours.actor_host import ActorHost, AwaitedReply, Timer
from gristmill.behaviours.bonding import Bonding
from gristmill.behaviours.facet_set import FacetSet
from gristmill.behaviours.links import MonitorRef
from gristmill.behaviours.multi_ask import multi_ask
from gristmill.channels.contract import ChannelBackend, Listen, Start
from gristmill.deferred import Reply
from gristmill.errors import UsageError
from gristmill.keyed import KeyedGroup
from gristmill.messages import Command, Event, Request
from gristmill.multi_reply import MultiReply
from gristmill.ref import DEFAULT_TIMEOUT, AnyRef, DeliveryGuarantee, Ref
from gristmill.supervision import ExitReason, Normal

if TYPE_CHECKING:
    import numpy.typing as npt

R = TypeVar("R")

_NORMAL = Normal()


def check_delay(delay: object) -> None:
    """Refuse a delay that is none.

    Raises:
        UsageError: it is negative or no number.
    """
    if not isinstance(delay, int | float) or isinstance(delay, bool) or not delay >= 0:
        raise UsageError(f"a delay is a number of seconds from 0 on, not {delay!r}")


class Context(Bonding):
    """One actor's view of the runtime; valid for as long as its incarnation lives."""

    __slots__ = ("_host", "key", "name", "node", "path", "worker")

    _host: ActorHost

    def __init__(
        self, host: ActorHost, *, name: str, path: str, worker: str, node: str, key: str = ""
    ) -> None:
        self._host = host
        self.key = key
        """The key of a keyed actor; empty for any other."""
        self.name = name
        """The actor's registered name, or an empty string."""
        self.path = path
        """Where it stands in the supervision tree."""
        self.worker = worker
        """The worker that hosts it."""
        self.node = node
        """The node's id."""

    @property
    def log(self) -> logging.Logger:
        """The actor's logger."""
        return logging.getLogger(f"gristmill.actor.{self.name or self.path.rpartition('/')[2]}")

    @property
    def ref(self) -> AnyRef:
        """The actor's own address."""
        return self._host.self_ref()

    @property
    def sender(self) -> AnyRef | None:
        """The actor that sent the message in hand; None when it was a client.

        Raises:
            UsageError: a batch is in hand; see :attr:`senders`.
        """
        return self._host.sender_ref()

    @property
    def senders(self) -> list[AnyRef | None]:
        """The actors that sent the messages in hand, in a batch handler: one for each, in order."""
        return self._host.sender_refs()

    @property
    def facets(self) -> FacetSet:
        """The facets that the actor was started with."""
        return self._host.facets

    @property
    def random(self) -> Random:
        """The actor's own random numbers."""
        return self._host.random

    def now(self) -> float:
        """Give monotonic time in seconds."""
        return self._host.now()

    def wall_time(self) -> float:
        """Give the seconds since 1970."""
        return self._host.wall_time()

    def new_id(self) -> str:
        """Make a ULID: 26 characters that sort by time."""
        return self._host.new_id()

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass; the mailbox waits meanwhile."""
        await self._host.sleep(seconds)

    def lookup(self, name: str) -> AnyRef | None:
        """Find an actor of this node by its name.

        Each is found that had started as far as the sender of the message in hand knew.
        """
        return self._host.lookup(name)

    def lookup_keyed(self, name: str) -> KeyedGroup[Any] | None:
        """Find a group of keyed actors by its name."""
        return self._host.lookup_keyed(name)

    def lookup_pool(self, name: str) -> AnyRef | None:
        """Find an elastic pool by its name; give a ref that stands for its members.

        Each message to it goes to the member with the fewest that this worker has sent and that are
        not finished. It can't travel, and who lives behind it can't be watched.
        """
        return self._host.lookup_pool(name)

    async def ask(
        self, to: Ref[Any], request: Request[R], *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> R:
        """Ask another actor; raises what :meth:`Ref.ask` raises.

        Raises:
            AskCycle: it waits, through a chain of asks, for this actor's reply.
        """
        return await self._host.ask(to, request, timeout)

    def request(self, to: Ref[Any], request: Request[R]) -> AwaitedReply[R]:
        """Ask another actor and go on; fetch the reply later from what this gives.

        Raises:
            MailboxFullError: its mailbox has no room now.
            ActorNotFoundError: it has stopped.
        """
        return self._host.request(to, request)

    async def multi_ask(
        self,
        refs: Iterable[Ref[Any]],
        request: Request[R],
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> MultiReply[R]:
        """Ask many actors the same at once; give the replies, and the errors of the rest.

        ``timeout`` holds for all together: whoever has not answered then is among the failed, and
        a late reply is dropped.
        """
        return await multi_ask(self, refs, request, timeout)

    async def tell(
        self,
        to: Ref[Any],
        message: Command | Event,
        *,
        delivery: DeliveryGuarantee | str = DeliveryGuarantee.AT_MOST_ONCE,
    ) -> None:
        """Send ``message``, waiting for room in the target's mailbox if need be."""
        await self._host.tell_waiting(to, message, DeliveryGuarantee(delivery))

    def flush(self) -> None:
        """Let what this handler has told leave now, for it goes on computing meanwhile.

        Otherwise it leaves, with what else the worker has to send, when the handler has finished.
        What a durable actor tells leaves behind the commit of its events, whatever this does.
        """
        self._host.flush()

    def watch(self, ref: AnyRef, make: Callable[[ExitReason], Event]) -> MonitorRef:
        """Handle the event that ``make`` gives when the incarnation of ``ref`` has ended.

        Returns:
            What :meth:`demonitor` takes.
        """
        return self._host.watch(ref, make)

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = float) -> npt.NDArray[Any]:
        """Give a writable array, uninitialised, whose first sending copies nothing.

        What is written to it after that nobody else sees.
        """
        return self._host.empty(shape, dtype)

    def publish(self, channel: str, event: Event, *, key: str = "") -> None:
        """Publish ``event``; events with one ``key`` keep their order.

        What a durable actor publishes leaves when its handler has finished and its events are
        committed. With a journal an event reaches Redis and Kafka whatever dies.

        Raises:
            ChannelFullError: the server of a channel has been away for too long.
        """
        self._host.publish(channel, event, key)

    def subscribe(
        self,
        channel: str,
        *,
        group: str = "",
        start: Start | str = Start.NEW,
        backend: ChannelBackend | str | None = None,
        window: int = 256,
    ) -> None:
        """Get the events of ``channel`` from now on, as messages.

        In memory this holds for every publisher when the actor's start, in which it was called, is
        over. Called later it holds a moment later, when publishers have heard of it.

        Args:
            channel: its name.
            group: share the events with the other members of this group, at least once: an event
                is acknowledged when its handler has finished, and comes again when it raises.
            start: where a new group, or a subscriber without one, begins.
            backend: which one; the first that is on and can do it if None.
            window: how many events may wait in the mailbox.

        Raises:
            UsageError: no backend that is on can do that.
        """
        self._host.subscribe(listen_to(channel, group, start, backend, window), wanted=True)

    def unsubscribe(
        self, channel: str, *, group: str = "", backend: ChannelBackend | str | None = None
    ) -> None:
        """Get no more events of ``channel``."""
        self._host.subscribe(listen_to(channel, group, Start.NEW, backend, 64), wanted=False)

    def send_after(self, delay: float, message: Command | Event) -> Timer:
        """Send ``message`` to this actor after ``delay`` seconds; gone with the incarnation.

        Raises:
            UsageError: the delay is negative or no number.
        """
        return self._host.send_after(delay, message)

    def idle_timeout(self, seconds: float | None, message: Command | Event | None = None) -> None:
        """Handle ``message`` when no other one comes within ``seconds`` of the handler's end.

        Any message that is handled before cancels it; the handler of that message may ask for it
        again. None cancels it too. A handler that raises leaves it as it was: cancelled.

        Raises:
            UsageError: the time is negative or no number, or the actor does not handle the message.
        """
        self._host.idle_timeout(seconds, message)

    def persist(self, event: Any) -> None:
        """Apply ``event`` to the actor and journal it; needs the ``Durable`` facet.

        The events of a message are committed together when its handler has finished, before any
        message of the handler leaves. If the handler raises, none is; an actor that has raised a
        ``Reject`` then starts again from its journal, so refuse before you persist.
        """
        self._host.persist(event)

    def continue_with(self, message: Command | Event) -> None:
        """Handle ``message`` next, before anything that waits in the mailbox.

        The reply of the handler in progress leaves first. From ``on_start`` it runs before the
        first message, when the actor counts as started already. Several keep their order.
        """
        self._host.continue_with(message)

    def postpone(self) -> NoReturn:
        """Leave the message in hand for later: the handler ends here.

        It waits until :meth:`retry_postponed`, which a ``GenStateMachine`` calls when its state
        changes. As many messages may be postponed as the mailbox has places; one more is refused.

        Raises:
            UsageError: the message is at-least-once: those keep the order of their sender.
        """
        self._host.postpone()

    def retry_postponed(self) -> None:
        """Handle the postponed messages next, in the order in which they came."""
        self._host.retry_postponed()

    def stop(self, reason: ExitReason = _NORMAL) -> None:
        """End this actor once its handler has finished; the handler's reply leaves first.

        Args:
            reason: ``Normal()``, ``Shutdown("why")`` or ``Crash(...)``: what its supervisor sees.
        """
        self._host.stop(reason)

    def defer_reply(self) -> Reply[Any]:
        """Answer the request in hand later: the handler returns :data:`DEFERRED`.

        Gives what to call once with the reply. It may be sent to another actor, which then
        answers instead.
        """
        return self._host.defer()

    @contextmanager
    def compute(self) -> Iterator[None]:
        """Account for a block as compute; inside a handler that is the default."""
        restore = self._host.switch_accounting(compute=True)
        try:
            yield
        finally:
            restore()

    @contextmanager
    def coordinate(self) -> Iterator[None]:
        """Account for a block inside a handler as coordination."""
        restore = self._host.switch_accounting(compute=False)
        try:
            yield
        finally:
            restore()


def listen_to(
    channel: str,
    group: str,
    start: Start | str,
    backend: ChannelBackend | str | None,
    window: int,
) -> Listen:
    """Say what a subscriber wants.

    Raises:
        UsageError: there is no such backend, or no such start.
    """
    try:
        chosen = None if backend is None else ChannelBackend(backend)
        return Listen(channel, group, Start(start), chosen, window)
    except ValueError as error:
        raise UsageError(f"subscription to {channel!r}: {error}") from None


class Postponed(Exception):  # noqa: N818 - it leaves the handler and is no error
    """Ends the handler of a message that its actor has postponed; not for catching."""

    retry = False
    """Whether it is to be tried again at once: the state has changed."""


class Deferred:
    """The type of :data:`DEFERRED`."""

    __gristmill_deferred__ = True
    __slots__ = ()


DEFERRED = Deferred()
"""What a handler returns when it has taken ``ctx.defer_reply()``."""
