"""Unix sockets: one that listens, and a stream to and from each peer; a frame has its length first.

What a stream has taken stays in the kernel until its receiver has read it, also when its sender has
died since. A frame that its sender could not write to its end is never seen.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from gristmill.errors import GristmillError
from gristmill.transport.wakeup import Wakeup

_LENGTH = struct.Struct("=Q")
_PREFIX = _LENGTH.size
_CHUNK = 1 << 16
"""Bytes that are read at once."""
_BUFFER = 1 << 20
"""Bytes that the kernel may hold for a receiver; it takes what it allows, 416 KB by default."""
_BACKLOG = 4096
_READABLE = select.EPOLLIN
_WRITABLE = select.EPOLLOUT | select.EPOLLONESHOT

_log = logging.getLogger("gristmill.transport")


class UnixSockets:
    """Implements :class:`~gristmill.transport.sockets.Sockets`.

    Args:
        path: of the socket that others reach this process by.
    """

    background = False

    def __init__(self, path: str) -> None:
        self.endpoint = f"unix://{path}"
        self._listener = _stream()
        try:
            self._listener.bind(path)
        except OSError as error:
            self._listener.close()
            raise GristmillError(f"can't listen on {self.endpoint}: {error}") from None
        self._listener.listen(_BACKLOG)
        self._wakeup = Wakeup()
        self._notices: deque[bytes] = deque()
        self._frames: deque[bytes] = deque()
        """What was read and not yet taken."""
        self._inlets: dict[int, _Inlet] = {}
        self._ways: WeakSet[UnixWay] = WeakSet()
        self._full = False
        """Whether there is no descriptor for who wants to connect."""
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._epoll.register(self._listener, _READABLE)
        self._epoll.register(self._wakeup.fd, _READABLE)
        _all.add(self)

    @property
    def fd(self) -> int:
        """The descriptor that is readable while there is something to read or room again."""
        return self._epoll.fileno()

    def receive(self) -> bytes | None:
        """Take the next frame, or None when there is none now."""
        frames = self._frames
        while not frames:
            if not self._read(self._poll(0)):
                return None
        return frames.popleft()

    take = receive

    def wait(self, seconds: float) -> bytes | None:
        """Take the next frame; None after ``seconds``, or earlier: for room, or a part of one."""
        frames = self._frames
        if not frames and self._read(self._poll(seconds)):
            return self.receive()
        return frames.popleft() if frames else None

    def _read(self, ready: list[tuple[int, int]]) -> bool:
        """Read from what is ready; give whether anything was."""
        found = False
        for fd, _ in ready:
            inlet = self._inlets.get(fd)
            if inlet is not None:
                found = True
                if not inlet.read(self._frames):
                    self._epoll.unregister(fd)
                    del self._inlets[fd]
                    inlet.socket.close()
            elif fd == self._wakeup.fd:
                found = True
                self._wakeup.clear()
                while self._notices:
                    self._frames.append(self._notices.popleft())
            elif fd == self._listener.fileno():
                found |= self._accept()
        return found

    def _accept(self) -> bool:
        """Let in who wants to connect; give whether anybody was."""
        found = False
        try:
            while True:
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                self._inlets[peer.fileno()] = _Inlet(peer)
                self._epoll.register(peer, _READABLE)
                found, self._full = True, False
        except OSError as error:  # nobody any more, or no descriptor for who waits: asked again
            if error.errno in (errno.EMFILE, errno.ENFILE) and not self._full:
                self._full = True
                _log.error("nobody can connect to %s: %s", self.endpoint, error.strerror)
        return found

    def open(self, endpoint: str) -> UnixWay:
        """Open the way to a process that has announced ``endpoint``."""
        way = UnixWay(endpoint.removeprefix("unix://"), self._epoll)
        self._ways.add(way)
        return way

    def notifier(self) -> UnixNotifier:
        """Give a way to here for another thread of this process."""
        return UnixNotifier(self._notices, self._wakeup)

    def close(self) -> None:
        """Receive nothing any more."""
        if not self._epoll.closed:
            Path(self.endpoint.removeprefix("unix://")).unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        self._epoll.close()
        self._wakeup.close()
        self._listener.close()
        for inlet in self._inlets.values():
            inlet.socket.close()
        self._inlets.clear()

    def abandon(self) -> None:
        """Close all descriptors: what they lead to belongs to the process this was forked from."""
        self._close()
        for way in self._ways:
            way.close(0.0)


class _Inlet:
    """What comes from one peer."""

    __slots__ = ("_missing", "_parts", "_receive", "socket")

    def __init__(self, stream: socket.socket) -> None:
        self.socket = stream
        self._receive = stream.recv
        self._parts: list[bytes] = []
        """Of a frame that has not come to its end."""
        self._missing = 0
        """Bytes of that frame; 0 while its length has not come."""

    def read(self, frames: deque[bytes]) -> bool:
        """Put frames that have all come behind ``frames``; give whether more may come."""
        try:
            data = self._receive(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if self._parts:
            self._parts.append(data)
            if len(data) < self._missing:
                self._missing -= len(data)
                return True
            data = b"".join(self._parts)
            self._parts = []
        at, size = 0, len(data)
        while size - at >= _PREFIX:
            begin = at + _PREFIX
            end = begin + _LENGTH.unpack_from(data, at)[0]
            if end > size:
                self._missing = end - size
                break
            frames.append(data[begin:end])
            at = end
        else:
            self._missing = 0
        if at < size:
            self._parts.append(data[at:])
        return True


class UnixWay:
    """Implements :class:`~gristmill.transport.sockets.Way`.

    Args:
        path: of the socket of the other process.
        epoll: is told when there is room again.
    """

    __slots__ = ("__weakref__", "_connected", "_epoll", "_lost", "_path", "_rest", "_send",
                 "_socket", "_watched")  # fmt: skip

    def __init__(self, path: str, epoll: select.epoll) -> None:
        self._path = path
        self._epoll = epoll
        self._socket = _stream()
        with suppress(OSError):  # a smaller one will do
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._send = self._socket.send
        self._rest: bytes | memoryview | None = None
        """Of a frame that found no room for all of it."""
        self._watched = False
        self._connected = False
        self._lost = False
        self._connect()

    def send(self, frame: bytes) -> bool:
        """Send a frame; False: no room now, and the same frame is to be offered again."""
        if not self._connected and not self._connect():
            return False
        data = self._rest or _LENGTH.pack(len(frame)) + frame
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the process is dead, which the supervisor process will say
            self._connected, self._lost = False, True
            return False
        if sent == len(data):
            self._rest = None
            return True
        self._rest = memoryview(data)[sent:]
        self._watch()
        return False

    def _connect(self) -> bool:
        """Connect, unless that is in vain."""
        if not self._lost:
            try:
                self._socket.connect(self._path)
                self._connected = True
            except BlockingIOError:  # too many do at this moment
                pass
            except OSError:
                self._lost = True
        return self._connected

    def _watch(self) -> None:
        """Be told once when there is room."""
        if self._watched:
            self._epoll.modify(self._socket, _WRITABLE)
        else:
            self._epoll.register(self._socket, _WRITABLE)
            self._watched = True

    def close(self, linger: float) -> None:
        """Close it; what was sent is in the kernel, and will be read."""
        del linger
        if self._watched and not self._epoll.closed:
            self._epoll.unregister(self._socket)
        self._socket.close()


class UnixNotifier:
    """Implements :class:`~gristmill.transport.sockets.Notifier`."""

    def __init__(self, notices: deque[bytes], wakeup: Wakeup) -> None:
        self._notices = notices
        self._wakeup = wakeup

    def send(self, frame: bytes) -> None:
        """Send a frame; never blocks."""
        self._notices.append(frame)
        self._wakeup.set()

    def close(self) -> None:
        """Do nothing: the sockets close what wakes them."""


_all: WeakSet[UnixSockets] = WeakSet()


def _abandon_all() -> None:
    for sockets in _all:
        sockets.abandon()


os.register_at_fork(after_in_child=_abandon_all)


def _stream() -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.setblocking(False)
    return stream
