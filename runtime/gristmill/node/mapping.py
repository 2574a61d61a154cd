"""``node.map``: plain functions on all workers, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from gristmill.errors import ActorCrashed, UsageError
from gristmill.importing import import_path
from gristmill.node.client.calls import Calls, batches
from gristmill.node.client.post import ClientPost
from gristmill.node.client.spreading import Spread, lanes
from gristmill.placement.balancing import Loads
from gristmill.ref import Address
from gristmill.worker.turns.functions import BatchResult, types_of

T = TypeVar("T")
U = TypeVar("U")

_BATCHES_PER_WORKER = 4
_AHEAD_PER_WORKER = 16
"""Batches whose results are kept until those before them are there."""


def map_batches(
    post: ClientPost,
    runners: Sequence[Address],
    function: Callable[[T], U],
    items: Iterable[T],
    *,
    batch: int | None,
    timeout: float | None,
) -> Iterator[U]:
    """Call ``function`` with each item on the runners; give the results in order."""
    path = import_path(function)
    _check_takes_one(function)
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; it is how many items go in one message: 1 or more")
    encode = Calls(post).encode
    calls = deque(encode(path, (item,), {}) for item in items)
    size = batch or -(-len(calls) // (_BATCHES_PER_WORKER * len(runners))) or 1
    requests = batches(path, _taken_from(calls), size)
    ahead = _AHEAD_PER_WORKER * len(runners)
    ways = lanes(runners, None, ahead)
    spread = Spread[BatchResult](post, ways, Loads(), window=None, ahead=ahead, timeout=timeout)
    decode: Callable[[Any], U] = post.codec.decoder(types_of(function).result).decode
    return _results(path, spread.replies(requests), decode)


def _taken_from(calls: deque[bytes]) -> Iterator[bytes]:
    while calls:
        yield calls.popleft()  # what was sent takes no room here any more


def _results(path: str, outcomes: Iterator[BatchResult], decode: Callable[[Any], U]) -> Iterator[U]:
    for outcome in outcomes:
        for body in outcome.values:
            yield decode(body)
        if outcome.error is not None:
            raise ActorCrashed(f"{path} raised {outcome.error}", outcome.error)


def _check_takes_one(function: Callable[..., Any]) -> None:
    code = getattr(function, "__code__", None)
    takes_any = code is not None and code.co_flags & 0x04  # CO_VARARGS
    if code is not None and code.co_argcount < 1 and not takes_any:
        raise UsageError(f"{function!r} takes no argument; map calls it with one")
