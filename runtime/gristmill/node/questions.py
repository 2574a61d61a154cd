"""``Questions``: what a client asks beyond one actor's own messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.errors import GristmillError
from gristmill.importing import import_path
from gristmill.messages import Request
from gristmill.multi_reply import MultiReply
from gristmill.ref import DEFAULT_TIMEOUT, AnyRef
from gristmill.transport.inspection import GetState, ReplaceState, Resume, Suspend

if TYPE_CHECKING:
    from gristmill.node.client.connection import Connection
    from gristmill.node.client.pending import PendingReply

R = TypeVar("R")


class Questions(ABC):
    """The part of a running node that asks many actors at once, and about their state."""

    @abstractmethod
    def _connected(self) -> Connection:
        """Give the connection to the node.

        Raises:
            UsageError: the node does not run.
        """

    def multi_ask(
        self,
        refs: Iterable[AnyRef],
        request: Request[R],
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> MultiReply[R]:
        """Ask many actors the same at once; give the replies, and the errors of the rest.

        Args:
            refs: whom to ask.
            request: the question.
            timeout: seconds for all together; None waits for as long as they live. Whoever has
                not answered then is among the failed, and a late reply is dropped.
        """
        from gristmill.node.client.pending import PendingReply, check_timeout

        check_timeout(timeout)
        post = self._connected().post
        deadline = None if timeout is None else post.now() + timeout
        asked: list[tuple[AnyRef, PendingReply[R] | GristmillError]] = []
        for ref in refs:
            try:
                waiter = post.send_request(ref.address, request, None, wait=False)
                asked.append((ref, PendingReply(post, waiter)))
            except GristmillError as error:
                asked.append((ref, error))
        outcome: MultiReply[R] = MultiReply()
        for ref, pending in asked:
            try:
                if isinstance(pending, GristmillError):
                    raise pending
                left = None if deadline is None else max(0.0, deadline - post.now())
                outcome.replies.append((ref, pending.result(left)))
            except GristmillError as error:
                outcome.failed.append((ref, error))
        return outcome

    def state_of(self, ref: AnyRef, *, timeout: float = DEFAULT_TIMEOUT) -> dict[str, Any]:
        """Give an actor's attributes, for debugging; what can't travel comes as its ``repr``.

        It is looked at behind the messages that wait now; while the actor is suspended, at once.

        Raises:
            AskTimeoutError: the actor does not get to it in ``timeout`` seconds.
            ActorNotFoundError: there is no such actor any more.
        """
        return self._connected().post.inspect(ref.address, GetState(), timeout)

    def replace_state(
        self,
        ref: AnyRef,
        function: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Replace an actor's attributes, for repairs, by what ``function`` makes of them.

        Args:
            ref: the actor.
            function: importable by the workers; takes the attributes and gives the new ones.
            timeout: seconds to wait.

        Raises:
            Reject: the function raised, or gave no state. Nothing has changed.
        """
        self._connected().post.inspect(ref.address, ReplaceState(import_path(function)), timeout)

    def suspend(self, ref: AnyRef, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Have an actor take no more messages, behind those that wait now; new ones are kept."""
        self._connected().post.inspect(ref.address, Suspend(), timeout)

    def resume(self, ref: AnyRef, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Have a suspended actor go on."""
        self._connected().post.inspect(ref.address, Resume(), timeout)
