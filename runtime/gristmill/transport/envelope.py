"""Envelopes: what the data plane carries. A frame is a header and envelopes, one after another.

Each is a MessagePack array whose first item is its kind:

========  ==========================================================================
HEADER    process, incarnation, number of the first envelope, envelopes, sent at (ns)
TELL      target, sender, number, body       (number: at-least-once, else 0)
ASK       target, sender, request, deadline, body   (monotonic seconds, 0: none)
REPLY     request, body
ERROR     request, body                      (an :class:`ErrorReply`)
EVENT     channel, [targets], sender, body
CREDIT    target, messages                   (room in a mailbox, given back)
ACK       target name, number                (at-least-once: handled up to here)
NOTICE    body                               (from this process's own control thread)
========  ==========================================================================
"""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec

from gristmill.death import CrashSite
from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    ActorError,
    ActorNotFoundError,
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
)

HEADER, TELL, ASK, REPLY, ERROR, EVENT, CREDIT, ACK, NOTICE = range(9)

Envelope = list[Any]

_MOST_ITEMS = 2**20
"""Room for this many items at most is made on the word of an array's head."""

pack = msgspec.msgpack.Encoder().encode
"""Pack one envelope, given as a tuple. (msgpack's own packer takes three times as long.)"""


class FrameReader:
    """Splits frames into envelopes. A bad frame is reported and never spoils the next one."""

    def __init__(self) -> None:
        self._unpacker = _fresh_unpacker()

    def read(self, frame: bytes) -> list[Envelope]:
        """Give the envelopes of a frame, its header first.

        Raises:
            DecodeError: the frame is truncated, no MessagePack, or has no header.
        """
        try:
            self._unpacker.feed(frame)
            envelopes: list[Envelope] = list(self._unpacker)
            self._unpacker.read_bytes(0)  # refused while half an envelope is left over
            header = envelopes[0]
            complete = header[0] == HEADER and header[4] == len(envelopes) - 1
        except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException) as error:
            self._unpacker = _fresh_unpacker()
            raise DecodeError(f"a frame of {len(frame)} bytes can't be read: {error!r}") from None
        if not complete:
            self._unpacker = _fresh_unpacker()
            raise DecodeError(f"a frame of {len(frame)} bytes is truncated")
        return envelopes


def _fresh_unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        raw=False, max_buffer_size=2**31 - 1, max_array_len=_MOST_ITEMS, max_map_len=_MOST_ITEMS
    )


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
        return ErrorReply("ActorCrashed", str(error), error=error.error, site=error.site)
    return ErrorReply(type(error).__name__, str(error), error=getattr(error, "error", None))


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
