"""The supervisor process's core: drives the supervision tree and the lives of the workers.

It owns no socket, process or clock: a :class:`SupervisorShell` carries out what it decides.
A crash's way: :meth:`SupervisorCore.reaped` or an ``ActorExited`` message tells the tree, and
:meth:`act` carries out what the tree decides.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Literal, cast

from gristmill.death import Death
from gristmill.errors import ErrorData, GristmillError, UsageError
from gristmill.node import status as st
from gristmill.node.accounts import Accounts
from gristmill.node.breakers import Breakers
from gristmill.node.config import NodeConfig
from gristmill.node.deaths import Deaths, reason_of, with_fates
from gristmill.node.deliveries import Deliveries, DeliveryBook
from gristmill.node.endings import Endings
from gristmill.node.families import Families
from gristmill.node.groups import Groups
from gristmill.node.incarnations import Incarnations
from gristmill.node.operations import Operations
from gristmill.node.pools import Pools
from gristmill.node.recycling import Recycling
from gristmill.node.reloading import Answer, Reloading
from gristmill.node.replacing import Replacing
from gristmill.node.roster import ActorRecord, Client, Roster
from gristmill.node.slots import Slot, Slots, SlotState
from gristmill.node.start_limits import StartLimits
from gristmill.node.subscriptions import Subscriptions
from gristmill.node.supervisor_shell import SupervisorShell
from gristmill.node.views import Views
from gristmill.node.vitals import Vitals
from gristmill.node.workforce import Workforce
from gristmill.supervision import (
    Action,
    ArmTimer,
    CancelTimer,
    Completed,
    Ending,
    Exited,
    ExitReason,
    KillActor,
    Killed,
    Report,
    Shutdown,
    StartActor,
    StopActor,
    SupervisionTree,
    SupervisorSpec,
    TreeStarted,
    TreeStopped,
    describe,
)
from gristmill.transport import control as c
from gristmill.transport.segment_directory import Process
from gristmill.worker.config import WorkerConfig

_EXIT_GRACE = 2.0
"""Seconds that workers get to leave at the end."""
_HELLO_GRACE = 1.0
"""Seconds that a client's first message may take to arrive when the node fails at its start."""
_ARRAYS_GRACE = 1.0
"""Seconds in which what a process sent before its end can arrive with its arrays."""
_MAX_BOOTS = 3
_CLIENT_ASKS_WITHIN = 0.5
"""Seconds in which a client that has got SIGHUP too asks for a reload."""
_ALONE_AFTER = 0.05
"""Seconds in which SIGTERM comes to all processes of a group."""
REPLACED = Shutdown("its worker was replaced")
"""What actors end with that go on in another worker."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
_EMPTY_DEATHS = 5
"""Deaths of a worker without actors in :data:`_EMPTY_WINDOW` seconds that end the run."""
_EMPTY_WINDOW = 5.0


class SupervisorCore:
    """Events in, actions out through the shell."""

    def __init__(self, shell: SupervisorShell, config: NodeConfig, control: str) -> None:
        self._shell = shell
        self._config = config
        self._control = control
        self._tree = SupervisionTree(config.root, shell.random)
        self._slots = Slots(config.workers, config.cpus)
        self._roster = Roster(self._slots, shell.send)
        self._accounts = Accounts()
        self._deliveries = DeliveryBook()
        self._families = Families(self._tree, self.act, shell.now)
        self._incarnations = Incarnations(self, shell, self._tree, self._roster)
        self._limits = StartLimits(shell, self._incarnations.kill)
        self._deaths = Deaths(shell, self._roster)
        self.vitals = Vitals(shell, self._slots, self._roster.actors)
        self._subscriptions = Subscriptions(shell, self._roster)
        self._breakers = Breakers(self._roster.tell_workers)
        self._views = Views(shell, self._tree, self._roster, self._breakers)
        retirements = itertools.count(1)
        self._groups = Groups(self, shell, self._tree, self._roster, retirements)
        self._pools = Pools(self, shell, self._tree, self._roster, retirements)
        self._workforce = Workforce(self, self._roster, self._groups)
        self._operations = Operations(
            self,
            shell,
            self._tree,
            self._roster,
            self._accounts,
            self._families,
            self._views,
            self._groups,
            self._pools,
            self._workforce,
            self._subscriptions,
        )
        self._replacing = Replacing(self, shell, self._roster, config.drain)
        self.reloading = Reloading(shell, config, self._roster, self._replacing)
        self._recycling = Recycling(
            config.recycle, shell, self._slots, self._replacing, self.reloading
        )
        self._endings = Endings(
            self, self._tree, self._roster, self._families, self._limits, shell.now
        )
        self._hellos: list[tuple[bytes, c.ClientHello]] = []
        self._hello_awaited = False
        self._tree_timers: dict[int, int] = {}
        self._worker_restarts = 0
        self._actor_restarts = 0
        self._phase: Literal["boot", "running", "stopping", "exiting"] = "boot"
        self._outcome = (0, "stopped")
        self._next_client = c.FIRST_CLIENT

    # --- boot ---

    def begin(self) -> None:
        """The fork server is ready: start the workers; the tree follows when all are up."""
        for slot in self._slots.all():
            self.fork(slot)

    def fail(self, exit_code: int, message: str) -> None:
        """Something that the node can't live without is gone."""
        self._outcome = (exit_code, message)
        self._exit_workers(kill=True)

    def fork_server_died(self, message: str) -> None:
        """The fork server is gone, and all workers with it: the run ends under its name."""
        self._outcome = (1, message)
        self._phase = "exiting"
        self._hello_awaited = True
        for slot in self._slots.all():
            slot.state = SlotState.ENDED
            slot.pid = 0
            slot.successor = slot.former = None
        self._finish_if_empty()

    def load_failed(self, module: str, error: ErrorData) -> None:
        """A module of the user's can't be imported."""
        self.fail(2, f"can't import {module}: {error}\n{error.traceback.rstrip()}")

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
        first = self._phase == "boot" and slot.incarnation == 1
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
            governor=config.governor,
            cpu=slot.cpu,
            expected=tuple(slot.keys),
            asked_ns=config.started_ns if first else self._shell.now_ns(),
            arriving=arriving,
        )

    # --- workers ---

    def forked(self, address: int, incarnation: int, pid: int) -> None:
        """A worker process exists."""
        slot = self._slots.get(address)
        if slot is not None and slot.incarnation == incarnation:
            slot.pid = pid
        else:
            self._replacing.forked(address, incarnation, pid)

    def reaped(self, pid: int, status: int) -> None:
        """A worker process has ended."""
        slot = self._slots.by_pid(pid)
        if slot is None:
            self._replacing.reaped(pid, describe(reason_of(status)))
            self._finish_if_exiting()
            return
        reason, death = self._deaths.examine(slot, pid, status)
        was_ready = slot.state is SlotState.READY
        slot.state = SlotState.ENDED
        slot.pid = 0
        slot.identity = b""
        slot.waiting.clear()  # it was for the process that has died
        if slot.peer is not None:
            self._close_tally(slot.peer)
        self._accounts.close(slot, pid, self._shell.read_page(slot, remove=True))
        self._remove_arrays_of(slot.address, slot.incarnation)
        self._subscriptions.process_down(slot.address)
        exited = self._ended_with(slot)
        self._groups.process_down(slot.address)
        told: list[int] = []
        decided: list[Action] = []
        if not (self._phase == "exiting" or slot.leaving):
            innocent, slot.collateral = slot.collateral, False
            told, decided = self._endings.decide(exited, reason, collateral=innocent)
            death = with_fates(death, exited, decided)
        if was_ready:
            down = c.PeerDown(
                slot.address, death.incarnation, slot.name, reason, slot.leaving, death
            )
            self._roster.broadcast(down, but=slot.address)
        if self._phase == "exiting":
            self._finish_if_empty()
        elif slot.leaving:
            self._slots.remove(slot)
            self._workforce.gone(slot)
        elif self._revive(slot, reason, death, was_ready=was_ready):
            self.act(decided)
            self.settle(told)

    def _close_tally(self, peer: c.PeerInfo) -> None:
        tally = self._shell.read_tally(peer, remove=True)
        if tally is not None:
            self._deliveries.close(tally)

    def _remove_arrays_of(self, address: int, incarnation: int) -> None:
        remove = partial(self._shell.remove_segments, Process(address, incarnation))
        self._shell.call_at(self._shell.now() + _ARRAYS_GRACE, remove)

    def _ended_with(self, slot: Slot) -> list[tuple[int, int]]:
        """Note the ends of all actors of a worker that has died; give key and incarnation."""
        records = ((key, self._roster.actors[key]) for key in sorted(slot.keys))
        exited = [(key, record.incarnation) for key, record in records if record.alive]
        for key, _ in exited:
            self._roster.actors[key].alive = False
        return exited

    def _revive(self, slot: Slot, reason: ExitReason, death: Death, *, was_ready: bool) -> bool:
        """Start a new worker in the place of one that has died, unless the run ends of it."""
        # a kill from outside says nothing about the code; the tree's intensity bounds it
        by_others = isinstance(reason, Killed) and reason.signal in _FROM_OUTSIDE
        if not was_ready and not by_others:
            slot.failed_boots += 1
            if slot.failed_boots >= _MAX_BOOTS:
                text = f"worker {slot.name} can't boot: {describe(reason)}, {_MAX_BOOTS} times"
                self.fail(2, text)
                return False
        elif not slot.keys and self._storm(slot):
            self.fail(1, f"worker {slot.name} keeps dying: {describe(reason)}")
            return False
        self._worker_restarts += 1
        if not self._replacing.worker_died(slot):
            self.fork(slot)
        died = f"worker {slot.name} died: {death.cause}; starting it again"
        self._shell.log("\n  ".join([died, *death.account()]))
        return True

    def _storm(self, slot: Slot) -> bool:
        now = self._shell.now()
        slot.deaths = [at for at in slot.deaths if now - at <= _EMPTY_WINDOW] + [now]
        return len(slot.deaths) > _EMPTY_DEATHS

    def _worker_ready(self, identity: bytes, message: c.WorkerReady) -> None:
        slot = self._slots.get(message.peer.address)
        if slot is None or slot.incarnation != message.peer.incarnation:
            self._replacing.worker_ready(identity, message)
            return
        slot.state = SlotState.READY
        slot.identity = identity
        slot.peer = message.peer
        slot.pid = message.pid
        self.introduce(slot)
        self.took_place(slot)

    def introduce(self, slot: Slot) -> None:
        """Tell a worker that has come up who is where."""
        identity = slot.identity
        if self._slots.gone:
            self._shell.send(identity, c.Gone(tuple(self._slots.gone)))
        for peer in self._roster.peers():
            if peer.address != slot.address:
                self._shell.send(identity, c.PeerUp(peer))
        for address in self._roster.directory():
            self._shell.send(identity, c.Registered(address))
        self._subscriptions.introduce(identity)
        self._breakers.introduce(partial(self._shell.send, identity))
        self._groups.introduce(identity)

    def took_place(self, slot: Slot) -> None:
        """A worker is ready in its slot: everyone is told, and it what waited for it."""
        assert slot.peer is not None
        identity = slot.identity
        slot.failed_boots = 0
        self._roster.broadcast(c.PeerUp(slot.peer), but=slot.address)
        waiting, slot.waiting = slot.waiting, []
        for start in waiting:
            self._shell.send(identity, start)
        if self._phase == "boot" and len(self._slots.ready()) == len(self._slots.all()):
            self._phase = "running"
            self.act(self._tree.start(self._shell.now()))
        self._workforce.ready(slot)

    # --- workers that are replaced ---

    def replaced(self, ended: list[tuple[int, int]]) -> None:
        """Incarnations, as (key, incarnation), ended with the worker that they were in."""
        keys, decided = self._endings.decide(ended, REPLACED, replaced=True)
        self.act(decided)
        self.settle(keys)

    def ended_beside(self, slot: Slot, pid: int) -> None:
        """A worker that stood in no slot any more, or not yet, has ended: settle its accounts."""
        if slot.peer is not None:
            self._close_tally(slot.peer)
        self._accounts.close(slot, pid, self._shell.read_page(slot, remove=True))
        self._remove_arrays_of(slot.address, slot.incarnation)

    def reload(self, tree: SupervisorSpec | None, answer: Answer) -> None:
        """Replace all workers by such with the code as it is now.

        Args:
            tree: how the actors that the node was started with are started from now on; None
                leaves that as it is.
            answer: is told what became of it.

        Raises:
            UsageError: that can't be done now, or the tree has other members.
        """
        if not self.accepts_actors:
            raise UsageError("the node does not run, so it can't be reloaded")
        changed = [] if tree is None else self._tree.compare(tree)
        self.reloading.begin(partial(self._incarnations.change, changed), answer)

    def reload_on_signal(self) -> None:
        """SIGHUP has come; if it came to all, the client asks for more than the code alone."""
        self._shell.call_at(self._shell.now() + _CLIENT_ASKS_WITHIN, self._reload_unless_asked)

    def _reload_unless_asked(self) -> None:
        if self.reloading.busy or self.reloading.ended_at > self._shell.now() - _CLIENT_ASKS_WITHIN:
            return

        def answer(outcome: st.Reloaded | GristmillError) -> None:
            if isinstance(outcome, GristmillError):
                self._shell.log(f"reload: {outcome}")
            else:
                self._shell.log(f"reload: {outcome.workers} workers in {outcome.seconds:.2f} s")

        try:
            self.reload(None, answer)
        except GristmillError as error:
            answer(error)

    # --- messages ---

    def on_message(self, identity: bytes, message: c.ControlMessage) -> None:
        """Take in a message from a worker or client."""
        now = self._shell.now()
        match message:
            case c.WorkerReady():
                self._worker_ready(identity, message)
            case c.Terminating(address, incarnation):
                self._shell.call_at(now + _ALONE_AFTER, partial(self._end, address, incarnation))
            case c.HandedOver():
                self._replacing.handed_over(message)
            case c.TookOver():
                self._replacing.took_over(message)
            case c.WorkerFailed(address, error) if not self._replacing.failed(address, str(error)):
                slot = self._slots.get(address)
                name = slot.name if slot is not None else f"#{address}"
                self.fail(2, f"worker {name} can't start: {error}")
            case c.ClientHello():
                self._hellos.append((identity, message))
                self._welcome()
                if self._phase == "exiting":
                    self._finish_if_empty()
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
                self._subscriptions.heard(number, self._roster.process_of(identity))
            case c.Metrics(snapshot):
                slot = self._slots.by_identity(identity)
                if slot is not None:
                    self._accounts.update(slot, snapshot)
            case c.Mailboxes(lengths):
                slot = self._slots.by_identity(identity)
                if slot is not None:
                    self._views.heard(slot, lengths)
            case c.BreakerReport():
                slot = self._slots.by_identity(identity)
                if slot is not None:
                    self._breakers.moved(slot.address, slot.incarnation, message)
            case c.Locate(group, key):
                process = self._roster.process_of(identity)
                if process:
                    self._groups.locate(group, key, process)
            case c.Fenced(retirement):
                self._groups.fenced(retirement)
                self._pools.fenced(retirement)
            case c.Idle(keys):
                self._groups.idle(keys)
            case c.Loads(loads):
                slot = self._slots.by_identity(identity)
                if slot is not None:
                    self._pools.heard(slot, loads)
            case c.DeadLetter():
                self._operations.keep(message)
            case c.Call(number, operation):
                self._operations.call(identity, number, operation)

    def _end(self, address: int, incarnation: int) -> None:
        """SIGTERM has come to a worker: let it leave, unless it is the whole node that stops."""
        slot = self._slots.get(address)
        stopping = self._phase in ("stopping", "exiting")
        if slot is not None and slot.incarnation == incarnation and not stopping:
            self.tell_slot(slot, c.Terminate())

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
                self.tell_slot(slot, c.ForgetActor(key))
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
            self.dismiss(slot)
        self._groups.gone(key)
        self._pools.gone(key)
        self._workforce.emptied(slot)

    def dismiss(self, slot: Slot) -> None:
        """End the worker of a slot in which nobody lives, and give the slot up."""
        self._replacing.cancel(slot, "nobody lives there any more")
        slot.leaving = True
        self.tell_slot(slot, c.Exit())

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
                for pool in self._config.pools:
                    self._pools.watch(pool)
                self._recycling.begin()
                self._welcome()
            case TreeStopped(reason, ending, causes):
                self._tree_stopped(reason, ending, causes)

    def _tree_timer(self, timer: int) -> None:
        self._tree_timers.pop(timer, None)
        self.act(self._tree.timer_fired(timer, self._shell.now()))

    def admit(self, key: int, spec: c.ActorSpec) -> ActorRecord:
        """Give a new actor its place."""
        return self._incarnations.admit(key, spec)

    def limit_start(self, key: int, incarnation: int, seconds: float) -> None:
        """A start begins that may take so long."""
        self._limits.begin(key, incarnation, seconds)

    def start_failed(self, key: int, incarnation: int, reason: ExitReason) -> None:
        """An incarnation could not start."""
        self._endings.start_failed(key, incarnation, reason, ignored=False, verdict=None)

    def tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        """Tell a worker something, once it is ready."""
        if slot.state is SlotState.READY:
            self._shell.send(slot.identity, message)
            self._replacing.told(slot, message)
        else:
            slot.waiting.append(message)

    def _tree_stopped(self, reason: ExitReason, ending: Ending, causes: tuple[str, ...]) -> None:
        if ending is Ending.INTENSITY:
            chain = "\n  ".join(causes)
            self._outcome = (5, f"restart intensity exceeded:\n  {chain}")
        elif ending is Ending.START_FAILED:
            chain = "\n  ".join(causes) or describe(reason)
            self._outcome = (1, f"the supervision tree can't start:\n  {chain}")
        self._exit_workers(kill=False)

    # --- clients ---

    def _welcome(self) -> None:
        if self._phase == "boot" or not self._tree.running:
            return
        hellos, self._hellos = self._hellos, []
        for identity, hello in hellos:
            address = self._next_client
            self._next_client += 1
            name = "client" if hello.owner else f"client-{address}"
            peer = c.PeerInfo(address, 1, hello.endpoint, name)
            self._roster.clients[address] = Client(identity, peer, hello.owner)
            self._roster.broadcast(c.PeerUp(peer), but=address)
            workers = tuple(slot.peer for slot in self._slots.ready() if slot.peer is not None)
            welcome = c.Welcome(
                address, self._config.node_id, workers, tuple(self._roster.directory())
            )
            self._shell.send(identity, welcome)
            self._subscriptions.introduce(identity)
            if not hello.owner:
                self._shell.watch(hello.pid, address)

    def client_gone(self, address: int) -> None:
        """A client that does not own the node has left."""
        client = self._roster.clients.pop(address, None)
        if client is not None:
            self._close_tally(client.peer)
            self._subscriptions.process_down(address)
            self._subscriptions.end(address, 0)
            self._groups.process_down(address)
            self._pools.process_down(address)
            self._remove_arrays_of(address, client.peer.incarnation)
            down = c.PeerDown(address, 1, client.peer.name, Exited(0), final=True)
            self._roster.broadcast(down)

    # --- what operations use ---

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""
        return self._phase == "running"

    def status(self) -> st.NodeStatus:
        """Describe the node."""
        return st.NodeStatus(
            node_id=self._config.node_id,
            phase=self._phase,
            workers=tuple(
                st.WorkerStatus(
                    name=slot.name,
                    pid=slot.pid,
                    state="handing over" if _hands_over(slot) else slot.state.name.lower(),
                    incarnation=slot.incarnation,
                    actors=len(slot.keys),
                    last_exit=slot.last_exit,
                )
                for slot in self._slots.all()
            ),
            clients=len(self._roster.clients),
            actors=len(self._roster.actors),
            names=self._roster.plain_names(),
            worker_restarts=self._worker_restarts,
            actor_restarts=self._actor_restarts,
            worker_replacements=self._replacing.count,
            recycled=self._recycling.count,
            dead_letters=self._operations.letters.count,
            dead_letters_evicted=self._operations.letters.evicted,
            messages=self.deliveries(),
            tree=self._tree.snapshot(self._shell.now()),
            groups=self._groups.status(),
            pools=self._pools.status(),
            breakers=self._breakers.all(),
        )

    def deliveries(self) -> Deliveries:
        """Add up what became of all messages."""
        living = [*self._roster.peers(), *(s.peer for s in self._slots.others() if s.peer)]
        tallies = (self._shell.read_tally(peer, remove=False) for peer in living)
        return self._deliveries.read(tally for tally in tallies if tally is not None)

    # --- the end ---

    def stop(self, timeout: float) -> None:
        """Stop everything in order; what has not stopped after ``timeout`` seconds is killed."""
        if self._phase == "exiting":
            if timeout <= 0:
                self._kill_workers()
            return
        for slot in self._slots.all():
            self._replacing.cancel(slot, "the node stops")
        if timeout <= 0 or self._phase == "boot":
            self._exit_workers(kill=True)
            return
        if self._phase == "running":
            self._phase = "stopping"
            self.act(self._tree.stop(self._shell.now()))
        self._shell.call_at(self._shell.now() + timeout, lambda: self._exit_workers(kill=True))

    def owner_gone(self) -> None:
        """The client that owns the node has died: its actors get half a second."""
        self._outcome = (1, "the client is gone")
        self._shell.log("the client is gone: stopping")
        self.stop(0.5)

    def _exit_workers(self, *, kill: bool) -> None:
        if self._phase == "exiting":
            if kill:
                self._kill_workers()
            return
        self._phase = "exiting"
        if kill:
            self._kill_workers()
        else:
            for slot in self._slots.ready():
                self._shell.send(slot.identity, c.Exit())
            for other in self._slots.others():
                if other.pid:  # what it would pass on nobody takes any more
                    self._shell.signal(other.pid, signal.SIGKILL)
            self._shell.call_at(self._shell.now() + _EXIT_GRACE, self._kill_workers)
        self._finish_if_empty()

    def _kill_workers(self) -> None:
        for slot in (*self._slots.all(), *self._slots.others()):
            if slot.pid:
                self._shell.signal(slot.pid, 9)

    def _finish_if_exiting(self) -> None:
        if self._phase == "exiting":
            self._finish_if_empty()

    def _finish_if_empty(self) -> None:
        living = [slot for slot in self._slots.all() if slot.state is not SlotState.ENDED]
        if any(slot.pid for slot in (*living, *self._slots.others())):
            return
        told = bool(self._roster.clients or self._hellos)
        if not told and not self._hello_awaited:
            # the client's hello is under way, and it must learn why the node ends
            self._hello_awaited = True
            self._shell.call_at(self._shell.now() + _HELLO_GRACE, self._finish_if_empty)
            return
        code, message = self._outcome
        stopped = c.NodeStopped(code, message)
        for client in self._roster.clients.values():
            self._shell.send(client.identity, stopped)
        for identity, _ in self._hellos:
            self._shell.send(identity, stopped)
        self._shell.finish(code, "" if told else message)


def _hands_over(slot: Slot) -> bool:
    return slot.successor is not None and slot.successor.state is SlotState.READY
