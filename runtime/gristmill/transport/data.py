"""The data plane of one process: what waits for each peer, and the frames that it leaves in.

All that a process has to say to one peer in one turn leaves as one frame. Every incarnation of a
process has an endpoint of its own, is connected only after it announced that, and nothing here
ever blocks in send: a frame without room is kept.
"""

from __future__ import annotations

import os
import time
from collections import deque

from gristmill.metrics.wires import Wires
from gristmill.transport.envelope import count_messages, pack_frame
from gristmill.transport.outbound import NewOutbound, Outbound
from gristmill.transport.sockets import LINGER, Sockets, Way

MAX_FRAME = 512 * 1024
"""Coalesce envelopes into frames of about this many bytes."""

_clock = time.perf_counter_ns
_MOVED_LINGER = 10.0
"""A worker that is replaced reads until it has everything, unless it dies."""
_RETRY_SECONDS = 0.001
_LOOK_NS = 250_000
"""How long a wait looks for a frame before it sleeps."""
_SHARED_NS = 100_000
"""A look that takes so long has let others have the core, who want it: it is the last one."""
_ONE = [1]
_LOOK_AGAIN = 31
"""Waits that sleep at once after looks in vain, at most; 1 after the first one, then 3, 7, 15."""


class Peer:
    """What waits for one peer, and the way to it while it lives.

    Args:
        address: of the peer.
        dirty: where it is put when something waits for it.
        account: the address under which what it is sent is counted; its own if None.
        outbound: makes what holds what waits for it.
    """

    __slots__ = ("account", "address", "frames", "incarnation", "outbound", "sent", "way")

    def __init__(
        self,
        address: int,
        dirty: list[Peer],
        account: int | None = None,
        outbound: NewOutbound = Outbound,
    ) -> None:
        self.address = address
        self.account = address if account is None else account
        self.incarnation = 0
        self.way: Way | None = None
        self.outbound = outbound(lambda: dirty.append(self))
        self.frames: deque[bytes] = deque()
        """Frames that found no room."""
        self.sent = 0
        """Messages that were put into frames for this incarnation."""


class DataPlane:
    """Sends envelopes to peers and receives frames from them. One thread at a time.

    Args:
        sockets: carry the frames.
        address: of this process.
        incarnation: its incarnation.
        wires: counts what is sent; nobody's if None.
        outbound: makes what holds what waits for a peer.
    """

    def __init__(
        self,
        sockets: Sockets,
        address: int,
        incarnation: int,
        wires: Wires | None = None,
        outbound: NewOutbound = Outbound,
    ) -> None:
        self._sockets = sockets
        self._new_outbound = outbound
        self._address = address
        self._incarnation = incarnation
        self._peers: dict[int, Peer] = {}
        self._dirty: list[Peer] = []
        self._blocked: set[int] = set()
        self._sleepy = 0
        """Waits that sleep at once."""
        self._in_vain = 0
        """So many did after the last look in vain; 0 if one has found something since."""
        self.wires = wires or Wires()
        self.news = 0
        """The number of the last news that were heard here; frames carry it."""
        self.endpoint = sockets.endpoint
        self.fd = sockets.fd
        self.background = sockets.background
        self.take = sockets.take
        self.receive = sockets.receive
        self.notifier = sockets.notifier
        self.now = time.monotonic
        self.linger = time.sleep

    def identify(self, address: int, incarnation: int) -> None:
        """Take the address that was given to this process."""
        self._address = address
        self._incarnation = incarnation

    def receive_within(self, seconds: float, *, expected: bool = False) -> bytes | None:
        """Take the next frame, waiting for it ``seconds`` at most.

        A core that sleeps wakes up slowly and cold. So who expects an answer spends the first
        moments of the wait looking for it; if that was in vain, the next waits sleep at once.
        """
        if expected and self._sleepy:
            self._sleepy -= 1
        elif expected:
            frame = self._look()
            if frame is not None:
                self._in_vain = 0
                return frame
            self._sleepy = self._in_vain = min(2 * self._in_vain + 1, _LOOK_AGAIN)
        return self._sockets.wait(seconds)

    def _look(self) -> bytes | None:
        looked = _clock()
        until = looked + _LOOK_NS
        while looked < until:
            frame = self.receive()
            if frame is not None:
                return frame
            os.sched_yield()  # to ZeroMQ's thread, if there is one, and whoever wants this core
            before, looked = looked, _clock()
            if looked - before > _SHARED_NS:
                break
        return None

    def connect(self, address: int, incarnation: int, endpoint: str) -> None:
        """Open the way to a peer that has announced ``endpoint``."""
        peer = self._peer(address)
        self._close(peer)
        peer.incarnation = incarnation
        peer.sent = 0
        peer.way = self._sockets.open(endpoint)
        if peer.outbound.messages:
            self._dirty.append(peer)

    def move(self, address: int, incarnation: int, endpoint: str, fence: bytes) -> None:
        """Open the way to the worker that replaces a peer, behind ``fence`` on the way to that.

        What was sent before goes out by the old way, which closes when it is empty.
        """
        peer = self._peer(address)
        if peer.way is not None:
            old = self._peers[~address] = Peer(~address, self._dirty, account=address)
            old.incarnation, old.sent = peer.incarnation, peer.sent
            old.way, peer.way = peer.way, None
            old.frames, peer.frames = peer.frames, deque()
            peer.outbound.add(fence)
            self._queue_frames(old, *peer.outbound.take())
            self._blocked.discard(address)
            self._blocked.add(old.address)
        self.connect(address, incarnation, endpoint)
        self.flush()

    def disconnect(self, address: int, *, final: bool) -> None:
        """Close the way to a dead peer: what still waits for it counts as sent, and is lost.

        ``final``: nobody will have its address again.
        """
        peer = self._peer(address)
        self._count(peer, *peer.outbound.take())
        peer.frames.clear()
        self._blocked.discard(address)
        self._close(peer)
        if final:
            del self._peers[address]

    def incarnation_of(self, address: int) -> int:
        """Give the incarnation of the peer that envelopes for it go to; 0 if there is none."""
        peer = self._peers.get(address)
        return peer.incarnation if peer is not None else 0

    def waiting(self, address: int) -> int:
        """Count the messages that wait for a peer."""
        peer = self._peers.get(address)
        return peer.outbound.messages if peer is not None else 0

    @property
    def unsent(self) -> bool:
        """Whether a flush has something to do."""
        return bool(self._dirty or self._blocked)

    def post(self, address: int, envelope: bytes) -> None:
        """Put an envelope into the next frame for a peer."""
        self.outbound(address).add(envelope)

    def outbound(self, address: int) -> Outbound:
        """Give where to put what is for a peer; it stays the same."""
        return (self._peers.get(address) or self._peer(address)).outbound

    def send_now(self, address: int, envelope: bytes) -> bool:
        """Send an envelope behind what waits; give whether it must be flushed again later."""
        peer = self._peers.get(address)
        if peer is None or peer.way is None or self._dirty or self._blocked:
            self.post(address, envelope)
            return self.flush()
        if self._send_frame(peer, peer.way, self._frame(peer, [envelope], _ONE)):
            return False
        self._blocked.add(address)
        return True

    def flush(self) -> bool:
        """Send what waits; give whether some of it must be flushed again later."""
        if self._blocked:
            for address in tuple(self._blocked):
                if self._send_frames(self._peers[address]):
                    self._blocked.discard(address)
                    if address < 0:
                        self._close_moved(address)
        if self._dirty:
            dirty = self._dirty.copy()
            self._dirty.clear()
            for peer in dirty:
                if peer.way is None or not peer.outbound.messages:
                    continue
                if not self._send_envelopes(peer, peer.way):
                    self._blocked.add(peer.address)
        return bool(self._blocked)

    def close(self, linger: float = LINGER) -> None:
        """Close every socket; what can't be sent within ``linger`` seconds is lost."""
        late = time.monotonic() + linger
        while self.flush() and time.monotonic() < late:
            time.sleep(_RETRY_SECONDS)
        for peer in self._peers.values():
            self._close(peer, linger)
        self._sockets.close()

    def close_moved(self, address: int) -> None:
        """A peer that was replaced has ended; what still waits for it is lost."""
        if ~address in self._peers:
            self._blocked.discard(~address)
            self._close_moved(~address)

    def _close_moved(self, address: int) -> None:
        """Close the old way to a peer that was replaced."""
        old = self._peers.pop(address)
        self._close(old, _MOVED_LINGER)

    def _peer(self, address: int) -> Peer:
        peer = self._peers.get(address)
        if peer is None:
            peer = self._peers[address] = Peer(address, self._dirty, outbound=self._new_outbound)
        return peer

    @staticmethod
    def _close(peer: Peer, linger: float = LINGER) -> None:
        if peer.way is not None:
            peer.way.close(linger)
            peer.way = None

    def _send_envelopes(self, peer: Peer, way: Way) -> bool:
        envelopes, sizes = peer.outbound.take()
        if len(envelopes) == 1 or sum(map(len, envelopes)) <= MAX_FRAME:
            frame = self._frame(peer, envelopes, sizes)
            if not peer.frames:
                return self._send_frame(peer, way, frame)
            peer.frames.append(frame)
        else:
            self._queue_frames(peer, envelopes, sizes)
        return self._send_frames(peer)

    @staticmethod
    def _send_frame(peer: Peer, way: Way, frame: bytes) -> bool:
        sent = way.send(frame)
        if not sent:
            peer.frames.append(frame)
        return sent

    def _queue_frames(self, peer: Peer, envelopes: list[bytes], sizes: list[int]) -> None:
        """Split what is too much for one frame."""
        begin, room = 0, MAX_FRAME
        for at, envelope in enumerate(envelopes):
            if at > begin and len(envelope) > room:
                peer.frames.append(self._frame(peer, envelopes[begin:at], sizes[begin:at]))
                begin, room = at, MAX_FRAME
            room -= len(envelope)
        peer.frames.append(self._frame(peer, envelopes[begin:], sizes[begin:]))

    def _frame(self, peer: Peer, envelopes: list[bytes], sizes: list[int]) -> bytes:
        before = peer.sent
        messages = self._count(peer, envelopes, sizes)
        here = self._address, self._incarnation
        return pack_frame(*here, before, envelopes, _clock(), messages, self.news)

    def _count(self, peer: Peer, envelopes: list[bytes], sizes: list[int]) -> int:
        messages = count_messages(envelopes, sizes)
        if messages:
            peer.sent += messages
            self.wires.sent(peer.account, peer.incarnation, messages)
        return messages

    @staticmethod
    def _send_frames(peer: Peer) -> bool:
        if peer.way is None:
            return True
        frames = peer.frames
        while frames:
            if not peer.way.send(frames[0]):
                return False
            frames.popleft()
        return True


class NoticeSender:
    """Sends frames to a data plane's loop from another thread of the same process."""

    def __init__(self, plane: DataPlane) -> None:
        self._notifier = plane.notifier()

    def send(self, *envelopes: bytes) -> None:
        """Send envelopes as one frame; never blocks."""
        self._notifier.send(pack_frame(0, 0, 0, envelopes, _clock()))

    def close(self) -> None:
        """Close the way to the loop."""
        self._notifier.close()
