"""The trace of a simulation: one line for everything that happened, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from gristmill.transport.codec import message_tag
from gristmill.transport.control import ClientHello, ControlMessage, Metrics
from gristmill.transport.envelope import (
    ACK,
    ASK,
    CREDIT,
    ERROR,
    EVENT,
    FENCE,
    REPLY,
    TELL,
    ErrorReply,
    read_frame,
)

_What = str | bytes | ControlMessage


class Trace:
    """What has happened so far; lines are made when they are read."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, str, _What]] = []

    def note(self, now: float, who: str, what: _What) -> None:
        """Take in what happened.

        Args:
            now: when, in virtual seconds.
            who: to whom, as ``w1`` or ``w1 -> w2``.
            what: a sentence, a frame or a message of the control plane.
        """
        self._entries.append((now, who, what))

    def lines(self) -> list[str]:
        """Give a line for everything so far, in order."""
        return [f"{now:.6f} {who}: {_describe(what)}" for now, who, what in self._entries]


def _describe(what: _What) -> str:
    if isinstance(what, str):
        return what
    if isinstance(what, bytes):
        digest = hashlib.blake2b(what, digest_size=4).hexdigest()
        return f"[{digest}] " + ", ".join(_envelopes(what))
    told = type(what)
    return told.__name__ if told in _OF_THE_PROCESS else _shorten(repr(what))


def _envelopes(frame: bytes) -> Iterator[str]:
    for envelope in read_frame(frame)[1:]:
        yield _envelope(envelope)


def _envelope(envelope: list[Any]) -> str:
    match envelope:
        case [kind, target, _, number, bodies] if kind == TELL:
            counted = f" {number}" if number else ""
            return f"tell{counted} #{target} {_names(bodies)}"
        case [kind, target, _, _, number, bodies] if kind == ASK:
            return f"ask {number} #{target} {_names(bodies)}"
        case [kind, number, bodies] if kind == REPLY:
            return f"reply {number}" + (f" and {len(bodies) - 1} more" if len(bodies) > 1 else "")
        case [kind, number, body] if kind == ERROR:
            error = msgspec.msgpack.decode(body, type=ErrorReply)
            return f"error {number} {error.kind}: {_shorten(error.message)}"
        case [kind, channel, targets, _, _, bodies] if kind == EVENT:
            return f"event {channel} {_names(bodies)} for {targets}"
        case [kind, target, places] if kind == CREDIT:
            return f"credit #{target} {places}"
        case [kind, target, number] if kind == ACK:
            return f"ack {target} {number}"
        case [kind, number] if kind == FENCE:
            return f"fence {number}"
    return f"envelope of kind {envelope[0]}"


def _names(bodies: list[bytes]) -> str:
    return " ".join(map(_name, bodies))


def _name(body: bytes) -> str:
    return message_tag(body).rpartition(":")[2]


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST = 200
_OF_THE_PROCESS = (ClientHello, Metrics)
"""They carry the number of the process that simulates."""
