"""The supervisor process's core: drives the supervision tree, owns names and slots.

It owns no socket, process or clock: a :class:`SupervisorShell` carries out what it decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Literal, Protocol

import msgspec

from gristmill.durability import Durability
from gristmill.errors import (
    ActorNotFoundError,
    AlreadyStartedError,
    ErrorData,
    GristmillError,
    StartFailedError,
    UsageError,
)
from gristmill.metrics import WorkerSnapshot
from gristmill.node import status as st
from gristmill.node.slots import Slot, Slots, SlotState
from gristmill.ref import Address
from gristmill.supervision import (
    ArmTimer,
    CancelTimer,
    ChildSpec,
    Completed,
    Crash,
    Ending,
    Exited,
    ExitReason,
    Failed,
    KillActor,
    Killed,
    Report,
    StartActor,
    Started,
    StopActor,
    SupervisionTree,
    SupervisorSpec,
    TreeStarted,
    TreeStopped,
    describe,
)
from gristmill.transport import control as c
from gristmill.worker.counters import NAMES as COUNTER_NAMES
from gristmill.worker.process import WorkerConfig

_KILL_GRACE = 0.5
"""Seconds that a worker gets to drop an actor before the worker is killed for it."""
_EXIT_GRACE = 2.0
"""Seconds that workers get to leave at the end."""
_METRICS_GRACE = 2.0
"""Seconds to wait for the accounting of a worker that computes."""
_MAX_BOOTS = 3
_KEPT_LETTERS = 1000
_EMPTY_DEATHS = 5
"""Deaths of a worker without actors in :data:`_EMPTY_WINDOW` seconds that end the run."""
_EMPTY_WINDOW = 5.0


class NodeConfig(msgspec.Struct, frozen=True):
    """How a node is started; goes from the client to the supervisor process."""

    node_id: str
    run_dir: str
    client_pid: int
    workers: int
    root: SupervisorSpec
    cpus: tuple[int, ...] = ()
    journal: str = ""
    durability: Durability = "process"
    main: str = ""
    preload: tuple[str, ...] = ()
    started_ns: int = 0
    """When the client began to start it, perf_counter ns: workers account from here on."""
    drain: float = 25.0
    """Seconds that SIGTERM leaves for an ordered stop."""


class SupervisorShell(Protocol):
    """Clock, timers, sockets and processes of the supervisor process, real or simulated."""

    def now(self) -> float:
        """Give monotonic time in seconds."""

    def now_ns(self) -> int:
        """Give perf_counter time in ns, the clock of the accounting."""

    def send(self, identity: bytes, message: c.ControlMessage) -> None:
        """Send a message to a worker or client."""

    def fork(self, config: WorkerConfig) -> None:
        """Ask the fork server for a worker."""

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker, unless it has ended."""

    def call_at(self, when: float, callback: Callable[[], None]) -> int:
        """Call back at a monotonic time; give a number to cancel it."""

    def cancel(self, timer: int) -> None:
        """Forget a timer."""

    def read_page(self, slot: Slot) -> dict[str, int] | None:
        """Read, and remove, the counter page that a dead worker left."""

    def watch(self, pid: int, address: int) -> None:
        """Tell :meth:`SupervisorCore.client_gone` when a client's process ends."""

    def log(self, text: str) -> None:
        """Show a line to people."""

    def finish(self, exit_code: int, message: str) -> None:
        """End the supervisor process."""


class Client(msgspec.Struct, frozen=True):
    """A client that has joined."""

    identity: bytes
    peer: c.PeerInfo
    owner: bool


class ActorRecord(msgspec.Struct):
    """Where an actor lives."""

    spec: c.ActorSpec
    home: int
    incarnation: int = 0
    alive: bool = False
    announced: bool = False


class SupervisorCore:
    """Events in, actions out through the shell."""

    def __init__(self, shell: SupervisorShell, config: NodeConfig, control: str) -> None:
        self._shell = shell
        self._config = config
        self._control = control
        self._tree = SupervisionTree(config.root, Random())
        self._slots = Slots(config.workers, config.cpus)
        self._clients: dict[int, Client] = {}
        self._hellos: list[tuple[bytes, c.ClientHello]] = []
        self._actors: dict[int, ActorRecord] = {}
        self._names: dict[str, int] = {}
        self._operations: dict[int, Callable[[Any], None]] = {}
        self._tree_timers: dict[int, int] = {}
        self._channels: dict[str, list[tuple[int, int]]] = {}
        self._letters: deque[c.DeadLetter] = deque(maxlen=_KEPT_LETTERS)
        self._letter_count = 0
        self._final: list[WorkerSnapshot] = []
        self._latest: dict[int, WorkerSnapshot] = {}
        self._metric_calls: list[tuple[bytes, int, set[int]]] = []
        self._counters: dict[str, int] = {}
        self._worker_restarts = 0
        self._actor_restarts = 0
        self._phase: Literal["boot", "running", "stopping", "exiting"] = "boot"
        self._outcome = (0, "stopped")
        self._next_client = c.FIRST_CLIENT

    # --- boot ---

    def begin(self) -> None:
        """The fork server is ready: start the workers; the tree follows when all are up."""
        for slot in self._slots.all():
            self._fork(slot)

    def fail(self, exit_code: int, message: str) -> None:
        """Something that the node can't live without is gone."""
        self._outcome = (exit_code, message)
        self._exit_workers(kill=True)

    def fork_server_died(self, message: str) -> None:
        """The fork server is gone, and all workers with it: the run ends under its name."""
        self._outcome = (1, message)
        self._phase = "exiting"
        for slot in self._slots.all():
            slot.state = SlotState.ENDED
            slot.pid = 0
        self._finish_if_empty()

    def load_failed(self, module: str, error: ErrorData) -> None:
        """A module of the user's can't be imported."""
        self.fail(2, f"can't import {module}: {error}\n{error.traceback.rstrip()}")

    def _fork(self, slot: Slot) -> None:
        slot.incarnation += 1
        slot.state = SlotState.BOOTING
        slot.pid = 0
        slot.identity = b""
        slot.peer = None
        config = self._config
        first = self._phase == "boot" and slot.incarnation == 1
        self._shell.fork(
            WorkerConfig(
                address=slot.address,
                incarnation=slot.incarnation,
                name=slot.name,
                node_id=config.node_id,
                run_dir=config.run_dir,
                control=self._control,
                journal=config.journal,
                durability=config.durability,
                cpu=slot.cpu,
                expected=tuple(slot.keys),
                asked_ns=config.started_ns if first else self._shell.now_ns(),
            )
        )

    # --- workers ---

    def forked(self, address: int, incarnation: int, pid: int) -> None:
        """A worker process exists."""
        slot = self._slots.get(address)
        if slot is not None and slot.incarnation == incarnation:
            slot.pid = pid

    def reaped(self, pid: int, status: int) -> None:
        """A worker process has ended."""
        slot = self._slots.by_pid(pid)
        if slot is None:
            return
        reason: ExitReason = Killed(-status) if status < 0 else Exited(status)
        was_ready = slot.state is SlotState.READY
        slot.state = SlotState.ENDED
        slot.pid = 0
        slot.identity = b""
        slot.waiting.clear()  # it was for the process that has died
        self._keep_last_words(slot, pid)
        if was_ready:
            down = c.PeerDown(slot.address, slot.incarnation, slot.name, reason)
            self._broadcast(down, but=slot.address)
        self._metrics_answered(slot.address)
        if self._phase == "exiting":
            self._finish_if_empty()
            return
        self._revive(slot, reason, was_ready=was_ready)

    def _revive(self, slot: Slot, reason: ExitReason, *, was_ready: bool) -> None:
        if not was_ready:
            slot.failed_boots += 1
            if slot.failed_boots >= _MAX_BOOTS:
                text = f"worker {slot.name} can't boot: {describe(reason)}, {_MAX_BOOTS} times"
                self.fail(2, text)
                return
        elif not slot.keys and self._storm(slot):
            self.fail(1, f"worker {slot.name} keeps dying: {describe(reason)}")
            return
        self._worker_restarts += 1
        self._shell.log(f"worker {slot.name} died: {describe(reason)}; starting it again")
        keys = [key for key in sorted(slot.keys) if self._actors[key].alive]
        exited = [(key, self._actors[key].incarnation) for key in keys]
        for key in keys:
            self._actors[key].alive = False
        # started first, so that its boot and the tree's decisions overlap
        self._fork(slot)
        self._act(self._tree.actors_exited(exited, reason, self._shell.now()))
        self._settle(keys)

    def _storm(self, slot: Slot) -> bool:
        now = self._shell.now()
        slot.deaths = [at for at in slot.deaths if now - at <= _EMPTY_WINDOW] + [now]
        return len(slot.deaths) > _EMPTY_DEATHS

    def _keep_last_words(self, slot: Slot, pid: int) -> None:
        page = self._shell.read_page(slot)
        latest = self._latest.pop(slot.address, None)
        if page is not None:
            for name in COUNTER_NAMES:
                self._counters[name] = self._counters.get(name, 0) + page[name]
        if page is not None and (latest is None or page["messages"] > latest.messages):
            types = latest.types if latest is not None else ()
            latest = WorkerSnapshot.of_page(slot.name, pid, "worker", page, types=types)
        if latest is not None:
            self._final.append(latest)

    def _worker_ready(self, identity: bytes, message: c.WorkerReady) -> None:
        slot = self._slots.get(message.peer.address)
        if slot is None or slot.incarnation != message.peer.incarnation:
            return
        slot.state = SlotState.READY
        slot.identity = identity
        slot.peer = message.peer
        slot.pid = message.pid
        slot.failed_boots = 0
        for peer in self._peers():
            if peer.address != slot.address:
                self._shell.send(identity, c.PeerUp(peer))
        for address in self._directory():
            self._shell.send(identity, c.Registered(address))
        for channel, targets in self._channels.items():
            self._shell.send(identity, c.Subscribers(channel, tuple(targets)))
        self._broadcast(c.PeerUp(message.peer), but=slot.address)
        waiting, slot.waiting = slot.waiting, []
        for start in waiting:
            self._shell.send(identity, start)
        if self._phase == "boot" and len(self._slots.ready()) == len(self._slots.all()):
            self._phase = "running"
            self._act(self._tree.start(self._shell.now()))

    # --- messages ---

    def on_message(self, identity: bytes, message: c.ControlMessage) -> None:
        """Take in a message from a worker or client."""
        now = self._shell.now()
        match message:
            case c.WorkerReady():
                self._worker_ready(identity, message)
            case c.WorkerFailed(address, error):
                slot = self._slots.get(address)
                name = slot.name if slot is not None else f"#{address}"
                self.fail(2, f"worker {name} can't start: {error}")
            case c.ClientHello():
                self._hellos.append((identity, message))
                self._welcome()
            case c.ActorStarted(key, incarnation):
                self._announce(key, incarnation)
                self._act(self._tree.actor_started(key, incarnation, now))
            case c.ActorFailed(key, incarnation, error):
                self._ended(key, incarnation)
                failed = self._tree.start_failed(key, incarnation, Crash(error), now)
                self._act(failed)
                self._settle([key])
            case c.ActorExited(key, incarnation, reason):
                self._ended(key, incarnation)
                self._act(self._tree.actors_exited([(key, incarnation)], reason, now))
                self._settle([key])
            case c.Subscribe(channel, address, key, wanted):
                self._subscribe(channel, (address, key), wanted=wanted)
            case c.Metrics(snapshot):
                self._metrics(identity, snapshot)
            case c.DeadLetter():
                self._letters.append(message)
                self._letter_count += 1
            case c.Call(number, operation):
                self._call(identity, number, operation)

    def _subscribe(self, channel: str, target: tuple[int, int], *, wanted: bool) -> None:
        targets = self._channels.setdefault(channel, [])
        if wanted and target not in targets:
            targets.append(target)
        elif not wanted and target in targets:
            targets.remove(target)
        self._broadcast(c.Subscribers(channel, tuple(targets)))

    def _unsubscribe_all(self, address: int, key: int) -> None:
        for channel, targets in self._channels.items():
            if (address, key) in targets:
                self._subscribe(channel, (address, key), wanted=False)

    def _announce(self, key: int, incarnation: int) -> None:
        record = self._actors.get(key)
        if record is None or record.incarnation != incarnation:
            return
        if incarnation > 1:
            self._actor_restarts += 1
        record.announced = True
        if record.spec.name:
            self._broadcast(c.Registered(self._address(key)))

    def _ended(self, key: int, incarnation: int) -> None:
        record = self._actors.get(key)
        if record is not None and record.incarnation == incarnation:
            record.alive = False

    def _settle(self, keys: list[int]) -> None:
        """Forget the actors that the tree will not start again."""
        for key in keys:
            record = self._actors.get(key)
            if record is None or record.alive or self._tree.is_expected(key):
                continue
            slot = self._slots.get(record.home)
            if slot is not None:
                self._tell_slot(slot, c.ForgetActor(key))
            self._forget(key, record)

    def _forget(self, key: int, record: ActorRecord) -> None:
        del self._actors[key]
        self._unsubscribe_all(record.home, key)
        if self._names.get(record.spec.name) == key:
            del self._names[record.spec.name]
            self._broadcast(c.Unregistered(key, record.spec.name))
        slot = self._slots.get(record.home)
        if slot is None:
            return
        slot.keys.discard(key)
        if slot.name.startswith("dedicated") and not slot.keys:
            self._tell_slot(slot, c.Exit())
            self._slots.remove(slot)

    # --- the tree's actions ---

    def _act(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case StartActor(key, incarnation, spec):
                    self._start_actor(key, incarnation, spec)
                case StopActor(key, incarnation, reason, _timeout):
                    self._tell_home(key, c.StopActor(key, incarnation, reason))
                case KillActor(key, incarnation):
                    self._kill_actor(key, incarnation)
                case ArmTimer(timer, at):
                    self._tree_timers[timer] = self._shell.call_at(
                        at, partial(self._tree_timer, timer)
                    )
                case CancelTimer(timer):
                    armed = self._tree_timers.pop(timer, None)
                    if armed is not None:
                        self._shell.cancel(armed)
                case Report(record):
                    self._shell.log(str(record))
                case Completed(operation, outcome):
                    done = self._operations.pop(operation, None)
                    if done is not None:
                        done(outcome)
                case TreeStarted():
                    self._welcome()
                case TreeStopped(reason, ending, causes):
                    self._tree_stopped(reason, ending, causes)

    def _tree_timer(self, timer: int) -> None:
        self._tree_timers.pop(timer, None)
        self._act(self._tree.timer_fired(timer, self._shell.now()))

    def _start_actor(self, key: int, incarnation: int, spec: ChildSpec) -> None:
        record = self._actors.get(key)
        if record is None:
            actor = msgspec.msgpack.decode(spec.start or b"", type=c.ActorSpec)
            slot, new = self._slots.place(actor.placement)
            slot.keys.add(key)
            record = self._actors[key] = ActorRecord(actor, slot.address)
            if actor.name:
                self._names[actor.name] = key
            if new:
                self._fork(slot)
        record.incarnation = incarnation
        record.alive = True
        path = self._tree.path_of(key)
        self._tell_home(key, c.StartActor(key, incarnation, path, record.spec))

    def _kill_actor(self, key: int, incarnation: int) -> None:
        self._tell_home(key, c.KillActor(key, incarnation))

        def insist() -> None:
            record = self._actors.get(key)
            if record is None or not record.alive or record.incarnation != incarnation:
                return
            slot = self._slots.get(record.home)
            if slot is not None and slot.pid:
                self._shell.log(
                    f"{record.spec.name or record.spec.type} does not stop: killing worker "
                    f"{slot.name}"
                )
                self._shell.signal(slot.pid, 9)

        self._shell.call_at(self._shell.now() + _KILL_GRACE, insist)

    def _tell_home(self, key: int, message: c.ControlMessage) -> None:
        record = self._actors.get(key)
        slot = self._slots.get(record.home) if record is not None else None
        if slot is not None:
            self._tell_slot(slot, message)

    def _tell_slot(self, slot: Slot, message: c.ControlMessage) -> None:
        if slot.state is SlotState.READY:
            self._shell.send(slot.identity, message)
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
            self._clients[address] = Client(identity, peer, hello.owner)
            self._broadcast(c.PeerUp(peer), but=address)
            workers = tuple(slot.peer for slot in self._slots.ready() if slot.peer is not None)
            welcome = c.Welcome(address, self._config.node_id, workers, tuple(self._directory()))
            self._shell.send(identity, welcome)
            for channel, targets in self._channels.items():
                self._shell.send(identity, c.Subscribers(channel, tuple(targets)))
            if not hello.owner:
                self._shell.watch(hello.pid, address)

    def client_gone(self, address: int) -> None:
        """A client that does not own the node has left."""
        client = self._clients.pop(address, None)
        if client is not None:
            self._unsubscribe_all(address, 0)
            self._broadcast(c.PeerDown(address, 1, client.peer.name, Exited(0)))

    def _call(self, identity: bytes, number: int, operation: c.Operation) -> None:
        try:
            self._operate(identity, number, operation)
        except GristmillError as error:
            self._refuse(identity, number, error)

    def _operate(self, identity: bytes, number: int, operation: c.Operation) -> None:
        now = self._shell.now()
        match operation:
            case c.SpawnActor(parent, child, actor):
                self._check_spawn(actor)
                start = msgspec.structs.replace(child, start=msgspec.msgpack.encode(actor))
                accepted = self._tree.add_child(self._parent(parent), start, now)
                self._operations[accepted.operation] = lambda outcome: self._spawned(
                    identity, number, accepted.key, outcome
                )
                self._act(accepted.actions)
            case c.StartSupervisor(parent, spec):
                accepted = self._tree.add_child(self._parent(parent), spec, now)
                self._operations[accepted.operation] = lambda outcome: self._spawned(
                    identity, number, accepted.key, outcome
                )
                self._act(accepted.actions)
            case c.StopChild(key):
                accepted = self._tree.terminate_child(key, now)
                self._operations[accepted.operation] = lambda _: self._stopped(
                    identity, number, accepted.key
                )
                self._act(accepted.actions)
            case c.Lookup(name):
                if name not in self._names:
                    known = ", ".join(sorted(self._names)) or "none"
                    raise ActorNotFoundError(f"no actor is named {name!r} (names: {known})")
                self._answer(identity, number, self._address(self._names[name]))
            case c.GetStatus():
                self._answer(identity, number, self.status())
            case c.CollectMetrics():
                self._collect(identity, number)
            case c.GetDeadLetters():
                self._answer(identity, number, list(self._letters))
            case c.StopNode(timeout):
                self._answer(identity, number, None)
                self.stop(timeout)

    def _parent(self, path: str) -> int:
        root = self._config.root.id
        if not path:
            return self._tree.root
        inside = path.split("/", maxsplit=1)[0] == root
        return self._tree.by_path(path if inside else f"{root}/{path}")

    def _check_spawn(self, actor: c.ActorSpec) -> None:
        if self._phase != "running":
            raise UsageError("the node is stopping and starts no more actors")
        key = self._names.get(actor.name)
        if actor.name and key is not None:
            raise AlreadyStartedError(
                f"the name {actor.name!r} is taken by actor #{key} "
                f"({self._actors[key].spec.type}); choose another, or stop that one"
            )
        if actor.placement not in ("any", "io", "dedicated"):
            self._slots.place(actor.placement)

    def _spawned(self, identity: bytes, number: int, key: int, outcome: object) -> None:
        match outcome:
            case Started():
                found = [self._address(k) for k in self._tree.actors_below(key)]
                self._answer(identity, number, found)
            case Failed(reason):
                error = reason.error if isinstance(reason, Crash) else None
                text = f"{self._tree_name(key)} could not start: {describe(reason)}"
                self._refuse(identity, number, StartFailedError(text, error))
            case other:
                self._refuse(identity, number, StartFailedError(f"not started: {other}"))
        self._settle([key])

    def _tree_name(self, key: int) -> str:
        record = self._actors.get(key)
        return (record.spec.name or record.spec.type) if record is not None else f"#{key}"

    def _stopped(self, identity: bytes, number: int, key: int) -> None:
        if self._tree.knows(key):
            self._tree.delete_child(key)
        self._settle([key for key in list(self._actors) if not self._tree.knows(key)])
        self._answer(identity, number, None)

    def _answer(self, identity: bytes, number: int, value: object) -> None:
        self._shell.send(identity, c.Result(number, msgspec.msgpack.encode(value)))

    def _refuse(self, identity: bytes, number: int, error: GristmillError) -> None:
        detail = getattr(error, "error", None)
        name = type(error).__name__
        self._shell.send(identity, c.Result(number, b"", name, str(error), detail))

    # --- accounting ---

    def _metrics(self, identity: bytes, snapshot: WorkerSnapshot) -> None:
        slot = self._slots.by_identity(identity)
        if slot is not None:
            self._latest[slot.address] = snapshot
            self._metrics_answered(slot.address)

    def _collect(self, identity: bytes, number: int) -> None:
        slots = self._slots.ready()
        self._metric_calls.append((identity, number, {slot.address for slot in slots}))
        for slot in slots:
            self._shell.send(slot.identity, c.ReportMetrics())
        call = self._metric_calls[-1]
        self._shell.call_at(self._shell.now() + _METRICS_GRACE, lambda: self._collected(call))

    def _metrics_answered(self, address: int) -> None:
        for call in list(self._metric_calls):
            call[2].discard(address)
            if not call[2]:
                self._collected(call)

    def _collected(self, call: tuple[bytes, int, set[int]]) -> None:
        if call in self._metric_calls:
            self._metric_calls.remove(call)
            self._answer(call[0], call[1], [*self._final, *self._latest.values()])

    def status(self) -> st.NodeStatus:
        """Describe the node."""
        return st.NodeStatus(
            node_id=self._config.node_id,
            phase=self._phase,
            workers=tuple(
                st.WorkerStatus(
                    name=slot.name,
                    pid=slot.pid,
                    state=slot.state.name.lower(),
                    incarnation=slot.incarnation,
                    actors=len(slot.keys),
                )
                for slot in self._slots.all()
            ),
            clients=len(self._clients),
            actors=len(self._actors),
            names=tuple(sorted(self._names)),
            worker_restarts=self._worker_restarts,
            actor_restarts=self._actor_restarts,
            dead_letters=self._letter_count,
            tree=self._tree.snapshot(self._shell.now()),
        )

    # --- the end ---

    def stop(self, timeout: float) -> None:
        """Stop everything in order; what has not stopped after ``timeout`` seconds is killed."""
        if self._phase == "exiting":
            if timeout <= 0:
                self._kill_workers()
            return
        if timeout <= 0 or self._phase == "boot":
            self._exit_workers(kill=True)
            return
        if self._phase == "running":
            self._phase = "stopping"
            self._act(self._tree.stop(self._shell.now()))
        self._shell.call_at(self._shell.now() + timeout, lambda: self._exit_workers(kill=True))

    def owner_gone(self) -> None:
        """The client that owns the node has died: its actors get half a second."""
        self._outcome = (1, "the client is gone")
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
            self._shell.call_at(self._shell.now() + _EXIT_GRACE, self._kill_workers)
        self._finish_if_empty()

    def _kill_workers(self) -> None:
        for slot in self._slots.all():
            if slot.pid:
                self._shell.signal(slot.pid, 9)

    def _finish_if_empty(self) -> None:
        living = [slot for slot in self._slots.all() if slot.state is not SlotState.ENDED]
        if any(slot.pid for slot in living):
            return
        code, message = self._outcome
        stopped = c.NodeStopped(code, message)
        for client in self._clients.values():
            self._shell.send(client.identity, stopped)
        for identity, _ in self._hellos:
            self._shell.send(identity, stopped)
        self._shell.finish(code, message)

    # --- shared pieces ---

    def _peers(self) -> list[c.PeerInfo]:
        workers = [slot.peer for slot in self._slots.ready() if slot.peer is not None]
        return workers + [client.peer for client in self._clients.values()]

    def _directory(self) -> list[Address]:
        return [self._address(key) for key in self._names.values() if self._actors[key].announced]

    def _address(self, key: int) -> Address:
        record = self._actors[key]
        spec = record.spec
        return Address(key, record.home, spec.type, spec.name, spec.mailbox)

    def _broadcast(self, message: c.ControlMessage, *, but: int = -1) -> None:
        for slot in self._slots.ready():
            if slot.address != but:
                self._shell.send(slot.identity, message)
        for address, client in self._clients.items():
            if address != but:
                self._shell.send(client.identity, message)
