"""The files in which a process counts what it does with messages, and which outlive it."""

from __future__ import annotations

from pathlib import Path

from gristmill.metrics import CounterPage, CounterPageError
from gristmill.metrics.wires import Wire, Wires, read_wires
from gristmill.node.deliveries import Tally
from gristmill.transport.control import FIRST_CLIENT, PeerInfo
from gristmill.worker import counters
from gristmill.worker.traces import PAGE, WIRES


def create(socket: Path) -> tuple[counters.Cells, Wires]:
    """Make those of a client, beside its socket; give its counters and its wires."""
    page = CounterPage.create(f"{socket}{PAGE}", counters.NAMES)
    return page.counters, Wires(Path(f"{socket}{WIRES}"))


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
