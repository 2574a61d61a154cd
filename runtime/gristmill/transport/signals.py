"""Signals: what workers say to each other about the ends of actors, on the data plane.

They go the way of messages, so that each stays behind what its sender sent before.
"""

from __future__ import annotations

import msgspec

from gristmill.ref import Address
from gristmill.supervision import ExitReason
from gristmill.transport.envelope import SIGNAL, pack

INCARNATION_SHIFT = 40
"""The number of a monitor has the incarnation of the watching process above so many bits."""


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="Watch"):
    """Say when the receiver's incarnation ends, to the sending process under this number."""

    number: int


class Unwatch(msgspec.Struct, frozen=True, array_like=True, tag="Unwatch"):
    """The watcher no longer wants to know."""

    number: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="Ended"):
    """What was watched under this number has ended."""

    number: int
    reason: ExitReason


class Join(msgspec.Struct, frozen=True, array_like=True, tag="Join"):
    """The sender is linked to the receiver."""

    sender: Address
    incarnation: int
    """That of the sender's process."""


class Part(msgspec.Struct, frozen=True, array_like=True, tag="Part"):
    """The actor with this key is no longer linked to the receiver."""

    sender: int


class Exit(msgspec.Struct, frozen=True, array_like=True, tag="Exit"):
    """An exit signal: of a link that breaks, or sent on purpose."""

    sender: Address
    reason: ExitReason
    linked: bool


class Probe(msgspec.Struct, frozen=True, array_like=True, tag="Probe"):
    """These actors, as keys and labels, wait for room: the last of them in the receiver's mailbox.

    See :mod:`gristmill.worker.turns.starving`.
    """

    chain: tuple[tuple[int, str], ...]


Signal = Watch | Unwatch | Ended | Join | Part | Exit | Probe

_encode = msgspec.msgpack.Encoder().encode
decode_signal = msgspec.msgpack.Decoder(Signal).decode


def signal_envelope(key: int, signal: Signal) -> bytes:
    """Pack a signal for the actor with this key; 0 where the number in it says for whom it is."""
    return pack((SIGNAL, key, _encode(signal)))
