"""The post of a client that records its single messages: what it sends, and how it waits."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gristmill.messages import Command, Event, Request
from gristmill.metrics import CLIENT
from gristmill.metrics.sent import SentStats
from gristmill.metrics.tracing import ProcessTrace, Recorder, Slice
from gristmill.metrics.units import unqualified
from gristmill.node.client.account import SEND, SER, ClientAccount
from gristmill.node.client.grouping import Group
from gristmill.node.client.plane import Plane, Wake
from gristmill.node.client.post import ClientPost
from gristmill.node.client.requests import PLACE_BITS, RequestRun, Waiter
from gristmill.node.client.sending import ControlSide
from gristmill.node.tallies import ClientCounters
from gristmill.ref import Address, DeliveryGuarantee

R = TypeVar("R")


class TracedAccount(ClientAccount):
    """The accounting of a client that records what is added to it."""

    unstamped = 0

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def asked(self, to: Address, kind: type, requests: int, size: int, begun: int) -> int:
        """Requests have been encoded; give the time."""
        now = super().asked(to, kind, requests, size, begun)
        self._record(begun, now, SER)
        return now

    def journaled(self, to: Address, kind: type, size: int, begun: int) -> int:
        """A message that is told at least once has been encoded; give the time."""
        now = super().journaled(to, kind, size, begun)
        self._record(begun, now, SER)
        return now

    def add(self, place: int, begun: int) -> int:
        """Add the time since ``begun`` to a class; give the time."""
        now = super().add(place, begun)
        self._record(begun, now, place)
        return now

    def stamp(self, row: SentStats, size: int, began: int, encoded: int, posting: int) -> int:
        """Add what a tell has taken until now; give the time."""
        now = super().stamp(row, size, began, encoded, posting)
        self._record(began, encoded, SER)
        self._record(posting, now, SEND)
        return now

    def _record(self, begin: int, end: int, place: int) -> None:
        self._recorder.add(Slice(begin, end, place, self._recorder.thread()))


class TracedPost(ClientPost):
    """Makes a slice of each call that sends, and says which messages leave when."""

    def __init__(
        self,
        recorder: Recorder,
        plane: Plane,
        wake: Wake,
        control: ControlSide,
        run_dir: Path,
        counted: ClientCounters,
    ) -> None:
        super().__init__(plane, wake, control, run_dir, counted, TracedAccount(recorder))
        self._recorder = recorder

    @contextmanager
    def _slice(self, what: str) -> Iterator[None]:
        begun = self._recorder.clock()
        try:
            yield
        finally:
            self._recorder.slice(begun, what)

    def tell(self, to: Address, message: Command | Event, delivery: DeliveryGuarantee) -> None:
        """Send a message; waits for room when there is none."""
        with self._slice(f"tell {_named(to, type(message).__qualname__)}"):
            super().tell(to, message, delivery)

    def _send_together(self, batch: list[tuple[Address, bytes]]) -> None:
        with self._slice(f"tell x{len(batch)}"):
            super()._send_together(batch)

    def ask(self, to: Address, request: Request[R], timeout: float | None) -> R:
        """Send a request and wait for its reply."""
        with self._slice(f"ask {_named(to, type(request).__qualname__)}"):
            return super().ask(to, request, timeout)

    def _post_request(self, waiter: Waiter, body: bytes, *, wait: bool) -> None:
        with self._slice(f"request {_named(waiter.to, waiter.kind.name)}"):
            super()._post_request(waiter, body, wait=wait)

    def send_run(
        self, requests: Group, deadline: float | None, notify: Callable[[], None] | None = None
    ) -> RequestRun:
        """Send requests of one type to one actor."""
        name = _named(requests.to, requests.kind.__qualname__)
        what = f"request {name} x{len(requests.requests)}"
        with self._slice(what):
            return super().send_run(requests, deadline, notify)

    def _enter(self, waiter: Waiter | RequestRun) -> int:
        number = super()._enter(waiter)
        count = len(waiter.values) if isinstance(waiter, RequestRun) else 1
        self._recorder.sent(number << PLACE_BITS, count)
        return number

    def publish(
        self, channel: str, homes: dict[int, list[int]], event: Event, *, heard_here: bool
    ) -> None:
        """Publish an event to subscribers."""
        with self._slice(f"publish {channel}"):
            super().publish(channel, homes, event, heard_here=heard_here)


def traced(recorder: Recorder, address: int, begin: int) -> ProcessTrace:
    """Give what this client has recorded since ``begin``.

    Args:
        recorder: the client's.
        address: the client's.
        begin: perf_counter ns.
    """
    records, dropped = recorder.since(begin)
    alive = {each.ident: each.name for each in threading.enumerate()}
    seen = {record.thread for record in records if isinstance(record, Slice)}
    threads = {thread: alive.get(thread, f"thread {thread}") for thread in sorted(seen)}
    return ProcessTrace(CLIENT, "client", os.getpid(), address, records, dropped, threads)


def _named(to: Address, message: str) -> str:
    return f"{unqualified(to.type) or '?'}.{message}"
