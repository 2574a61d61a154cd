"""``Ref``: the typed address of an actor, and ``Post``, what a process sends with.

A ref names the actor and not its incarnation: it stays good across restarts. It may travel inside
messages; the receiving process binds it to its own post.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from gristmill.deferred import Ticket
from gristmill.messages import Command, Event, Request

if TYPE_CHECKING:
    from gristmill.supervision import ExitReason

A = TypeVar("A")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

KEYED = -1
"""The home in the address of a keyed actor: it lives where its group says."""
POOLED = -2
"""The home in the address of an elastic pool: each message goes to one of its members."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that an ask waits when nothing else is said, as in OTP."""


class DeliveryGuarantee(StrEnum):
    """What a sender is promised about a message."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"


AT_MOST_ONCE: Final = DeliveryGuarantee.AT_MOST_ONCE
_GUARANTEES: Final[dict[str, DeliveryGuarantee]] = {each.value: each for each in DeliveryGuarantee}


class OverflowPolicy(StrEnum):
    """What happens to a message for a mailbox without room."""

    WAIT = "wait"
    """The sender waits for room: a client within its timeout, a handler in ``await ctx.tell``."""
    FAIL = "fail"
    """The sender gets :class:`~gristmill.errors.MailboxFullError`."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting message becomes a dead letter."""


class Mailbox(msgspec.Struct, frozen=True, array_like=True):
    """The bound of a mailbox, counted per sending process, and what happens beyond it."""

    capacity: int = 1024
    overflow: OverflowPolicy = OverflowPolicy.WAIT


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A ref as data: what travels on the wire."""

    key: int
    """The actor's number in its node; never reused."""
    home: int
    """The process that hosts it."""
    type: str
    """Import path of the actor's class."""
    name: str = ""
    mailbox: Mailbox = Mailbox()

    @property
    def label(self) -> str:
        """What errors call the actor: its name, else its class and key."""
        return self.name or f"{self.type.rpartition(':')[2] or 'actor'}#{self.key}"


class Pending(Protocol[R_co]):
    """A request that was sent and whose reply can be fetched later."""

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, has come."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the reply, ``timeout`` seconds at most; give whether it has come.

        It can still be fetched when it has not.
        """

    def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> R_co:
        """Wait for the reply and give it; raises what :meth:`Ref.ask` raises.

        When ``timeout`` is over the request is abandoned.
        """

    def abandon(self) -> None:
        """Give the request up for good: it is not handled, or its async handler is cancelled."""


class Post(Protocol):
    """The sending side of a process: a client, a worker, or both in one."""

    @property
    def node(self) -> str:
        """The id of the node that it sends in."""

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message that nobody answers."""

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and wait for its reply."""

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""

    def ask_many(
        self, to: Address, requests: Iterable[Request[R]], window: int, timeout: float | None
    ) -> Iterator[R]:
        """Send requests with at most ``window`` of them open; give the replies in order."""

    def request(self, to: Address, request: Request[R]) -> Pending[R]:
        """Send a request whose reply is fetched later."""

    def answer(self, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a deferred request."""

    def stop_actor(self, to: Address, reason: ExitReason | None, timeout: float) -> None:
        """Stop the actor in order."""


class Ref(Generic[A]):
    """The address of an actor of class ``A``. Safe to use from any thread."""

    __slots__ = ("_post", "address")

    def __init__(self, address: Address, post: Post) -> None:
        self.address = address
        self._post = post

    @property
    def name(self) -> str:
        """The actor's registered name, or an empty string."""
        return self.address.name

    @property
    def node(self) -> str:
        """The id of the actor's node: messages of another node can't carry its ref."""
        return self._post.node

    def tell(
        self,
        message: Command | Event,
        *,
        delivery: DeliveryGuarantee | str = AT_MOST_ONCE,
    ) -> None:
        """Send ``message``; nothing comes back.

        Args:
            message: the command or event.
            delivery: ``"at_least_once"`` journals the message before it is sent and forgets it
                when it was handled; the node needs a journal and the actor a name.

        Raises:
            MailboxFullError: the mailbox has no room and its policy is to fail.
            PayloadTooLargeError: the message is over the size limit.
        """
        if delivery is not AT_MOST_ONCE:  # the enum takes as long as to encode a message
            delivery = _GUARANTEES.get(delivery) or DeliveryGuarantee(delivery)
        self._post.tell(self.address, message, delivery)

    def ask(self, request: Request[R], *, timeout: float | None = DEFAULT_TIMEOUT) -> R:
        """Send ``request`` and wait for its reply.

        Args:
            request: the question; its type says what answers it.
            timeout: seconds to wait; None waits for as long as the callee lives.

        Raises:
            AskTimeoutError: the callee is alive and did not answer in time.
            ActorCrashed: the handler raised; carries the remote traceback.
            ActorDied: the callee's worker died.
            ActorNotFoundError: the actor has stopped.
            Reject: the handler refused.
            UsageError: called inside a handler, where it would stop the worker's core.
        """
        return self._post.ask(self.address, request, timeout)

    async def ask_async(self, request: Request[R], *, timeout: float | None = DEFAULT_TIMEOUT) -> R:
        """Do what :meth:`ask` does, without blocking the running event loop."""
        return await self._post.ask_async(self.address, request, timeout)

    def ask_many(
        self,
        requests: Iterable[Request[R]],
        *,
        window: int = 1024,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[R]:
        """Ask ``requests`` with up to ``window`` open at once; give the replies in order.

        The first error is raised in its place; ``timeout`` holds for each request.
        """
        return self._post.ask_many(self.address, requests, window, timeout)

    def request(self, request: Request[R]) -> Pending[R]:
        """Send ``request`` and go on; fetch its reply later from what this gives.

        Raises what :meth:`ask` raises before it waits. In a handler write
        ``await ctx.request(ref, request)``.
        """
        return self._post.request(self.address, request)

    def stop(self, *, reason: ExitReason | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Stop the actor in order and wait for its end.

        Args:
            reason: what it ends with; ``Shutdown()`` if None.
            timeout: seconds to wait at most, 0 or more.

        Raises:
            UsageError: the timeout is no such number. The actor is unharmed.
        """
        self._post.stop_actor(self.address, reason, timeout)

    def __repr__(self) -> str:
        kind = self.address.type.rpartition(":")[2]
        return f"<Ref {kind} {self.address.name or f'#{self.address.key}'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref):
            return NotImplemented
        return other.address.key == self.address.key and other._post is self._post

    def __hash__(self) -> int:
        return hash(self.address.key)


AnyRef = Ref[Any]
