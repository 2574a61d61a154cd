"""``Reading``: whoever waits reads for all.

One waiting thread leads and reads the socket, and hands over what is not its own; when it leaves,
another waiting thread takes over. An asyncio loop reads when its socket is readable and no thread
leads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gristmill.node.client.account import DESER, IDLE, ClientAccount
from gristmill.node.client.outgoing import Outgoing

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("gristmill.node")

BLOCKED_WAIT = 0.001
"""Seconds after which what found no room is sent again."""
_LEAVES_WITHIN = 5.0
"""Seconds in which a reading thread notices that it waits for nothing any more."""
_SLICE = 0.1
"""Seconds after which a reading thread looks at its deadline again."""


class Wait(Protocol):
    """What a thread waits for."""

    done: bool
    event: threading.Event | None
    """Wakes it while another thread reads; to be set after ``done``."""


class Bell:
    """Ends the wait of one thread, from any other one that reads."""

    def __init__(self) -> None:
        self.done = False
        self.event: threading.Event | None = None

    def ring(self) -> None:
        """End the wait."""
        self.done = True
        if self.event is not None:
            self.event.set()


class Reading:
    """Brings frames from the plane to ``take``, in one thread at a time.

    Args:
        outgoing: its plane is read, and flushed while a thread waits.
        take: takes a frame in.
        account: is told how long threads wait.
    """

    def __init__(
        self, outgoing: Outgoing, take: Callable[[bytes], None], account: ClientAccount
    ) -> None:
        self._outgoing = outgoing
        self._plane = outgoing.plane
        self._take = take
        self._account = account
        self._leader = threading.Lock()
        self._followers: set[Wait] = set()
        self._loops: dict[asyncio.AbstractEventLoop, int] = {}
        self._fd = self._plane.fd  # asked for now: a loop may leave when the socket is closed

    @property
    def led(self) -> bool:
        """Whether a thread reads now."""
        return self._leader.locked()

    # --- threads ---

    def until(self, waiter: Wait, deadline: float | None) -> None:
        """Read for all until ``waiter`` is done, or wait while another thread reads.

        Args:
            waiter: what to wait for.
            deadline: monotonic seconds after which it waits no more; None for never.
        """
        while not waiter.done:
            if self._leader.acquire(blocking=False):
                try:
                    if not self._lead(waiter, deadline):
                        return
                finally:
                    self._leader.release()
                    if self._followers or self._loops:
                        self._hand_over()
            elif not self._follow(waiter, deadline):
                break
        if waiter.event is not None and not self._leader.locked():
            self._hand_over()  # it may have been chosen to read when it was done already

    def _lead(self, waiter: Wait, deadline: float | None) -> bool:
        plane, account = self._plane, self._account
        while not waiter.done:
            patience = _SLICE
            if deadline is not None:
                patience = deadline - self._plane.now()
                if patience <= 0:
                    self._take_all(plane.receive())  # for who begins to wait late
                    return waiter.done
                patience = min(patience, _SLICE)
            if plane.unsent:
                self._outgoing.flush()
                patience = min(patience, BLOCKED_WAIT) if plane.unsent else patience
            begun = account.clock()
            frame = plane.receive_within(patience, expected=True)
            begun = account.add(IDLE, begun)
            if frame is not None:
                self._take(frame)
                account.add(DESER, begun)
        return True

    def _follow(self, waiter: Wait, deadline: float | None) -> bool:
        event = waiter.event = threading.Event()
        self._followers.add(waiter)
        try:
            if waiter.done or not self._leader.locked():
                return True
            remaining = None if deadline is None else deadline - self._plane.now()
            if remaining is not None and remaining <= 0:
                return False
            event.wait(remaining)
        finally:
            self._followers.discard(waiter)
        return True

    def once(self, seconds: float) -> None:
        """Read what comes within ``seconds``, unless another thread reads."""
        if not self._leader.acquire(timeout=seconds):
            return
        try:
            begun = self._account.clock()
            frame = self._plane.receive_within(seconds)
            self._account.add(IDLE, begun)
            self._take_all(frame)
        finally:
            self._leader.release()
            self._hand_over()

    def available(self) -> None:
        """Read what is there, unless a thread is reading; send what waits."""
        if not self._leader.acquire(blocking=False):
            return
        try:
            self._take_all(self._plane.receive())
        finally:
            self._leader.release()
            self._wake_follower()  # it may have begun to wait while this read
        with self._outgoing.lock:
            blocked = self._plane.flush()
        if blocked:
            for loop in list(self._loops):
                loop.call_soon_threadsafe(loop.call_later, BLOCKED_WAIT, self.available)

    def _take_all(self, frame: bytes | None) -> None:
        """Take a frame in, and what is there behind it."""
        begun = self._account.clock()
        while frame is not None:
            self._take(frame)
            begun = self._account.add(DESER, begun)
            frame = self._plane.receive()

    def _hand_over(self) -> None:
        """Let another waiting thread, or a waiting loop, read from now on."""
        if not self._wake_follower():
            for loop in list(self._loops):
                with contextlib.suppress(RuntimeError):  # it was closed at this moment
                    loop.call_soon_threadsafe(self.available)

    def _wake_follower(self) -> bool:
        for follower in list(self._followers):
            event = follower.event
            if not follower.done and event is not None:
                event.set()
                return True
        return False

    def end(self) -> None:
        """Let nobody read any more, as soon as the thread that reads has left.

        Whoever waits must have been told before: its wait ends within a moment.
        """
        if not self._leader.acquire(timeout=_LEAVES_WITHIN):
            _log.error("a thread still reads for a node that has ended")

    # --- loops ---

    def join_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read in a running loop too, from now on."""
        users = self._loops.get(loop, 0)
        self._loops[loop] = users + 1
        if not users:
            loop.add_reader(self._fd, self.available)
            loop.call_soon(self.available)  # the descriptor is edge-triggered

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Undo one :meth:`join_loop`."""
        self._loops[loop] -= 1
        if not self._loops[loop]:
            del self._loops[loop]
            loop.remove_reader(self._fd)
