"""What carries frames between the processes of a node: Unix sockets, or ZeroMQ's.

Both keep the frames of one sender in order, lose none while both ends live, and never block in
send. A frame passes Unix sockets in two system calls, and wakes nobody but its receiver; ZeroMQ has
a thread of its own at each end, which must be woken too.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, Protocol

from gristmill.config import Transport

if TYPE_CHECKING:
    import zmq

LINGER: Final = 0.25
"""Seconds in which what was sent may still leave when everything is closed."""


class Way(Protocol):
    """The way to one other process."""

    def send(self, frame: bytes) -> bool:
        """Send a frame; False: no room now, and the same frame is to be offered again."""

    def close(self, linger: float) -> None:
        """Close it; what was sent may still leave, within ``linger`` seconds."""


class Sockets(Protocol):
    """The ways to other processes, and what comes from them."""

    endpoint: str
    """Where others send frames to."""
    background: bool
    """Whether a thread beside the caller's does the sending."""

    @property
    def fd(self) -> int:
        """A descriptor that becomes readable when frames or room may have come."""

    def take(self) -> bytes | None:
        """Take the frame that is likely to be there; :meth:`receive` is for when it may not be."""

    def receive(self) -> bytes | None:
        """Take the next frame, or None when there is none now."""

    def wait(self, seconds: float) -> bytes | None:
        """Take the next frame; None after ``seconds``, or earlier: for room, or a part of one."""

    def open(self, endpoint: str) -> Way:
        """Open the way to another process."""

    def notifier(self) -> Notifier:
        """Give a way to here for another thread of this process."""

    def close(self) -> None:
        """Receive nothing any more."""


class Notifier(Protocol):
    """The way from another thread of the same process."""

    def send(self, frame: bytes) -> None:
        """Send a frame; never blocks."""

    def close(self) -> None:
        """Close it."""


def available(transport: Transport) -> bool:
    """Tell whether this system has it."""
    return transport != "unix" or hasattr(select, "epoll")


def resolved(transport: Transport) -> Transport:
    """Give what ``auto`` is on this system."""
    if transport != "auto":
        return transport
    return "unix" if available("unix") else "zeromq"


def open_sockets(
    transport: Transport, context: zmq.Context[zmq.Socket[bytes]], path: str
) -> Sockets:
    """Make the sockets of a process.

    Args:
        transport: of its node; not ``auto``.
        context: for ZeroMQ.
        path: of the socket that others reach it by.

    Raises:
        GristmillError: it can't be made.
    """
    if transport == "unix":
        from gristmill.transport.sockets.unix import UnixSockets  # noqa: PLC0415 - needs epoll

        return UnixSockets(path)
    from gristmill.transport.sockets.zeromq import ZeroMQSockets  # noqa: PLC0415 - when used

    return ZeroMQSockets(context, path)


def path_of(endpoint: str) -> str:
    """Give the path of an endpoint's socket."""
    return endpoint.partition("://")[2]
