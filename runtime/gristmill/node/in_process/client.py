"""The client of a node in its own process: what waits runs the node."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gristmill.errors import AskTimeoutError, UsageError
from gristmill.messages import Request
from gristmill.node.client.connection import Connection
from gristmill.node.client.latch import Latch
from gristmill.node.client.post import ClientPost
from gristmill.node.client.requests import RequestRun, Waiter
from gristmill.node.client.sending import ControlSide
from gristmill.node.in_process.worker import LoopbackPlane
from gristmill.ref import Address
from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.node.in_process.world import LocalWorld

R = TypeVar("R")

CLIENT = b"client"
"""What the supervisor knows the client by."""


class LocalPost(ClientPost):
    """The client's post; an ``async`` ask runs the node on a helper thread."""

    def __init__(self, plane: LoopbackPlane, control: ControlSide, run_dir: Path) -> None:
        super().__init__(plane, _NoWake(), control, run_dir)
        self._outgoing.stragglers = _NoStragglers()
        self._local_plane = plane

    def _post_request(self, waiter: Waiter, body: bytes, *, wait: bool) -> None:
        """Send a request, and what is given back of others' arrays: nobody else would."""
        self._outgoing.give_back()
        super()._post_request(waiter, body, wait=wait)

    def _enter(self, waiter: Waiter | RequestRun) -> int:
        """Put open requests into the table, unless a handler asks, which nobody could answer."""
        if self._local_plane.inside:
            raise UsageError(
                "a handler asks through a ref of the client's, which would wait for itself; "
                "give the ref to the actor in a message or argument, and write await ctx.ask(...)"
            )
        return super()._enter(waiter)

    async def ask_async(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and await its reply."""
        deadline = self.deadline(timeout)
        opened: list[Waiter] = []
        given_up = threading.Event()

        def send() -> Waiter:
            waiter = self.send_request(to, request, deadline)
            opened.append(waiter)
            if given_up.is_set():
                self.abandon(waiter.number)
            return waiter

        try:
            waiter = await asyncio.to_thread(send)
        except asyncio.CancelledError:  # the thread goes on, so one of both takes it back
            given_up.set()
            for each in opened:
                self.abandon(each.number)
            raise
        try:
            await asyncio.to_thread(self.wait_for, waiter, deadline)
        except asyncio.CancelledError:
            self.abandon(waiter.number)
            waiter.settle(None, AskTimeoutError("it was abandoned"))  # so that its thread ends
            raise
        finally:
            self._pending.pop(waiter.number, None)
        if not waiter.done:
            raise waiter.timed_out(timeout)
        return waiter.result()  # type: ignore[no-any-return]  # decoded as the reply type


class _NoWake:
    """Nobody has to be woken: whoever waits runs the node in slices."""

    def send(self, *envelopes: bytes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _NoStragglers:
    """No tell is left behind: each is handed over at once."""

    awake = False
    looks_in: float | None = None

    def wake(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _LocalLink:
    """The client's end of the control plane."""

    def __init__(self, world: LocalWorld) -> None:
        self._world = world

    def start(self) -> None:
        """Start the node."""
        self._world.submit(self._world.begin)

    def send(self, message: c.ControlMessage) -> None:
        """Send a message to the supervisor, and let it act on it."""
        self._world.to_supervisor(CLIENT, message)
        self._world.settle()

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class LocalConnection(Connection):
    """The client's connection to a node in its own process."""

    has_own_process = False

    def __init__(self, world: LocalWorld) -> None:
        self.world = world
        plane = world.new_plane(c.FIRST_CLIENT, 1)
        world.to_client = self._on_control
        self._join(world.new_post(plane, self), _LocalLink(world), owner=True)

    def _wait_for(self, event: Latch, timeout: float | None) -> bool:
        return self.world.run(event.is_set, timeout)

    def _close_wires(self) -> None:
        self.world.close()
