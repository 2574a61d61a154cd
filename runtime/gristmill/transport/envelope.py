"""Envelopes: what the data plane carries. A frame is a MessagePack array: a header, then envelopes.

Each of these is an array whose first item is its kind:

========  ==========================================================================
HEADER    process, incarnation, messages sent before, envelopes, sent at (ns), messages, news
TELL      target, sender, number, bodies     (number: at-least-once, else 0)
ASK       target, sender, deadline, request, bodies   (monotonic seconds, 0: none; the sender
          is a chain if an actor waits for the reply, see
          :mod:`~gristmill.worker.messaging.cycles`)
REPLY     request, bodies
ERROR     request, body                      (an :class:`ErrorReply`)
EVENT     channel, [targets], sender, number, bodies  (number: 0)
CREDIT    target, messages                   (room in a mailbox, given back)
ACK       target name, number                (at-least-once: handled up to here)
NOTICE    body                               (from this process's own control thread)
SIGNAL    target, body                       (a :mod:`~gristmill.transport.signals` signal)
ANSWER    target, process, request, body     (a deferred reply, through who deferred it)
INSPECT   target, request, body              (of :mod:`~gristmill.transport.inspection`)
ARRAYS    envelope, handles                  (its body's arrays are in shared memory)
RELEASE   body                               (arrays that are given back)
FENCE     number                             (nothing more comes from here for who leaves)
CANCEL    target, [requests]                 (their asker has given them up)
PROBE     target, chain                      (who waits for it, see ``cycles`` too)
LAST                                         (a worker that is replaced says no more)
SWITCH                                       (the last one to it: what follows goes to the new one)
RELAY     process, paid, envelope            (a message, passed on by a worker that is replaced)
PASS      process, envelope                  (something else, passed on by it)
HANDOVER  step, processes                    (how far a hand-over has come)
MARK      number                             (of the message behind it, for a trace)
========  ==========================================================================

The kinds with ``bodies`` carry runs: the number is that of the first body, and the others follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gristmill.death import CrashSite
from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    ActorError,
    ActorNotFoundError,
    AskCycle,
    AskTimeoutError,
    DecodeError,
    ErrorData,
    GristmillError,
    InvalidStateTransition,
    MailboxFullError,
    Reject,
    ReplyTypeError,
    UnknownMessageError,
    UsageError,
    text_of,
)

HEADER, TELL, ASK, REPLY, ERROR, EVENT, CREDIT, ACK, NOTICE = range(9)
SIGNAL, ANSWER, INSPECT, ARRAYS, RELEASE, FENCE, CANCEL = range(9, 16)
LAST, SWITCH, RELAY, PASS, HANDOVER, PROBE, MARK = range(16, 23)

MESSAGES = (TELL, ASK, EVENT)
"""The kinds that bring messages to actors or subscribers."""
RUNS = (TELL, ASK, REPLY, EVENT)
"""The kinds that carry several bodies."""

Envelope = list[Any]

pack = msgspec.msgpack.Encoder().encode
"""Pack one envelope, given as a tuple."""
_HEADER_ITEMS = 8
_unpack = msgspec.msgpack.Decoder(list[list[Any]]).decode
_HEADS = tuple(bytes([0x90 | items]) for items in range(16))
"""How MessagePack begins a short array, by its length."""


def pack_frame(
    process: int,
    incarnation: int,
    before: int,
    envelopes: Sequence[bytes],
    now: int,
    messages: int = 0,
    news: int = 0,
) -> bytes:
    """Put packed envelopes into a frame.

    Args:
        process: the address of the sender.
        incarnation: its incarnation.
        before: how many messages it has sent to this receiver before.
        envelopes: one at least.
        now: perf_counter ns.
        messages: how many messages are in them, see :func:`count_messages`.
        news: the number of the last news that the sender has heard; 0: nothing relies on any.
    """
    count = len(envelopes)
    head = _HEADS[count + 1] if count < 15 else b"\xdd" + (count + 1).to_bytes(4)
    header = pack((HEADER, process, incarnation, before, count, now, messages, news))
    return head + header + b"".join(envelopes)


def count_messages(envelopes: Sequence[bytes], sizes: Sequence[int]) -> int:
    """Count the messages to actors or subscribers in packed envelopes.

    Args:
        envelopes: the envelopes.
        sizes: how many bodies are in each.
    """
    messages = 0
    for envelope, size in zip(envelopes, sizes, strict=True):
        kind = envelope[1]
        if kind == ARRAYS:
            kind = envelope[3]
        if kind in MESSAGES or kind == RELAY:
            messages += size
    return messages


def read_frame(frame: bytes) -> list[Envelope]:
    """Give the envelopes of a frame, its header first.

    Raises:
        DecodeError: the frame is truncated, no MessagePack, or has no header.
    """
    try:
        envelopes = _unpack(frame)
        header = envelopes[0]
        complete = (
            header[0] == HEADER and header[4] == len(envelopes) - 1 and len(header) == _HEADER_ITEMS
        )
    except (msgspec.MsgspecError, LookupError, RecursionError) as error:
        raise DecodeError(f"a frame of {len(frame)} bytes can't be read: {error!r}") from None
    if not complete:
        raise DecodeError(f"a frame of {len(frame)} bytes is truncated")
    return envelopes


def is_lone_ask(envelopes: Sequence[Envelope]) -> bool:
    """Tell whether a frame, as it was read, brings one message, for whose answer somebody waits."""
    if not envelopes or envelopes[0][6] != 1:  # a run has more messages in one envelope
        return False
    return any(envelope[:1] == [ASK] for envelope in envelopes)


class ErrorReply(msgspec.Struct, frozen=True, array_like=True):
    """Why an ask has no reply, as data."""

    kind: str
    message: str
    code: str = ""
    error: ErrorData | None = None
    transition: tuple[str, str, str] | None = None
    """Source, target and detail of a transition that was refused."""
    site: CrashSite | None = None
    """Where a handler raised."""


_KINDS: dict[str, type[GristmillError]] = {
    kind.__name__: kind
    for kind in (
        ActorCrashed,
        ActorDied,
        ActorNotFoundError,
        AskCycle,
        AskTimeoutError,
        DecodeError,
        MailboxFullError,
        ReplyTypeError,
        UnknownMessageError,
        UsageError,
    )
}


def error_reply(error: GristmillError) -> ErrorReply:
    """Turn one of our errors into data."""
    if isinstance(error, InvalidStateTransition):
        transition = (error.source, error.target, error.detail)
        return ErrorReply("Reject", error.reason, error.code, transition=transition)
    if isinstance(error, Reject):
        return ErrorReply("Reject", error.reason, error.code)
    if isinstance(error, ActorCrashed):
        return ErrorReply("ActorCrashed", text_of(error), error=error.error, site=error.site)
    return ErrorReply(type(error).__name__, text_of(error), error=getattr(error, "error", None))


def to_exception(reply: ErrorReply) -> GristmillError:
    """Turn an error reply back into the exception that the asker gets."""
    if reply.transition is not None:
        source, target, detail = reply.transition
        return InvalidStateTransition(source, target, detail=detail)
    if reply.kind == "Reject":
        return Reject(reply.message, code=reply.code)
    kind = _KINDS.get(reply.kind, ActorError)
    if kind is ActorCrashed:
        return ActorCrashed(reply.message, reply.error, reply.site)
    return kind(reply.message)
