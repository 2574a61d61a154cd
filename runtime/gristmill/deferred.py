"""``Reply``: the way to answer a request later. It may travel in messages, as a ref may."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import msgspec

R = TypeVar("R")


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """A deferred reply as data: what travels on the wire."""

    key: int
    """The actor that deferred it."""
    home: int
    """The process of that actor."""
    process: int
    """The process that asked."""
    number: int
    """The number of its request."""


class Answering(Protocol):
    """What a process answers with."""

    @property
    def node(self) -> str:
        """The id of the node that it sends in."""

    def answer(self, ticket: Ticket, value: Any) -> None:  # noqa: ANN401 - the reply
        """Answer a deferred request."""


class Reply(Generic[R]):
    """Answers one request: call it once with the reply, here or wherever it was sent.

    Only the first answer counts. If the actor that deferred it has ended, its asker has been told
    so, and the answer is dropped.
    """

    __slots__ = ("_post", "ticket")

    def __init__(self, ticket: Ticket, post: Answering) -> None:
        self.ticket = ticket
        self._post = post

    @property
    def node(self) -> str:
        """The id of the node in which somebody waits."""
        return self._post.node

    def __call__(self, value: R) -> None:
        """Answer.

        Raises:
            UsageError: the value can't travel in a message.
        """
        self._post.answer(self.ticket, value)

    def __repr__(self) -> str:
        return f"<Reply to request {self.ticket.number} of process {self.ticket.process}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reply) and other.ticket == self.ticket

    def __hash__(self) -> int:
        return hash(self.ticket)
