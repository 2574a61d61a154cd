"""``ControlLink``: a process's way to the supervisor process.

A ROUTER in the supervisor process, a DEALER in each worker and client, on a thread of its own, so
that a computing handler never delays control.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import zmq

from gristmill.transport.control import ControlMessage, encode_control
from gristmill.transport.wakeup import Wakeup


class ControlLink:
    """A process's end of the control plane, on a thread of its own.

    ``deliver`` is called on that thread with every encoded message from the supervisor process.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        deliver: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._deliver = deliver
        self._outgoing: deque[bytes] = deque()
        self._wakeup = Wakeup()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="gristmill-control", daemon=True)

    def start(self) -> None:
        """Connect and start delivering."""
        self._thread.start()

    def send(self, message: ControlMessage) -> None:
        """Send a message to the supervisor process. Safe from any thread; never blocks."""
        self._outgoing.append(encode_control(message))
        self._wakeup.set()

    def close(self) -> None:
        """Send what waits and end the thread."""
        self._closing = True
        self._wakeup.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)
        self._wakeup.close()

    def _run(self) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 500)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(self._endpoint)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wakeup.fd, zmq.POLLIN)
        try:
            while not self._closing or self._outgoing:
                poller.poll()
                self._wakeup.clear()
                while self._outgoing:
                    socket.send(self._outgoing.popleft(), zmq.NOBLOCK)
                self._receive(socket)
        finally:
            socket.close()

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                encoded = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._deliver(encoded)
