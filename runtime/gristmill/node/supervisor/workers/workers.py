"""``Workers``: the lives of the worker processes, from the fork to the death and the next one."""

from __future__ import annotations

import signal
from functools import partial
from typing import Protocol

from gristmill.death import Death
from gristmill.errors import ErrorData
from gristmill.node.config import NodeConfig
from gristmill.node.supervisor.actors.endings import Endings
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.run import Run
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.deaths import Deaths, reason_of, with_fates
from gristmill.node.supervisor.workers.newcomers import Newcomers
from gristmill.node.supervisor.workers.remains import Remains
from gristmill.node.supervisor.workers.replacing import Replacing
from gristmill.node.supervisor.workers.slots import CLIENT, Slot, SlotState
from gristmill.supervision import Action, ExitReason, Killed, describe
from gristmill.transport import control as c
from gristmill.worker.config import WorkerConfig

_MAX_BOOTS = 3
_ALONE_AFTER = 0.05
"""Seconds in which SIGTERM comes to all processes of a group."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
_EMPTY_DEATHS = 5
"""Deaths of a worker without actors in :data:`_EMPTY_WINDOW` seconds that end the run."""
_EMPTY_WINDOW = 5.0


class Driver(Protocol):
    """The part of the core that carries out what follows for others."""

    def worker_ready(self, slot: Slot) -> None:
        """A worker is ready in its slot, and everyone knows it."""

    def worker_down(self, slot: Slot) -> list[tuple[int, int]]:
        """A worker has died; give the (key, incarnation) of the actors that died with it."""

    def slot_given_up(self, slot: Slot) -> None:
        """A worker has left, and nobody comes after it."""

    def act(self, actions: list[Action]) -> None:
        """Carry out the tree's actions."""

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""


class Workers:
    """Starts workers, and starts others in place of those that die.

    Args:
        driver: carries out what follows.
        shell: of the supervisor process.
        config: how the node was started.
        control: the endpoint of the control plane.
        roster: who is where.
        run: is ended when workers can't be kept alive.
        newcomers: introduces workers that come up.
        remains: takes in what they leave.
        deaths: finds out how they died.
        endings: tells the tree of the ends of their actors.
    """

    def __init__(
        self,
        driver: Driver,
        shell: SupervisorShell,
        config: NodeConfig,
        control: str,
        roster: Roster,
        run: Run,
        newcomers: Newcomers,
        remains: Remains,
        deaths: Deaths,
        endings: Endings,
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._config = config
        self._control = control
        self._roster = roster
        self._slots = roster.slots
        self._run = run
        self._newcomers = newcomers
        self._remains = remains
        self._deaths = deaths
        self._endings = endings
        self.replacing = Replacing(self, shell, roster, newcomers, remains, endings, config.drain)
        self.restarts = 0
        """How many workers were started in place of one that had died."""

    # --- start ---

    def begin(self) -> None:
        """The fork server is ready: start the workers; the tree follows when all are up."""
        if self._run.is_exiting:  # the client died, or stopped the node, while it loaded
            return
        for slot in self._slots.all():
            self.fork(slot)

    def fork(self, slot: Slot) -> None:
        """Start a process in a slot."""
        slot.issued += 1
        slot.incarnation = slot.issued
        slot.state = SlotState.BOOTING
        slot.pid = 0
        slot.identity = b""
        slot.peer = None
        self._shell.fork(self.worker_config(slot))

    def worker_config(self, slot: Slot, *, arriving: bool = False) -> WorkerConfig:
        """Say how to start a worker."""
        config = self._config
        first = self._run.phase == "boot" and slot.incarnation == 1
        return WorkerConfig(
            address=slot.address,
            incarnation=slot.incarnation,
            name=slot.name,
            node_id=config.node_id,
            run_dir=config.run_dir,
            control=self._control,
            journal=config.journal,
            durability=config.durability,
            channels=config.channels,
            transport=config.transport,
            governor=config.governor,
            trace=config.trace,
            cpu=slot.cpu,
            expected=tuple(slot.keys),
            journal_slots=self._journal_slots(slot),
            asked_ns=config.started_ns if first else self._shell.now_ns(),
            arriving=arriving,
        )

    def _journal_slots(self, slot: Slot) -> tuple[str, ...]:
        """Give the journal slots of this run, if the worker is to take over those of others.

        The first one does so before anybody else can come who might need one of them.
        """
        slots = self._slots.all()
        if self._run.phase != "boot" or slot is not slots[0]:
            return ()
        return (CLIENT, *(each.name for each in slots))

    def forked(self, address: int, incarnation: int, pid: int) -> None:
        """A worker process exists."""
        slot = self._slots.get(address)
        if slot is not None and slot.incarnation == incarnation:
            slot.pid = pid
        else:
            self.replacing.forked(address, incarnation, pid)
        if self._run.is_exiting:  # it was asked for before
            self._shell.signal(pid, signal.SIGKILL)

    def failed(self, address: int, error: ErrorData) -> None:
        """A worker can't start."""
        if not self.replacing.failed(address, str(error)):
            slot = self._slots.get(address)
            name = slot.name if slot is not None else f"#{address}"
            self._run.fail(2, f"worker {name} can't start: {error}")

    def ready(self, identity: bytes, message: c.WorkerReady) -> None:
        """A worker can host actors."""
        slot = self._slots.get(message.peer.address)
        if slot is None or slot.incarnation != message.peer.incarnation:
            self.replacing.worker_ready(identity, message)
            return
        slot.state = SlotState.READY
        slot.identity = identity
        slot.peer = message.peer
        slot.pid = message.pid
        self._newcomers.introduce(slot)
        self.took_place(slot)

    def took_place(self, slot: Slot) -> None:
        """A worker is ready in its slot: everyone is told, and it what waited for it."""
        assert slot.peer is not None
        slot.failed_boots = 0
        self._roster.broadcast(c.PeerUp(slot.peer), but=slot.address)
        waiting, slot.waiting = slot.waiting, []
        for message in waiting:
            self._shell.send(slot.identity, message)
        self._driver.worker_ready(slot)

    # --- life ---

    def tell(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""
        if slot.state is SlotState.READY:
            self._shell.send(slot.identity, message)
            self.replacing.told(slot, message)
        else:
            slot.waiting.append(message)

    def terminating(self, message: c.Terminating) -> None:
        """SIGTERM has come to a worker: let it leave, unless it is the whole node that stops."""
        leave = partial(self._leave_alone, message.address, message.incarnation)
        self._shell.call_at(self._shell.now() + _ALONE_AFTER, leave)

    def _leave_alone(self, address: int, incarnation: int) -> None:
        slot = self._slots.get(address)
        if slot is not None and slot.incarnation == incarnation and not self._run.is_ending:
            self.tell(slot, c.Terminate())

    def dismiss(self, slot: Slot) -> None:
        """End the worker of a slot in which nobody lives, and give the slot up.

        It stays until what its actors have sent at least once was handled: nobody else sends that.
        """
        self.replacing.cancel(slot, "nobody lives there any more")
        slot.leaving = True
        self.tell(slot, c.Exit(dismissed=True))

    # --- death ---

    def reaped(self, pid: int, status: int) -> None:
        """A worker process has ended, with this exit code, or minus the signal that ended it."""
        slot = self._slots.by_pid(pid)
        if slot is None:
            self.replacing.reaped(pid, describe(reason_of(status)))
            self._run.end_if_empty()
            return
        reason, death = self._deaths.examine(slot, pid, status)
        was_ready = slot.state is SlotState.READY
        slot.state = SlotState.ENDED
        slot.pid = 0
        slot.identity = b""
        slot.waiting.clear()  # it was for the process that has died
        self._remains.of_worker(slot, pid)
        exited = self._driver.worker_down(slot)
        told: list[int] = []
        decided: list[Action] = []
        if not (self._run.is_exiting or slot.leaving):
            innocent, slot.collateral = slot.collateral, False
            told, decided = self._endings.decide(exited, reason, collateral=innocent)
            death = with_fates(death, exited, decided)
        if was_ready:
            down = c.PeerDown(
                slot.address, death.incarnation, slot.name, reason, slot.leaving, death
            )
            self._roster.broadcast(down, but=slot.address)
        if self._run.is_exiting:
            self._run.end_if_empty()
        elif slot.leaving:
            self._slots.remove(slot)
            self._driver.slot_given_up(slot)
        elif self._revive(slot, reason, death, was_ready=was_ready):
            self._driver.act(decided)
            self._driver.settle(told)

    def _revive(self, slot: Slot, reason: ExitReason, death: Death, *, was_ready: bool) -> bool:
        """Start a new worker in the place of one that has died, unless the run ends of it."""
        # a kill from outside says nothing about the code; the tree's intensity bounds it
        by_others = isinstance(reason, Killed) and reason.signal in _FROM_OUTSIDE
        if not was_ready and not by_others:
            slot.failed_boots += 1
            if slot.failed_boots >= _MAX_BOOTS:
                text = f"worker {slot.name} can't boot: {describe(reason)}, {_MAX_BOOTS} times"
                self._run.fail(2, text)
                return False
        elif not slot.keys and self._storm(slot):
            self._run.fail(1, f"worker {slot.name} keeps dying: {describe(reason)}")
            return False
        self.restarts += 1
        if not self.replacing.worker_died(slot):
            self.fork(slot)
        died = f"worker {slot.name} died: {death.cause}; starting it again"
        self._shell.log("\n  ".join([died, *death.account()]))
        return True

    def _storm(self, slot: Slot) -> bool:
        now = self._shell.now()
        slot.deaths = [at for at in slot.deaths if now - at <= _EMPTY_WINDOW] + [now]
        return len(slot.deaths) > _EMPTY_DEATHS
