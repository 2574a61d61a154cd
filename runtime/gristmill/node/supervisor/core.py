"""The supervisor process's core: what each event means for the parts of a node.

It owns no socket, process or clock: a :class:`SupervisorShell` carries out what it decides.
A crash's way: :meth:`Workers.reaped` or an ``ActorExited`` message tells the tree, and
:meth:`act` carries out what the tree decides.
Its parts know what they are made with; what follows for others of them goes through here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import cast

from gristmill.node.config import NodeConfig
from gristmill.node.status import NodeStatus
from gristmill.node.supervisor.accounts import Accounts
from gristmill.node.supervisor.actors.endings import Endings
from gristmill.node.supervisor.actors.families import Families
from gristmill.node.supervisor.actors.groups import Groups
from gristmill.node.supervisor.actors.incarnations import Incarnations
from gristmill.node.supervisor.actors.pools import Pools
from gristmill.node.supervisor.actors.start_limits import StartLimits
from gristmill.node.supervisor.breakers import Breakers
from gristmill.node.supervisor.hearing import Hearing
from gristmill.node.supervisor.operations import Operations
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.run import Run
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.subscriptions import Subscriptions
from gristmill.node.supervisor.traces import Traces
from gristmill.node.supervisor.views import Views
from gristmill.node.supervisor.workers.deaths import Deaths
from gristmill.node.supervisor.workers.newcomers import Newcomers
from gristmill.node.supervisor.workers.recycling import Recycling
from gristmill.node.supervisor.workers.reloading import Answer, Reloading
from gristmill.node.supervisor.workers.remains import Remains
from gristmill.node.supervisor.workers.slots import Slot, Slots
from gristmill.node.supervisor.workers.vitals import Vitals
from gristmill.node.supervisor.workers.workers import Workers
from gristmill.node.supervisor.workers.workforce import Workforce
from gristmill.supervision import (
    Action,
    ArmTimer,
    CancelTimer,
    Completed,
    Exited,
    ExitReason,
    KillActor,
    Report,
    Shutdown,
    StartActor,
    StopActor,
    SupervisionTree,
    SupervisorSpec,
    TreeStarted,
    TreeStopped,
)
from gristmill.transport import control as c


class SupervisorCore:
    """Events in, actions out through the shell."""

    def __init__(self, shell: SupervisorShell, config: NodeConfig, control: str) -> None:
        self._shell = shell
        self._config = config
        self._tree = SupervisionTree(config.root, shell.random)
        self._slots = Slots(config.workers, config.cpus)
        self._roster = Roster(self._slots, shell.send)
        self._accounts = Accounts()
        self._traces = Traces(shell, self._slots)
        self._remains = Remains(shell, self._roster, self._accounts, self._traces)
        self._families = Families(self._tree, self.act, shell.now)
        self._incarnations = Incarnations(self, shell, self._tree, self._roster)
        self._limits = StartLimits(shell, self._incarnations.kill)
        self._deaths = Deaths(shell, self._roster)
        self.vitals = Vitals(shell, self._slots, self._roster.actors)
        self._hearing = Hearing(shell)
        self._subscriptions = Subscriptions(shell, self._roster, self._hearing)
        self._breakers = Breakers(self._roster.tell_workers)
        self._views = Views(shell, self._tree, self._roster, self._breakers)
        retirements = itertools.count(1)
        self._groups = Groups(self, shell, self._tree, self._roster, retirements)
        self._pools = Pools(self, shell, self._tree, self._roster, retirements, config.pools)
        self._newcomers = Newcomers(
            shell,
            config.node_id,
            self._roster,
            self._subscriptions,
            self._breakers,
            self._groups,
            self._pools,
        )
        self.run = Run(self, shell, self._roster, self._newcomers)
        self._endings = Endings(
            self, self._tree, self._roster, self._families, self._limits, shell.now
        )
        self.workers = Workers(
            self,
            shell,
            config,
            control,
            self._roster,
            self.run,
            self._newcomers,
            self._remains,
            self._deaths,
            self._endings,
        )
        self._replacing = self.workers.replacing
        self._workforce = Workforce(self.run, self.workers, self._roster, self._groups)
        self.reloading = Reloading(
            shell,
            config,
            self.run,
            self._tree,
            self._roster,
            self._incarnations,
            self._replacing,
        )
        self._recycling = Recycling(
            config.recycle, shell, self._slots, self._replacing, self.reloading
        )
        self._operations = Operations(
            self,
            shell,
            self._tree,
            self._roster,
            self._accounts,
            self._traces,
            self._families,
            self._views,
            self._groups,
            self._pools,
            self._workforce,
            self._subscriptions,
            self._hearing,
        )
        self._tree_timers: dict[int, int] = {}
        self._actor_restarts = 0

    # --- messages ---

    def on_message(self, identity: bytes, message: c.ControlMessage) -> None:
        """Take in a message from a worker or client."""
        match message:
            case c.WorkerReady():
                self.workers.ready(identity, message)
            case c.WorkerFailed(address, error):
                self.workers.failed(address, error)
            case c.Terminating():
                self.workers.terminating(message)
            case c.HandedOver():
                self._replacing.handed_over(message)
            case c.TookOver():
                self._replacing.took_over(message)
            case c.ClientHello():
                self._newcomers.hello(identity, message)
                self._welcome()
                self.run.end_if_empty()
            case c.ActorsStarted(started):
                self._actors_started(self._limits.in_time(started))
            case c.ActorFailed(key, incarnation, reason, ignored, verdict):
                self._stop_waiting(key)
                self._endings.start_failed(
                    key, incarnation, reason, ignored=ignored, verdict=verdict
                )
            case c.ActorExited(key, incarnation, reason, verdict):
                self._stop_waiting(key)
                self._endings.exited([(key, incarnation)], reason, verdict)
            case c.Subscribe(channel, address, key, wanted):
                self._subscriptions.change(channel, (address, key), wanted=wanted)
            case c.Heard(number):
                self._hearing.heard(number, self._roster.process_of(identity))
            case c.Metrics() | c.Trace() | c.Mailboxes() | c.BreakerReport() | c.Loads():
                slot = self._slots.by_identity(identity)
                if slot is not None:
                    self._on_report(slot, message)
            case c.Locate(group, key, after):
                process = self._roster.process_of(identity)
                if process and key and after:
                    self._groups.locate_later(group, key, process, after)
                elif process and key:
                    self._groups.locate(group, key, process)
                elif process:
                    self._pools.join(group, process)
            case c.Fenced(retirement):
                self._groups.fenced(retirement)
                self._pools.fenced(retirement)
            case c.Idle(keys):
                self._groups.idle(keys)
            case c.DeadLetter():
                self._operations.keep(message)
            case c.Call(number, operation):
                self._operations.call(identity, number, operation)

    def _on_report(
        self, slot: Slot, report: c.Metrics | c.Trace | c.Mailboxes | c.BreakerReport | c.Loads
    ) -> None:
        """A worker that is up says how things stand in it."""
        match report:
            case c.Metrics(snapshot):
                self._accounts.update(slot, snapshot)
            case c.Trace(number, trace):
                self._traces.heard(slot, number, trace)
            case c.Mailboxes(lengths):
                self._views.heard(slot, lengths)
            case c.BreakerReport():
                self._breakers.moved(slot.address, slot.incarnation, report)
            case c.Loads(loads):
                self._pools.heard(slot, loads)

    # --- workers and clients ---

    def worker_ready(self, slot: Slot) -> None:
        """A worker is ready in its slot, and everyone knows it."""
        if self.run.phase == "boot" and len(self._slots.ready()) == len(self._slots.all()):
            self.run.begun()
            self.act(self._tree.start(self._shell.now()))
        self._workforce.ready(slot)

    def worker_down(self, slot: Slot) -> list[tuple[int, int]]:
        """A worker has died; give the (key, incarnation) of the actors that died with it."""
        self._hearing.process_down(slot.address)
        self._subscriptions.process_down(slot.address)
        exited = self._roster.lost(slot.keys)
        self._groups.process_down(slot.address)
        self._pools.process_down(slot.address)
        return exited

    def slot_given_up(self, slot: Slot) -> None:
        """A worker has left, and nobody comes after it."""
        self._workforce.gone(slot)

    def _welcome(self) -> None:
        if self.run.phase != "boot" and self._tree.running:
            self._newcomers.welcome()

    def client_gone(self, address: int) -> None:
        """A client that does not own the node has left."""
        client = self._roster.clients.pop(address, None)
        if client is not None:
            self._remains.of_client(client.peer)
            self._hearing.process_down(address)
            self._subscriptions.process_down(address)
            self._subscriptions.end(address, 0)
            self._groups.process_down(address)
            self._pools.process_down(address)
            down = c.PeerDown(address, 1, client.peer.name, Exited(0), final=True)
            self._roster.broadcast(down)

    # --- actors ---

    def _actors_started(self, started: Sequence[tuple[int, int]]) -> None:
        """Incarnations are up; who waits for them learns it when their subscriptions hold."""
        targets = set()
        for key, incarnation in started:
            record = self._roster.actors.get(key)
            if record is not None and record.incarnation == incarnation:
                self._limits.started(key)
                targets.add((record.home, key))

        def known() -> None:
            for key, incarnation in started:
                self._announce(key, incarnation)
            self.act(self._tree.actors_started(started, self._shell.now()))

        self._subscriptions.when_known(targets, known)

    def _stop_waiting(self, key: int) -> None:
        record = self._roster.actors.get(key)
        if record is not None:
            self._subscriptions.stop_waiting((record.home, key))

    def _announce(self, key: int, incarnation: int) -> None:
        record = self._roster.actors.get(key)
        if record is None or record.incarnation != incarnation:
            return
        if incarnation > 1:
            self._actor_restarts += 1
        self._roster.announce(key)
        self._groups.started(key)
        self._pools.started(key)
        self._replacing.settled(key)

    def settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""
        for key in keys:
            record = self._roster.actors.get(key)
            if record is None or record.alive or self._tree.is_expected(key):
                continue
            slot = self._slots.get(record.home)
            if slot is not None:
                self.workers.tell(slot, c.ForgetActor(key))
            self._forget(key, record)

    def _forget(self, key: int, record: ActorRecord) -> None:
        self._roster.remove(key)
        self._subscriptions.end(record.home, key)
        self._breakers.forget(record.spec.name)
        self._replacing.settled(key)
        self._families.end(key, Shutdown("its parent has stopped"), lambda: None)
        parent = self._families.left(key)
        if parent in self._roster.actors:
            incarnation = self._roster.actors[parent].incarnation
            reason = Shutdown("its children were restarted too often")
            self._incarnations.tell_home(parent, c.StopActor(parent, incarnation, reason))
        slot = self._slots.get(record.home)
        if slot is None:
            return
        slot.keys.discard(key)
        self._incarnations.dormant.keep(key, record)
        if slot.name.startswith("dedicated") and not slot.keys:
            self.workers.dismiss(slot)
        self._groups.gone(key)
        self._pools.gone(key)
        self._workforce.emptied(slot)

    # --- the tree's actions ---

    def act(self, actions: list[Action]) -> None:
        """Carry out what the tree has decided, in order."""
        for kind, run in groupby(actions, type):
            if kind is StartActor:
                self._incarnations.start(cast("Iterable[StartActor]", run))
            elif kind is Report:
                for line in self._deaths.lines(cast("Iterable[Report]", run)):
                    self._shell.log(line)
            else:
                for action in run:
                    self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case StopActor(key, incarnation, reason, _timeout):
                why = self._families.reason_for(key, reason)
                self._incarnations.tell_home(key, c.StopActor(key, incarnation, why))
            case KillActor(key, incarnation):
                self._incarnations.kill(key, incarnation)
            case ArmTimer(timer, at):
                self._tree_timers[timer] = self._shell.call_at(at, partial(self._tree_timer, timer))
            case CancelTimer(timer):
                armed = self._tree_timers.pop(timer, None)
                if armed is not None:
                    self._shell.cancel(armed)
            case Completed(operation, outcome):
                if not (
                    self._families.completed(operation)
                    or self._groups.completed(operation, outcome)
                    or self._pools.completed(operation)
                ):
                    self._operations.completed(operation, outcome)
            case TreeStarted():
                self._pools.begin()
                self._recycling.begin()
                self._welcome()
            case TreeStopped():
                self.run.tree_stopped(action)

    def _tree_timer(self, timer: int) -> None:
        self._tree_timers.pop(timer, None)
        self.act(self._tree.timer_fired(timer, self._shell.now()))

    # --- what its parts need of each other ---

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""
        return self.run.accepts_actors

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""
        return self._incarnations.admit(key, spec)

    def limit_start(self, key: int, incarnation: int, seconds: float) -> None:
        """A start begins that may take so long."""
        self._limits.begin(key, incarnation, seconds)

    def start_failed(self, key: int, incarnation: int, reason: ExitReason) -> None:
        """An incarnation could not start."""
        self._endings.start_failed(key, incarnation, reason, ignored=False, verdict=None)

    def fork(self, slot: Slot) -> None:
        """Start a process in a slot."""
        self.workers.fork(slot)

    def tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""
        self.workers.tell(slot, message)

    def keep_workers(self) -> None:
        """Let no worker take the place of another one any more."""
        for slot in self._slots.all():
            self._replacing.cancel(slot, "the node stops")

    def stop_tree(self) -> None:
        """Stop all actors in order."""
        self.act(self._tree.stop(self._shell.now()))

    def stop(self, timeout: float) -> None:
        """Stop the node: in order within ``timeout`` seconds, at once when it is 0."""
        self.run.stop(timeout)

    def reload(self, tree: SupervisorSpec | None, answer: Answer) -> None:
        """Replace all workers by such with the code as it is now."""
        self.reloading.begin(tree, answer)

    def status(self) -> NodeStatus:
        """Describe the node."""
        return NodeStatus(
            node_id=self._config.node_id,
            phase=self.run.phase,
            workers=self._views.workers(),
            clients=len(self._roster.clients),
            actors=len(self._roster.actors),
            names=self._roster.plain_names(),
            worker_restarts=self.workers.restarts,
            actor_restarts=self._actor_restarts,
            worker_replacements=self._replacing.count,
            recycled=self._recycling.count,
            dead_letters=self._operations.letters.count,
            dead_letters_evicted=self._operations.letters.evicted,
            messages=self._remains.deliveries(),
            tree=self._tree.snapshot(self._shell.now()),
            groups=self._groups.status(),
            pools=self._pools.status(),
            breakers=self._breakers.all(),
        )
