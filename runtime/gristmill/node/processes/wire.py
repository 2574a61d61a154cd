"""Length-prefixed frames on a stream socket between two processes of one node."""

from __future__ import annotations

import socket
import struct

_LENGTH = struct.Struct("!I")


class FrameSocket:
    """Sends and receives whole frames; :attr:`open` turns false when the other end is gone."""

    def __init__(self, channel: socket.socket) -> None:
        self._socket = channel
        self._buffer = bytearray()
        self.open = True

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Send a frame; what is sent to a closed end is lost, and :attr:`open` says so."""
        try:
            self._socket.sendall(_LENGTH.pack(len(frame)) + frame)
        except OSError:
            self.open = False

    def receive(self) -> list[bytes]:
        """Give the frames that have come, without waiting for more."""
        try:
            while True:
                data = self._socket.recv(65536, socket.MSG_DONTWAIT)
                if not data:
                    self.open = False
                    break
                self._buffer += data
        except BlockingIOError:
            pass
        except OSError:
            self.open = False
        frames = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return frames

    def close(self) -> None:
        """Close this end."""
        self.open = False
        self._socket.close()
