"""What a client's post needs of its data plane: over sockets, or inside one process."""

from __future__ import annotations

from typing import Protocol

from gristmill.metrics.wires import Wires
from gristmill.transport.outbound import Outbound


class Plane(Protocol):
    """Envelopes out, frames in."""

    wires: Wires
    """Counts what leaves and what comes."""
    news: int
    """The number of the last news that were heard here; frames carry it."""

    @property
    def endpoint(self) -> str:
        """Where others send frames to."""

    @property
    def fd(self) -> int:
        """A descriptor that becomes readable when frames may have arrived."""

    def now(self) -> float:
        """Give monotonic time in seconds, the same clock for all processes of a node."""

    def linger(self, seconds: float, /) -> None:
        """Let frames that are still in the pipe arrive, ``seconds`` at most."""

    def identify(self, address: int, incarnation: int) -> None:
        """Take the address that was given to this process."""

    def receive(self) -> bytes | None:
        """Take the next frame, or None when there is none now."""

    def receive_within(self, seconds: float, *, expected: bool = False) -> bytes | None:
        """Take the next frame, waiting for it ``seconds`` at most.

        ``expected``: it is likely to come at once.
        """

    def connect(self, address: int, incarnation: int, endpoint: str) -> None:
        """Open the way to a peer."""

    def move(self, address: int, incarnation: int, endpoint: str, fence: bytes) -> None:
        """Open the way to the worker that replaces a peer, behind ``fence`` on the way to that."""

    def close_moved(self, address: int) -> None:
        """A peer that was replaced has ended; what still waits for it is lost."""

    def disconnect(self, address: int, *, final: bool) -> None:
        """Close the way to a dead peer; what still waits for it is lost.

        ``final``: nobody will have its address again.
        """

    def incarnation_of(self, address: int) -> int:
        """Give the incarnation of the peer that envelopes for ``address`` go to."""

    @property
    def unsent(self) -> bool:
        """Whether a flush has something to do."""

    def post(self, address: int, envelope: bytes) -> None:
        """Put an envelope into the next frame for a peer."""

    def outbound(self, address: int) -> Outbound:
        """Give where to put what is for a peer; it stays the same."""

    def send_now(self, address: int, envelope: bytes) -> bool:
        """Send an envelope behind what waits; give whether it must be flushed again."""

    def flush(self) -> bool:
        """Send what waits; give whether it must be flushed again."""

    def close(self) -> None:
        """Close every way."""


class Wake(Protocol):
    """Wakes the thread that waits for a frame."""

    def send(self, *envelopes: bytes) -> None:
        """Have it look again."""

    def close(self) -> None:
        """Wake nobody any more."""
