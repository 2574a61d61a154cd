"""Asking many actors at once, from inside an actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from gristmill.errors import GristmillError
from gristmill.messages import Request
from gristmill.multi_reply import MultiReply
from gristmill.ref import AnyRef

if TYPE_CHECKING:
    from gristmill.behaviours.actor_host import AwaitedReply
    from gristmill.behaviours.context import Context

R = TypeVar("R")


async def multi_ask(
    ctx: Context, refs: Iterable[AnyRef], request: Request[R], timeout: float | None
) -> MultiReply[R]:
    """Send ``request`` to all, then fetch what comes within ``timeout`` seconds."""
    deadline = None if timeout is None else ctx.now() + timeout
    outcome: MultiReply[R] = MultiReply()
    asked: list[tuple[AnyRef, AwaitedReply[R] | GristmillError]] = []
    for ref in refs:
        try:
            asked.append((ref, ctx.request(ref, request)))
        except GristmillError as error:
            asked.append((ref, error))
    for ref, pending in asked:
        try:
            if isinstance(pending, GristmillError):
                raise pending
            left = None if deadline is None else max(0.0, deadline - ctx.now())
            outcome.replies.append((ref, await pending.result(left)))
        except GristmillError as error:
            outcome.failed.append((ref, error))
    return outcome
