"""Layers around handlers: ``@through`` runs them in order, and each may answer in its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, TypeVar

import msgspec

from gristmill.behaviours.context import Context, Deferred, Postponed
from gristmill.behaviours.protocol import LAYERS
from gristmill.errors import (
    CircuitOpenError,
    IdempotencyConflictError,
    ProtocolError,
    Reject,
    UsageError,
)
from gristmill.facets import InProgress, Replay
from gristmill.messages import Message, Request, reply_type

F = TypeVar("F", bound=Callable[..., Any])

Layer = Callable[[Any, Context], Generator[None, Any, Any]]
"""A generator function of the message and the context. Where it yields, what it is around runs; the
reply comes back from the ``yield``, or an exception. What it returns is the reply; if it returns or
raises before it yields, nothing that it is around runs."""

_encode = msgspec.msgpack.Encoder().encode


def through(*layers: Layer) -> Callable[[F], F]:
    """Put layers around a handler, the first one outermost.

    ::

        @handles
        @through(once("key"), guarded("gateway"))
        async def charge(self, msg: Charge, ctx: Context) -> Receipt: ...

    The same layers serve plain and ``async`` handlers; the handler takes ``ctx``.

    Raises:
        ProtocolError: no layer is given, or the handler does not take ``ctx``.
    """

    def wrap(function: F) -> F:
        if not layers:
            raise ProtocolError(
                "@through() without a layer does nothing; name one, or leave it out"
            )
        if len(inspect.signature(function).parameters) != 3:
            raise ProtocolError(
                f"{function.__qualname__} goes through layers, which need the context: take "
                "(self, message, ctx)"
            )
        wrapper = _around_async if inspect.iscoroutinefunction(function) else _around
        wrapped: Any = function
        for layer in reversed(layers):
            wrapped = wrapper(layer, wrapped)
        setattr(wrapped, LAYERS, layers)
        return wrapped  # type: ignore[no-any-return]  # it has the signature of the function

    return wrap


def _around(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def handler(actor: Any, message: Any, ctx: Context) -> Any:
        run = layer(message, ctx)
        answered, reply = _enter(run)
        if answered:
            return reply
        try:
            reply = function(actor, message, ctx)
        except BaseException as error:
            return _threw(run, error)
        return _returned(run, reply)

    return handler


def _around_async(layer: Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def handler(actor: Any, message: Any, ctx: Context) -> Any:
        run = layer(message, ctx)
        answered, reply = _enter(run)
        if answered:
            return reply
        try:
            reply = await function(actor, message, ctx)
        except BaseException as error:
            return _threw(run, error)
        return _returned(run, reply)

    return handler


def _enter(run: Generator[None, Any, Any]) -> tuple[bool, Any]:
    """Run a layer up to its ``yield``; give whether it has answered instead, and what."""
    try:
        next(run)
    except StopIteration as done:
        return True, done.value
    return False, None


def _returned(run: Generator[None, Any, Any], reply: Any) -> Any:
    try:
        run.send(reply)
    except StopIteration as done:
        return done.value
    raise _twice(run)


def _threw(run: Generator[None, Any, Any], error: BaseException) -> Any:
    try:
        run.throw(error)
    except StopIteration as done:
        return done.value
    raise _twice(run)


def _twice(run: Generator[None, Any, Any]) -> UsageError:
    run.close()
    return UsageError("a layer has yielded twice; what it is around runs once")


def guarded(breaker: str) -> Layer:
    """Make the layer that runs a handler through a circuit breaker of its actor.

    While that is open, the message is refused with the code ``circuit_open``. A handler that
    refuses or postpones its message has not failed.
    """

    def layer(message: Message, ctx: Context) -> Generator[None, Any, Any]:
        del message
        refusal: Exception | None = None
        reply = None
        try:
            with ctx.facets.breaker(breaker)():
                try:
                    reply = yield
                except (Reject, Postponed) as error:
                    refusal = error
        except CircuitOpenError as error:
            raise Reject(str(error), code="circuit_open") from None
        if refusal is not None:
            raise refusal
        return reply

    return layer


def once(field: str) -> Layer:
    """Make the layer that runs a handler once for each idempotency key, which a field holds.

    A repetition gets the reply of the first time. Refused are: a repetition while the first is
    running (code ``in_progress``), and another message with the key (``key_in_use``). What raises
    may run again.
    """

    def layer(message: Message, ctx: Context) -> Generator[None, Any, Any]:
        keys, key = ctx.facets.idempotency, getattr(message, field)
        try:
            claim = keys.claim(key, message)
        except IdempotencyConflictError as error:
            raise Reject(str(error), code="key_in_use") from None
        if isinstance(claim, Replay):
            kind = reply_type(type(message)) if isinstance(message, Request) else None
            return msgspec.msgpack.decode(claim.outcome, type=kind)
        if isinstance(claim, InProgress):
            raise Reject(f"the request with key {key!r} is running", code="in_progress")
        try:
            reply = yield
            if isinstance(reply, Deferred):
                raise UsageError("once() keeps replies, so its handler can't defer them")
            outcome = _encode(reply)
        except BaseException:
            keys.release(key, claim)
            raise
        keys.complete(key, outcome, claim)
        return reply

    return layer
