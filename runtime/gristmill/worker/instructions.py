"""What the supervisor process says to a worker, and who in the worker's core does it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore


def carry_out(core: WorkerCore, encoded: bytes) -> None:
    """Take in a message of the supervisor process, and have whom it concerns do what it says.

    Raises:
        msgspec.DecodeError: it can't be read.
        ValueError: it is none that a worker understands.
    """
    shell, peers = core.shell, core.peers
    message = c.decode_from_supervisor(encoded)
    if core.succession is not None and core.succession.on_control(message):
        return
    match message:
        case c.StartActors(starts):
            core.lifecycle.start_all(starts)
        case c.StopActor(key, incarnation, reason):
            # what was sent before it comes by another pipe, and is to be handled before it
            shell.when_arrived(partial(core.lifecycle.stop, key, incarnation, reason))
        case c.KillActor(key, incarnation):
            cell = core.cells.get(key)
            if cell is not None and cell.incarnation == incarnation:
                core.lifecycle.kill(cell)
        case c.ForgetActor(key):
            core.lifecycle.forget(key)
        case c.PeerUp(peer):
            peers.up(peer)
        case c.PeerDown(address, incarnation, name, reason, final, death):
            peers.down(address, name, reason, death, final=final)
            core.keyed.process_down(address)
            core.bonds.process_died(address, incarnation, reason, final=final)
        case c.PeerMoved(peer):
            peers.moved(peer)
        case c.Departed(address, incarnation):
            peers.departed(address, incarnation)
        case c.Gone(addresses):
            core.directory.gone.update(addresses)
        case c.News(number, what):
            try:
                if what is not None:
                    _follow(core, what)
            finally:  # what fails concerns one name, and frames that wait for it many actors
                peers.heard(number)
        case c.Registered() | c.Unregistered() | c.Grouped():
            _follow(core, message)
        case c.BreakerNews() as news:
            core.breakers.on_news(news)
        case c.Placed(address):
            core.keyed.placed(address)
        case c.NotPlaced(name, why):
            core.keyed.not_placed(name, why)
        case c.Members() as news:
            core.keyed.members(news)
        case c.Retire(number, home, names):
            core.keyed.retire(number, home, names)
        case c.AwaitFences(number, processes):
            core.keyed.await_fences(number, processes)
        case c.Subscribers(channel, targets, number):
            core.publishing.subscribers(channel, targets)
            if number:
                shell.control(c.Heard(number))
        case c.Hear(number):
            shell.control(c.Heard(number))
        case c.ReportMetrics():
            shell.report_metrics()
        case c.ReportTrace(number, begin):
            core.report_trace(number, begin)
        case c.ReportMailboxes():
            cells = core.cells.items()
            lengths = {key: len(cell.queue) for key, cell in cells if cell.queue}
            shell.control(c.Mailboxes(lengths))
        case c.ReportLoads(keys):
            found = ((key, core.cells.get(key)) for key in keys)
            loads = {
                key: (cell.is_occupied, len(cell.queue)) for key, cell in found if cell is not None
            }
            shell.control(c.Loads(loads))
        case c.Exit(dismissed):
            core.leaving.leave(dismissed=dismissed)
        case c.Terminate():
            core.leaving.terminate()
        case c.Result() as result:
            core.spawns.on_result(result)
        case other:
            raise ValueError(f"a worker does not understand {type(other).__name__}")


def _follow(core: WorkerCore, what: c.Registered | c.Unregistered | c.Grouped) -> None:
    match what:
        case c.Registered(address):
            core.peers.registered(address)
        case c.Unregistered(key, name):
            core.peers.unregistered(key, name)
            core.keyed.pools.unregistered(name)
            core.breakers.forget(name)
        case c.Grouped(address):
            core.keyed.grouped(address)
