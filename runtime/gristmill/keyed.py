"""``KeyedGroup``: one actor for each key, wherever it lives.

An actor is started when the first message for its key is sent. While its place is not known, or
it moves, what is sent to it waits with the sender, in order.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from gristmill.errors import UsageError
from gristmill.messages import Command, Event, Request
from gristmill.placement.ring import stable_hash
from gristmill.ref import (
    DEFAULT_TIMEOUT,
    KEYED,
    POOLED,
    Address,
    DeliveryGuarantee,
    Mailbox,
    Post,
    Ref,
)

A = TypeVar("A")
R = TypeVar("R")


def group_address(name: str, kind: str, mailbox: Mailbox) -> Address:
    """Give the address of a group: what travels in messages."""
    return Address(actor_number(name), KEYED, kind, name, mailbox)


def keyed_address(group: Address, key: str) -> Address:
    """Give the address of the actor of a key, which holds wherever it lives."""
    name = f"{group.name}/{key}"
    return Address(actor_number(name), KEYED, group.type, name, group.mailbox)


def pool_address(name: str, kind: str, mailbox: Mailbox) -> Address:
    """Give the address of an elastic pool, for which who sends chooses a member each time."""
    return Address(actor_number(name), POOLED, kind, name, mailbox)


def actor_number(name: str) -> int:
    """Give the number in the address of a keyed actor, a group or a pool: below 0, stable."""
    return -1 - (stable_hash(name) >> 1)


class KeyedGroup(Generic[A]):
    """Actors of class ``A``, one for each key. It may travel in messages. Safe from any thread."""

    __slots__ = ("_post", "address")

    def __init__(self, address: Address, post: Post) -> None:
        self.address = address
        self._post = post

    @property
    def name(self) -> str:
        """The group's name; its actors are named ``NAME/KEY``."""
        return self.address.name

    @property
    def node(self) -> str:
        """The id of the group's node."""
        return self._post.node

    def __getitem__(self, key: str) -> Ref[A]:
        """Give the ref of a key's actor, which is good for ever; it starts with its first message.

        Raises:
            UsageError: the key is no text, or empty.
        """
        if not isinstance(key, str) or not key:
            raise UsageError(f"{self.name}[{key!r}]: a key is a text that is not empty")
        return Ref(keyed_address(self.address, key), self._post)

    def tell(
        self,
        key: str,
        message: Command | Event,
        *,
        delivery: DeliveryGuarantee | str = DeliveryGuarantee.AT_MOST_ONCE,
    ) -> None:
        """Send a message to the actor of a key; see :meth:`Ref.tell`."""
        self[key].tell(message, delivery=delivery)

    def ask(self, key: str, request: Request[R], *, timeout: float | None = DEFAULT_TIMEOUT) -> R:
        """Ask the actor of a key; see :meth:`Ref.ask`."""
        return self[key].ask(request, timeout=timeout)

    async def ask_async(
        self, key: str, request: Request[R], *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> R:
        """Ask the actor of a key without blocking the event loop; in a handler too."""
        return await self[key].ask_async(request, timeout=timeout)

    def __repr__(self) -> str:
        return f"<KeyedGroup {self.name} of {self.address.type.rpartition(':')[2]}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyedGroup) and other.address.key == self.address.key

    def __hash__(self) -> int:
        return hash(self.address.key)


def refuse_keyed(to: Address, what: str) -> None:
    """Refuse what needs one incarnation, of a ref that stands for all of a key.

    Raises:
        UsageError: the address is that of a keyed actor, or of an elastic pool.
    """
    if to.home < 0:
        raise UsageError(
            f"{to.label} stands for actors that come and go: it can't be {what}; have them tell "
            "you what you want to know"
        )
