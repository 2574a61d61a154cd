"""``Node``: a running instance on this host, as the client that owns it sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.channels import ChannelManager, backends_of
from gristmill.config import ChannelConfig, available_cores
from gristmill.durability import Durability, open_store
from gristmill.errors import (
    ActorNotFoundError,
    GristmillError,
    NodeError,
    NodeStartError,
    UsageError,
)
from gristmill.facets.specs import FacetSpec
from gristmill.importing import WORKER_MAIN, import_path, main_script
from gristmill.messages import Event
from gristmill.metrics import Report, RunInfo, WorkerSnapshot, build_report
from gristmill.node.client import Connection
from gristmill.node.hosting import Host, LocalHost, ProcessHost
from gristmill.node.launch import interrupts_held
from gristmill.node.mapping import map_batches
from gristmill.node.pool import Pool
from gristmill.node.routing import Routing
from gristmill.node.rundir import running_nodes
from gristmill.node.specs import actor_spec, child_spec, pool_spec
from gristmill.node.status import NodeStatus
from gristmill.node.subscription import Subscription
from gristmill.node.supervisor_shell import NodeConfig
from gristmill.ref import Address, Mailbox, Ref
from gristmill.supervision import (
    Backoff,
    ChildSpec,
    Restart,
    ShutdownPolicy,
    Strategy,
    SupervisorSpec,
)
from gristmill.transport import control as c
from gristmill.worker.functions import FunctionRunner

A = TypeVar("A", bound=Actor)
T = TypeVar("T")
U = TypeVar("U")

DRAIN = 25.0
"""Seconds that an ordered stop may take before what is left is killed."""
_GONE_GRACE = 2.0


class Node:
    """A supervisor process, its fork server and its workers; ends with this client.

    Use it in a ``with`` block, or call :meth:`start` and :meth:`stop`.

    Args:
        workers: how many worker processes; ``"auto"``: one for each core that may be used.
        node_id: the node's name; made up if empty.
        journal: a directory for durable actors and at-least-once messages; none if None.
        durability: what a commit survives: ``"process"`` death, or ``"power"`` failure too.
        pin_cpus: bind each worker to a core of its own.
        preload: modules that the fork server imports before it forks, besides the script.
        max_restarts: restarts of top-level actors that are allowed ``within`` seconds.
        within: the window of ``max_restarts`` in seconds.
        blas_threads: threads that linear algebra libraries may start in each worker.
        supervisors: specs of supervisors and actors that the node starts with, in order.
        boot_timeout: seconds until the node must be up.
        channels: the backends that carry events, ``[channel]``; in memory if None.
        in_process: run everything in this process, for debugging: handlers run in the thread of
            whoever waits for them, and a breakpoint in one works. No worker can be killed.

    Raises:
        UsageError: an argument makes no sense.
        ConfigError: ``channels`` turns a backend on that this version does not have.
    """

    def __init__(
        self,
        workers: int | str = "auto",
        *,
        node_id: str = "",
        journal: str | Path | None = None,
        durability: Durability = "process",
        pin_cpus: bool = False,
        preload: Sequence[str] = (),
        max_restarts: int = 3,
        within: float = 5.0,
        blas_threads: int = 1,
        supervisors: Sequence[SupervisorSpec | ChildSpec] = (),
        boot_timeout: float = 60.0,
        in_process: bool = False,
        channels: ChannelConfig | None = None,
    ) -> None:
        if in_process and pin_cpus:
            raise UsageError("pin_cpus binds worker processes, and in_process=True has none")
        self.workers = worker_count(workers)
        self._given_id = node_id
        self._journal = str(Path(journal).absolute()) if journal is not None else ""
        self._durability: Durability = durability
        self._pin_cpus = pin_cpus
        self._preload = tuple(preload)
        self._blas_threads = blas_threads
        self._boot_timeout = boot_timeout
        self._in_process = in_process
        self._channels = channels or ChannelConfig()
        backends_of(self._channels)  # what is not there is said before anything starts
        self._root = SupervisorSpec(
            "root",
            Strategy.ONE_FOR_ONE,
            max_restarts=max_restarts,
            within=within,
            children=tuple(supervisors),
        )
        self._host: Host | None = None
        self._runners: list[Address] = []
        self._runner_lock = threading.Lock()
        self._started_at = 0
        self._started_unix = 0
        self._ended = False

    # --- life ---

    def start(self) -> Self:
        """Start the node and wait until its workers and its tree are up.

        Raises:
            WorkerBootError: a module can't be imported, or a worker can't start.
            NodeStartError: the id is in use, or the tree can't start.
        """
        if self._host is not None:
            raise UsageError("the node has been started; make a new one")
        _refuse_unsupported()
        if self._given_id and any(n.node_id == self._given_id for n in running_nodes()):
            raise NodeStartError(
                f"a node {self._given_id!r} runs already; stop it with "
                f"gristmill stop --node {self._given_id}, or choose another node_id"
            )
        self._started_at = time.perf_counter_ns()
        self._started_unix = time.time_ns()
        cpus = sorted(os.sched_getaffinity(0)) if self._pin_cpus else ()
        config = NodeConfig(
            node_id=self._given_id or f"node-{secrets.token_hex(3)}",
            client_pid=os.getpid(),
            workers=self.workers,
            root=self._root,
            cpus=tuple(cpus),
            journal=self._journal,
            durability=self._durability,
            channels=self._channels,
            main=main_script() or "",
            preload=self._preload,
            started_ns=self._started_at,
            drain=DRAIN,
        )
        try:
            with interrupts_held():  # a Ctrl-C now would leave what nobody knows of
                host: Host = (
                    LocalHost(config)
                    if self._in_process
                    else ProcessHost(config, self._blas_threads)
                )
                self._host = host
            connection = host.connection
            connection.wait_until_welcome(self._boot_timeout, lambda: host.exit_code is None)
            if self._journal:
                store = open_store(self._journal, "client", durability=self._durability)
                connection.post.open_journal(store)
        except BaseException:
            self.stop(0)
            raise
        return self

    def stop(self, timeout: float = DRAIN) -> None:
        """Stop everything in order; what has not stopped after ``timeout`` seconds is killed.

        With 0 everything is killed at once. A node that has ended already is left as it is.
        """
        host = self._host
        if host is None or self._ended:
            return
        connection = host.connection
        try:
            if connection.error is None and host.exit_code is None:
                with contextlib.suppress(NodeError):
                    connection.call(c.StopNode(timeout), type(None), timeout=5.0)
                connection.wait_until_ended(timeout + _GONE_GRACE)
            host.join(_GONE_GRACE)
        except KeyboardInterrupt:
            host.kill()
            host.join(_GONE_GRACE)
            raise
        finally:
            self._ended = True
            host.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def node_id(self) -> str:
        """The node's name."""
        return self._connected().node_id

    @property
    def error(self) -> Exception | None:
        """Why the node has ended by itself, if it has."""
        return self._host.connection.error if self._host is not None else None

    @property
    def exit_code(self) -> int | None:
        """What the supervisor process ended with, minus a signal's number; None while it runs."""
        return self._host.exit_code if self._host is not None else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node ends by itself or by another client's stop; give whether it did."""
        return self._connected().wait_until_ended(timeout)

    # --- actors ---

    def spawn(
        self,
        kind: type[A],
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
        supervisor: str = "",
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownPolicy = 5.0,
        backoff: Backoff | None = None,
        mailbox: Mailbox | None = None,
        facets: Iterable[FacetSpec] | None = None,
        placement: str = "any",
        on_restart: str = "keep",
    ) -> Ref[A]:
        """Start an actor and wait until it has.

        Args:
            kind: its class, importable by the workers.
            args: positional arguments of its constructor; plain data, Structs, arrays or refs.
            kwargs: keyword arguments of its constructor.
            name: a name to register; one living actor has it at a time.
            supervisor: path of the supervisor that it goes under; the root if empty.
            restart: ``"permanent"``, ``"transient"`` or ``"temporary"``.
            shutdown: seconds that it gets to stop, ``"brutal_kill"`` or ``"infinity"``.
            backoff: delays before restarts.
            mailbox: its bound; the class's own if None.
            facets: what it starts with; the class's own if None.
            placement: ``"any"``, ``"io"``, ``"dedicated"`` or a worker's name.
            on_restart: ``"keep"`` or ``"drop"`` what waits in the mailbox when it is restarted.

        Raises:
            StartFailedError: its constructor or ``on_start`` raised; carries the traceback.
            AlreadyStartedError: the name is taken.
            ActorTypeError: the workers can't import it.
        """
        connection = self._connected()
        spec = actor_spec(
            connection.post.codec,
            kind,
            args=args,
            kwargs=kwargs,
            name=name,
            mailbox=mailbox,
            facets=facets,
            placement=placement,
            on_restart=on_restart,
        )
        child_id = name or f"{kind.__name__}-{secrets.token_hex(4)}"
        child = child_spec(spec, child_id, restart=restart, shutdown=shutdown, backoff=backoff)
        operation = c.SpawnActor(supervisor, child, spec)
        (address,) = connection.call(operation, list[Address], timeout=None)
        return Ref(address, connection.post)

    def start_supervisor(self, spec: SupervisorSpec, *, supervisor: str = "") -> list[Ref[Any]]:
        """Start a supervisor with its children; give the refs of its actors, in start order."""
        connection = self._connected()
        operation = c.StartSupervisor(supervisor, spec)
        found = connection.call(operation, list[Address], timeout=None)
        return [Ref(address, connection.post) for address in found]

    def pool(
        self,
        kind: type[A],
        size: int,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
        routing: Routing | str = Routing.LEAST_LOADED,
        max_restarts: int = 3,
        within: float = 5.0,
        facets: Iterable[FacetSpec] | None = None,
        mailbox: Mailbox | None = None,
    ) -> Pool[A]:
        """Start ``size`` like actors under a supervisor of their own; give them as one."""
        connection = self._connected()
        pool_name = name or f"{kind.__name__}-pool-{secrets.token_hex(3)}"
        tree = pool_spec(
            connection.post.codec,
            kind,
            pool_name,
            size,
            args=args,
            kwargs=kwargs,
            max_restarts=max_restarts,
            within=within,
            facets=facets,
            mailbox=mailbox,
        )
        refs = self.start_supervisor(tree)
        rule = Routing(routing)
        return Pool(connection.post, pool_name, [ref.address for ref in refs], rule)

    def lookup(self, name: str) -> Ref[Any]:
        """Find an actor by its name.

        Raises:
            ActorNotFoundError: nobody has it.
        """
        connection = self._connected()
        return Ref(connection.call(c.Lookup(name), Address), connection.post)

    def lookup_pool(self, name: str, *, routing: Routing | str = Routing.LEAST_LOADED) -> Pool[Any]:
        """Find a pool that the node was started with; give its actors as one.

        Raises:
            ActorNotFoundError: there is no such pool.
        """
        connection = self._connected()
        names = set(self.status().names)
        members: list[Address] = []
        while (member := f"{name}-{len(members) + 1}") in names:
            members.append(self.lookup(member).address)
        if not members:
            known = ", ".join(sorted(names)) or "none"
            raise ActorNotFoundError(f"no pool is named {name!r} (names of actors: {known})")
        return Pool(connection.post, name, members, Routing(routing))

    def map(
        self,
        function: Callable[[T], U],
        items: Iterable[T],
        *,
        batch: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[U]:
        """Call a plain function with each item on all workers; give the results in order.

        Args:
            function: a function of one argument, importable by the workers.
            items: its arguments.
            batch: items in one message; a quarter of each worker's share if None.
            timeout: seconds for one batch.

        Raises:
            ActorCrashed: the function raised; carries the remote traceback.
        """
        import_path(function)
        runners = self._function_runners()
        return map_batches(
            self._connected().post, runners, function, items, batch=batch, timeout=timeout
        )

    def _function_runners(self) -> list[Address]:
        with self._runner_lock:
            if not self._runners:
                for number in range(1, self.workers + 1):
                    name = f"gristmill-functions-{number}"
                    ref = self.spawn(FunctionRunner, name=name, placement=f"w{number}")
                    self._runners.append(ref.address)
            return self._runners

    # --- channels ---

    def subscribe(self, channel: str, *kinds: type[Event], capacity: int = 100_000) -> Subscription:
        """Get a channel's events of the given types from now on.

        Raises:
            UsageError: no event type was given, or no backend is on.
        """
        if not kinds:
            raise UsageError("say which event types you want: subscribe(channel, Type, ...)")
        connection, manager = self._connected(), self._channel_manager()
        listeners = connection.post.subscriptions.setdefault(channel, [])

        def cancel(subscription: Subscription) -> None:
            listeners.remove(subscription.deliver)
            if not listeners:
                with contextlib.suppress(NodeError):  # a node that has ended has forgotten us
                    manager.subscribe(channel, 0, wanted=False)

        subscription = Subscription(connection.post, channel, kinds, capacity, cancel)
        listeners.append(subscription.deliver)
        try:
            manager.subscribe(channel, 0, wanted=True)
        except GristmillError:
            listeners.remove(subscription.deliver)
            raise
        return subscription

    def publish(self, channel: str, event: Event, *, key: str = "") -> None:
        """Publish an event to a channel's subscribers; events with one ``key`` keep their order."""
        self._channel_manager().publish(channel, event, key)

    def _channel_manager(self) -> ChannelManager:
        return ChannelManager.from_config(self._channels, self._connected())

    # --- what goes on ---

    @property
    def undelivered(self) -> int:
        """How many at-least-once messages of this client have not been handled yet."""
        return self._connected().post.undelivered

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Journal the at-least-once messages that this thread tells in a ``with`` block as one.

        They are safe, and on their way, when the block ends. Told one by one, each of them waits
        for a commit of its own.
        """
        return self._connected().post.together()

    def status(self) -> NodeStatus:
        """Describe the node: its workers, its tree, its counters."""
        return self._connected().call(c.GetStatus(), NodeStatus)  # type: ignore[no-any-return]

    def dead_letters(self) -> list[c.DeadLetter]:
        """Give the last messages that nobody handled, with the reasons."""
        letters: list[c.DeadLetter] = self._connected().call(c.GetDeadLetters(), list[c.DeadLetter])
        return letters

    def granularity(self) -> Report:
        """Account for the whole time of every worker, up to now."""
        connection = self._connected()
        snapshots = connection.call(c.CollectMetrics(), list[WorkerSnapshot])
        run = RunInfo(
            id=connection.node_id,
            t0_unix_ns=self._started_unix,
            wall_ns=time.perf_counter_ns() - self._started_at,
            host=socket.gethostname(),
            cpus=available_cores(),
            python=sys.version.split()[0],
            runtime_version=_version(),
        )
        return build_report(run, snapshots)

    def _connected(self) -> Connection:
        if self._host is None or self._ended:
            raise UsageError("the node does not run; start it with `with Node(...) as node:`")
        return self._host.connection


def worker_count(workers: int | str) -> int:
    """Check and resolve a number of workers.

    Raises:
        UsageError: it is neither ``"auto"`` nor a whole number from 1 on.
    """
    if workers == "auto":
        return available_cores()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UsageError(
            f"workers is {workers!r}; write a whole number from 1 on, or 'auto' for one on each "
            "core"
        )
    return workers


def _refuse_unsupported() -> None:
    if sys.platform == "win32":
        raise NodeStartError("gristmill runs on Linux and macOS; on Windows, use WSL")
    if WORKER_MAIN in sys.modules and sys.modules.get("__main__") is not sys.modules[WORKER_MAIN]:
        raise UsageError(
            "a node was started while a worker loaded this script; put the start under "
            "if __name__ == '__main__':"
        )


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - 20 ms that only a report needs

    return version("gristmill")
