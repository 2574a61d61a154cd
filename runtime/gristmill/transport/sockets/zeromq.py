"""ZeroMQ: one PULL socket bound, one PUSH socket for each peer.

ZeroMQ loses messages silently unless told not to, so: a peer is connected only after it announced
a bound endpoint, PUSH sockets are IMMEDIATE (nothing is queued for a peer that is not there),
EAGAIN keeps the frame, and every incarnation has an endpoint of its own.
"""

from __future__ import annotations

import zmq

from gristmill.errors import GristmillError
from gristmill.transport.sockets import LINGER

_READABLE = int(zmq.POLLIN)
_NOBLOCK = int(zmq.NOBLOCK)
_HIGH_WATER = 1000


class ZeroMQSockets:
    """Implements :class:`~gristmill.transport.sockets.Sockets`.

    Args:
        context: ZeroMQ's.
        path: of the socket that others reach this process by.
    """

    background = True

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: str) -> None:
        self._context = context
        self._patience = -1
        self.endpoint = f"ipc://{path}"
        self._pull = context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.LINGER, 0)
        self._pull.setsockopt(zmq.RCVHWM, _HIGH_WATER)
        try:
            self._pull.bind(self.endpoint)
        except zmq.ZMQError as error:
            self._pull.close()
            raise GristmillError(f"can't listen on {self.endpoint}: {error}") from None
        self._notices = f"inproc://notices-{id(self):x}"
        self._pull.bind(self._notices)

    @property
    def fd(self) -> int:
        """The edge-triggered descriptor that becomes readable when frames may have arrived."""
        return int(self._pull.getsockopt(zmq.FD))

    def take(self) -> bytes | None:
        """Take the frame that is likely to be there."""
        try:
            return self._pull.recv(_NOBLOCK)
        except zmq.Again:
            return None

    def receive(self) -> bytes | None:
        """Take the next frame, or None when there is none now."""
        events: int = self._pull.getsockopt(zmq.EVENTS)  # type: ignore[assignment]  # an int option
        return self._pull.recv(_NOBLOCK) if events & _READABLE else None  # cheaper than to fail

    def wait(self, seconds: float) -> bytes | None:
        """Take the next frame, waiting for it ``seconds`` at most."""
        milliseconds = max(1, round(seconds * 1000))
        if milliseconds != self._patience:
            self._pull.setsockopt(zmq.RCVTIMEO, milliseconds)
            self._patience = milliseconds
        try:
            return self._pull.recv()
        except zmq.Again:
            return None

    def open(self, endpoint: str) -> ZeroMQWay:
        """Open the way to a process that has announced ``endpoint``."""
        return ZeroMQWay(self._context, endpoint)

    def notifier(self) -> ZeroMQNotifier:
        """Give a way to here for another thread of this process."""
        return ZeroMQNotifier(self._context, self._notices)

    def close(self) -> None:
        """Receive nothing any more."""
        self._pull.close()


class ZeroMQWay:
    """Implements :class:`~gristmill.transport.sockets.Way`."""

    __slots__ = ("_socket",)

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, round(LINGER * 1000))
        self._socket.connect(endpoint)

    def send(self, frame: bytes) -> bool:
        """Send a frame; False if there is no room now."""
        try:
            self._socket.send(frame, _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, linger: float) -> None:
        """Close it; what was sent may still leave, within ``linger`` seconds."""
        self._socket.close(linger=round(linger * 1000))


class ZeroMQNotifier:
    """Implements :class:`~gristmill.transport.sockets.Notifier`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(endpoint)

    def send(self, frame: bytes) -> None:
        """Send a frame; never blocks."""
        self._socket.send(frame, _NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
