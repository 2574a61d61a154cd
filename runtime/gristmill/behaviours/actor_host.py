"""``ActorHost``: what a worker provides to the context of one actor."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from gristmill.behaviours.bonding import BondHost
from gristmill.behaviours.facet_set import FacetSet
from gristmill.behaviours.links import MonitorRef
from gristmill.channels.contract import Listen
from gristmill.deferred import Reply
from gristmill.keyed import KeyedGroup
from gristmill.messages import Command, Event, Request
from gristmill.ref import DEFAULT_TIMEOUT, AnyRef, DeliveryGuarantee
from gristmill.supervision import ExitReason
from gristmill.transport.codec import Codec

if TYPE_CHECKING:
    import numpy.typing as npt

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Timer(Protocol):
    """A timer that is under way."""

    def cancel(self) -> bool:
        """Make sure that its message is not handled; give whether that came in time."""


class AwaitedReply(Protocol[R_co]):
    """A request that was sent and whose reply can be fetched later."""

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, has come."""

    async def wait(self, timeout: float | None = None) -> bool:
        """Await the reply, ``timeout`` seconds at most; give whether it has come.

        It can still be fetched when it has not.
        """

    async def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> R_co:
        """Await the reply and give it; raises what :meth:`Ref.ask` raises.

        When ``timeout`` is over the request is abandoned.
        """

    def abandon(self) -> None:
        """Give the request up for good: it is not handled, or its async handler is cancelled."""


class ActorHost(BondHost, Protocol):
    """What the worker provides to the context of one actor."""

    @property
    def facets(self) -> FacetSet:
        """What the actor was started with."""

    @property
    def random(self) -> Random:
        """The actor's own source of randomness."""

    @property
    def codec(self) -> Codec:
        """The worker's, which binds the refs that it decodes."""

    def now(self) -> float:
        """Give monotonic seconds."""

    def wall_time(self) -> float:
        """Give the seconds since 1970."""

    def new_id(self) -> str:
        """Make a ULID."""

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Give a writable array that can be sent without a copy."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def self_ref(self) -> AnyRef:
        """Give the actor's own address."""

    def sender_ref(self) -> AnyRef | None:
        """Give the sender of the message in hand."""

    def sender_refs(self) -> list[AnyRef | None]:
        """Give the senders of the messages in hand."""

    def lookup(self, name: str) -> AnyRef | None:
        """Find an actor by its name."""

    def lookup_pool(self, name: str) -> AnyRef | None:
        """Find an elastic pool by its name."""

    def lookup_keyed(self, name: str) -> KeyedGroup[Any] | None:
        """Find a group of keyed actors."""

    def tell(self, to: AnyRef, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message."""

    async def tell_waiting(
        self, to: AnyRef, message: Command | Event, delivery: DeliveryGuarantee
    ) -> None:
        """Send a message, waiting for room."""

    async def ask(self, to: AnyRef, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""

    def request(self, to: AnyRef, request: Request[R]) -> AwaitedReply[R]:
        """Send a request whose reply is fetched later."""

    def flush(self) -> None:
        """Let what was told so far leave now."""

    def watch(self, to: AnyRef, make: Callable[[ExitReason], Event]) -> MonitorRef:
        """Handle what ``make`` gives when the incarnation of another actor has ended."""

    def publish(self, channel: str, event: Event, key: str) -> None:
        """Publish an event."""

    def subscribe(self, listen: Listen, *, wanted: bool) -> None:
        """Begin or end a subscription."""

    def send_after(self, delay: float, message: Command | Event) -> Timer:
        """Send to oneself later."""

    def idle_timeout(self, seconds: float | None, message: Command | Event | None) -> None:
        """Send to oneself when nothing else comes."""

    def persist(self, event: Any) -> None:
        """Journal and apply an event."""

    def continue_with(self, message: Command | Event) -> None:
        """Handle a message next."""

    def postpone(self) -> NoReturn:
        """Lay the message in hand aside."""

    def retry_postponed(self) -> None:
        """Handle the postponed messages next."""

    def stop(self, reason: ExitReason) -> None:
        """End after the handler."""

    def defer(self) -> Reply[Any]:
        """Answer later."""

    def switch_accounting(self, *, compute: bool) -> Callable[[], None]:
        """Change the time class until the returned function is called."""
