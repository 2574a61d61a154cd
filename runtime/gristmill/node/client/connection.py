"""``Connection``: a client's end of the control plane, and the refs that it makes."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq

from gristmill import errors
from gristmill.config import Transport
from gristmill.errors import (
    AskTimeoutError,
    GristmillError,
    NodeConnectError,
    NodeError,
    NodeStoppedError,
)
from gristmill.messages import Event
from gristmill.metrics.tracing import Recorder
from gristmill.metrics.wires import Wires
from gristmill.node import tallies
from gristmill.node.client.account import IDLE
from gristmill.node.client.latch import Latch
from gristmill.node.client.post import ClientPost
from gristmill.node.client.traced_post import TracedPost
from gristmill.ref import Address
from gristmill.supervision import ExitReason
from gristmill.transport import control as c
from gristmill.transport.codec import for_dead_letter, message_tag
from gristmill.transport.control_link import ControlLink
from gristmill.transport.data import DataPlane, NoticeSender
from gristmill.transport.marked import MarkedOutbound
from gristmill.transport.outbound import Outbound
from gristmill.transport.results import error_of
from gristmill.transport.segment_directory import Process
from gristmill.transport.sockets import open_sockets
from gristmill.worker.telemetry.traces import WIRES
from gristmill.worker.turns.dead_letter_log import DeadLetterLog

_ERRORS: dict[int, type[NodeError]] = {
    2: errors.WorkerBootError,
    5: errors.RestartIntensityError,
}


class Link(Protocol):
    """A client's end of the control plane."""

    def start(self) -> None:
        """Connect and start delivering."""

    def send(self, message: c.ControlMessage) -> None:
        """Send a message to the supervisor process."""

    def close(self) -> None:
        """Send what waits and end."""


class Connection:
    """One client of one node: its data plane and its control link."""

    has_own_process = True
    """Whether the client is a process beside those of the node."""
    recorder: Recorder | None = None
    """Records the single messages of the client, and the workers record theirs."""

    def __init__(
        self,
        run_dir: Path,
        control: str,
        transport: Transport,
        *,
        owner: bool,
        recorder: Recorder | None = None,
    ) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context = context
        name = "client" if owner else f"client-{os.getpid()}-{os.urandom(2).hex()}"
        sockets = open_sockets(transport, context, f"{run_dir}/{name}")
        counted = tallies.ClientCounters(run_dir / name)
        wires = Wires(run_dir / f"{name}{WIRES}")
        outbound = partial(MarkedOutbound, recorder) if recorder is not None else Outbound
        plane = DataPlane(sockets, 0, 1, wires, outbound)
        wake = NoticeSender(plane)
        post = (
            TracedPost(recorder, plane, wake, self, run_dir, counted)
            if recorder is not None
            else ClientPost(plane, wake, self, run_dir, counted)
        )
        self.recorder = recorder
        self._join(post, ControlLink(context, control, self._on_control), owner=owner)

    def _join(self, post: ClientPost, link: Link, *, owner: bool) -> None:
        self.post = post
        self._link = link
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Pending] = {}
        self._welcome = Latch()
        self._ended = Latch()
        self._error: GristmillError | None = None
        self.address = 0
        self.subscribers: dict[str, tuple[tuple[int, int], ...]] = {}
        self._dead_letters = DeadLetterLog(logging.getLogger("gristmill.node"), post.plane.now)
        self._link.start()
        self._link.send(c.ClientHello(self.post.plane.endpoint, os.getpid(), owner))

    def wait_until_welcome(self, timeout: float, is_alive: Callable[[], bool]) -> None:
        """Wait for the node to be up.

        Args:
            timeout: seconds to wait.
            is_alive: tells whether the supervisor process lives.

        Raises:
            NodeError: the node could not start; says why.
            NodeConnectError: nobody answers.
        """
        waited = 0.0
        while not self._wait(self._welcome, 0.05):
            if self._ended.is_set() or not is_alive():
                self._wait(self._ended, 0.5)
                raise self._error or NodeError("the supervisor process died while it started")
            waited += 0.05
            if waited > timeout:
                raise NodeConnectError(f"the node did not answer within {timeout:g} s")

    def call(self, operation: c.Operation, kind: Any, timeout: float | None = 30.0) -> Any:  # noqa: ANN401 - a ``kind``
        """Have the supervisor process do something; give the result, decoded as ``kind``.

        Raises:
            GristmillError: it refused; says why.
            NodeStoppedError: the node has ended.
            UsageError: this process was forked from the client.
        """
        if self._error is not None:
            raise self._error
        self.post.check()
        self.post.flush()  # what was told before is on its way before
        number = next(self._numbers)
        pending = self._calls[number] = _Pending()
        self._link.send(c.Call(number, operation))
        try:
            if not self._wait(pending.event, timeout):
                raise NodeConnectError(
                    f"the supervisor process did not answer {type(operation).__name__} within "
                    f"{timeout:g} s"
                )
        finally:
            self._calls.pop(number, None)
        if pending.result is None:
            raise self._error or NodeStoppedError("the node has stopped")
        if pending.result.error:
            raise error_of(pending.result)
        return msgspec.msgpack.decode(pending.result.value, type=kind)

    def stop_actor(self, to: Address, reason: ExitReason, timeout: float) -> None:
        """Stop an actor in order and wait for its end, ``timeout`` seconds at most."""
        try:
            self.call(c.StopChild(to.key, reason), type(None), timeout=timeout)
        except NodeConnectError:
            raise AskTimeoutError(
                f"{to.label} did not stop within {timeout:g} s; it still will"
            ) from None

    def bury(self, to: Address, body: bytes, reason: str = "") -> None:
        """Make a message a dead letter; without a reason, because its actor has stopped."""
        label = to.name or f"#{to.key}"
        kept, reason = for_dead_letter(body, reason or f"{label} has stopped")
        tag = message_tag(body)
        self._dead_letters.tell(tag, reason, label)
        letter = c.DeadLetter(reason, label, tag, kept, key=to.key)
        self._link.send(letter)

    def resend(self, number: int, timeout: float | None = 30.0) -> c.DeadLetter:
        """Send the message of a dead letter to its actor again, as a tell; give the letter.

        It is removed when its message is on its way: a client that is killed in between leaves it.

        Raises:
            UsageError: there is no such letter any more, or it has no body.
            ActorNotFoundError: the actor that it was for does not exist any more.
        """
        found = self.call(c.FindDeadLetter(number), tuple[c.DeadLetter, Address], timeout)
        letter: c.DeadLetter = found[0]
        self.post.send_again(found[1], letter.body)
        self.call(c.RemoveDeadLetter(number), type(None), timeout)
        return letter

    def send(self, message: c.ControlMessage) -> None:
        """Send a message to the supervisor process."""
        self._link.send(message)

    # --- FanOut ---

    def fan_out(self, channel: str, event: Event) -> None:
        """Send an event to every subscriber of a channel."""
        homes: dict[int, list[int]] = {}
        for address, key in self.subscribers.get(channel, ()):
            homes.setdefault(address, []).append(key)
        own = homes.pop(self.address, None)
        self.post.publish(channel, homes, event, heard_here=own is not None)

    def attach(self, channel: str, subscriber: int, *, wanted: bool) -> None:
        """Begin or end the client's own subscription; wait until publishers know."""
        self._link.send(c.Subscribe(channel, self.address, subscriber, wanted))
        self.call(c.AwaitSubscriptions(), type(None))

    def _on_control(self, encoded: bytes) -> None:
        match c.decode_from_supervisor(encoded):
            case c.Welcome(address, node_id, peers, directory):
                self.address = address
                self.post.node = node_id
                self.post.peers.here = address
                self.post.plane.identify(address, 1)
                self.post.arrays.pool.identify(Process(address, 1))
                for peer in peers:
                    self.post.peers.up(peer)
                for target in directory:
                    self.post.located(target)
                self._welcome.set()
            case c.PeerUp(peer):
                self.post.peers.up(peer)
            case c.PeerDown(address, _, name, reason, final, death):
                self.post.peers.down(address, name, reason, death, final=final)
            case c.PeerMoved(peer):
                self.post.peers.moved(peer)
            case c.Departed(address, incarnation):
                self.post.peers.departed(address, incarnation)
            case c.News(number, what):
                self._on_news(what)
                self.post.plane.news = number
            case c.Placed(address):
                self.post.keyed.placed(address)
            case c.NotPlaced(name, why):
                self.post.keyed.not_placed(name, why)
            case c.Retire(number, home, names):
                self.post.keyed.retire(number, home, names)
            case c.Members() as members:
                self.post.keyed.members(members)
            case c.Subscribers(channel, targets, number):
                self.subscribers[channel] = targets
                if number:
                    self._link.send(c.Heard(number))
            case c.Result() as result:
                pending = self._calls.get(result.number)
                if pending is not None:
                    pending.result = result
                    pending.event.set()
            case c.NodeStopped(exit_code, message):
                kind = _ERRORS.get(exit_code, NodeStoppedError)
                self.lost(kind(message))
            case other:
                raise ValueError(f"a client does not understand {type(other).__name__}")

    def _on_news(self, what: c.Registered | c.Unregistered | c.Grouped | None) -> None:
        match what:
            case c.Registered(address):
                self.post.located(address)
            case c.Unregistered(_, name):
                self.post.unlocated(name)

    def lost(self, error: GristmillError) -> None:
        """The node has ended: whatever waits is told."""
        if self._error is None:
            self._error = error
        self._ended.set()
        self.post.stopped(self._error)
        for pending in list(self._calls.values()):
            pending.event.set()

    @property
    def error(self) -> GristmillError | None:
        """Why the node has ended, if it has."""
        return self._error

    def wait_until_ended(self, timeout: float | None) -> bool:
        """Wait for the node's end; give whether it came."""
        return self._wait(self._ended, timeout)

    def close(self) -> None:
        """Close everything."""
        self._link.close()
        self.post.close()
        self._close_wires()

    def _wait(self, event: Latch, timeout: float | None) -> bool:
        """Wait for the node, which is idle time of the client's; give whether it came."""
        account = self.post.account
        begun = account.clock()
        try:
            return self._wait_for(event, timeout)
        finally:
            account.add(IDLE, begun)

    def _wait_for(self, event: Latch, timeout: float | None) -> bool:
        return event.wait(timeout)

    def _close_wires(self) -> None:
        self._context.term()


class _Pending:
    __slots__ = ("event", "result")

    def __init__(self) -> None:
        self.event = Latch()
        self.result: c.Result | None = None
