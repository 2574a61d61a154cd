"""The files in which a process counts what it does with messages, and which outlive it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill.metrics import CounterPage, CounterPageError
from gristmill.metrics.wires import Wire, read_wires
from gristmill.node.deliveries import Tally
from gristmill.transport.control import FIRST_CLIENT, PeerInfo
from gristmill.worker.telemetry import counters
from gristmill.worker.telemetry.traces import PAGE, WIRES


class ClientCounters:
    """A client's counters, in a file if it is given one.

    Args:
        socket: the file is made beside it.
    """

    def __init__(self, socket: Path | None = None) -> None:
        self._cells: Any = [0] * len(counters.NAMES)
        if socket is not None:
            self._cells = CounterPage.create(f"{socket}{PAGE}", counters.NAMES).counters

    def __getitem__(self, place: int, /) -> int:
        """Read one."""
        return int(self._cells[place])

    def __setitem__(self, place: int, value: int, /) -> None:
        """Set one."""
        self._cells[place] = value

    def close(self) -> None:
        """Let go of the file; what is counted from now on nobody else sees."""
        self._cells = list(self._cells)


def read(peer: PeerInfo, page: Path) -> Tally | None:
    """Read those of a living or dead process; None if it has left none.

    Args:
        peer: the process.
        page: where its counter page is.
    """
    try:
        with CounterPage.open(page) as opened:
            counted = opened.read()
    except (OSError, CounterPageError):
        return None
    return tally_of(peer, counted, read_wires(page.with_suffix(WIRES)))


def tally_of(peer: PeerInfo, counted: dict[str, int], wires: tuple[Wire, ...]) -> Tally:
    """Put the counts of a process together.

    What a client sends to workers it counts only when it leaves, by its wires.
    """
    names = {name: counted[name] for name in counters.NAMES}
    if peer.address >= FIRST_CLIENT:
        names["sent"] += sum(wire.sent for wire in wires)
    return Tally(peer.address, peer.incarnation, names, wires)


def remove(page: Path) -> None:
    """Remove those of a dead client."""
    for suffix in (PAGE, WIRES):
        page.with_suffix(suffix).unlink(missing_ok=True)
