"""``Node``: a running instance on this host, as the client that owns it sees it."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.channels import ChannelBackend, backends_of, check_servers
from gristmill.config import ChannelConfig, Recycle, Transport, available_cores
from gristmill.durability import Durability
from gristmill.errors import (
    NodeError,
    NodeStartError,
    UsageError,
)
from gristmill.importing import WORKER_MAIN, main_script
from gristmill.node.config import NodeConfig
from gristmill.node.hosting import Host, LocalHost, ProcessHost
from gristmill.node.processes.launch import interrupts_held
from gristmill.node.rundir import running_nodes
from gristmill.node.running import RunningNode
from gristmill.node.status import Reloaded
from gristmill.node.supervisor.workers.slots import CLIENT
from gristmill.supervision import (
    ChildSpec,
    Strategy,
    SupervisorSpec,
)
from gristmill.transport import control as c
from gristmill.transport.sockets import available, resolved

if TYPE_CHECKING:
    import numpy.typing as npt

    from gristmill.node.client.connection import Connection
    from gristmill.reporting import MessageTrace

A = TypeVar("A", bound=Actor)
T = TypeVar("T")
U = TypeVar("U")

_LIBRARIES = {ChannelBackend.REDIS: "redis", ChannelBackend.KAFKA: "confluent_kafka"}
"""Modules of brokers' clients."""
DRAIN = 25.0
"""Seconds that an ordered stop may take before what is left is killed."""
_GONE_GRACE = 2.0


class Node(RunningNode):
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
        pools: which of the supervisors are elastic pools; see :meth:`NodeBuilder.pool`.
        boot_timeout: seconds until the node must be up.
        transport: what carries messages between processes: ``"unix"`` sockets, ``"zeromq"``'s, or
            ``"auto"``: Unix sockets where the system has epoll.
        governor: find the sizes of ``batch="auto"``; False: such handlers get one message a call.
        channels: the backends that carry events, ``[channel]``; in memory if None.
        recycle: after how many messages, or with how much memory, a worker is replaced; never if
            None.
        drain: seconds that an ordered stop may take, and handlers under way when their worker is
            replaced, before what is left is killed or ended.
        trace: record single messages, for :meth:`message_trace`; every message costs more then.
        in_process: run everything in this process, for debugging: handlers run in the thread of
            whoever waits for them, and a breakpoint in one works. No worker can be killed.

    Raises:
        UsageError: an argument makes no sense.
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
        pools: Sequence[c.WatchPool] = (),
        boot_timeout: float = 60.0,
        in_process: bool = False,
        channels: ChannelConfig | None = None,
        transport: Transport = "auto",
        governor: bool = True,
        recycle: Recycle | None = None,
        drain: float = DRAIN,
        trace: bool = False,
    ) -> None:
        if isinstance(drain, bool) or not isinstance(drain, int | float) or not drain >= 0:
            raise UsageError(f"drain is {drain!r}; write the seconds of an ordered stop, 0 or more")
        if in_process and recycle is not None and any(recycle.limits):
            raise UsageError("recycle replaces worker processes, and in_process=True has none")
        if in_process and pin_cpus:
            raise UsageError("pin_cpus binds worker processes, and in_process=True has none")
        if in_process and trace:
            raise UsageError("trace records worker processes, and in_process=True has none")
        super().__init__(worker_count(workers), channels or ChannelConfig())
        self._given_id = node_id
        self._journal = str(Path(journal).absolute()) if journal is not None else ""
        self._durability: Durability = durability
        self._pin_cpus = pin_cpus
        self._transport = _checked(transport)
        self._governor = governor
        self._trace = trace
        self._preload = tuple(preload)
        self._blas_threads = blas_threads
        self._boot_timeout = boot_timeout
        self._in_process = in_process
        self.drain = float(drain)
        """Seconds that an ordered stop may take."""
        self._recycle = recycle or Recycle()
        self._root = SupervisorSpec(
            "root",
            Strategy.ONE_FOR_ONE,
            max_restarts=max_restarts,
            within=within,
            children=tuple(supervisors),
        )
        self._pools = tuple(pools)
        self._host: Host | None = None
        self._ended = False

    # --- life ---

    def start(self) -> Self:
        """Start the node and wait until its workers and its tree are up.

        Raises:
            WorkerBootError: a module can't be imported, or a worker can't start.
            NodeStartError: the id is in use, or the tree can't start.
            ChannelUnavailableError: the server of a channel that is on can't be reached.
            ConfigError: the client library of such a server is not installed.
        """
        if self._host is not None:
            raise UsageError("the node has been started; make a new one")
        _refuse_unsupported()
        if self._given_id and any(n.node_id == self._given_id for n in running_nodes()):
            raise NodeStartError(
                f"a node {self._given_id!r} runs already; stop it with "
                f"gristmill stop --node {self._given_id}, or choose another node_id"
            )
        self._check_channels()
        self._started_by = os.getpid()
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
            channels=self._channel_config,
            transport=self._transport,
            governor=self._governor,
            trace=self._trace,
            recycle=self._recycle,
            main=main_script() or "",
            preload=(*self._preload, *self._client_libraries()),
            pools=self._pools,
            started_ns=self._started_at,
            drain=self.drain,
        )
        try:
            with interrupts_held():  # a Ctrl-C now would leave what nobody knows of
                host = self._host = self._open_host(config)
            connection = host.connection
            connection.wait_until_welcome(self._boot_timeout, lambda: host.exit_code is None)
            if self._journal:
                from gristmill.durability.journal import open_store

                store = open_store(
                    self._journal, CLIENT, durability=self._durability, threaded=True
                )
                connection.post.open_journal(store)
        except BaseException:
            self.stop(0)
            raise
        return self

    def _check_channels(self) -> None:
        """Make sure that what carries channels is there, before anything starts."""
        check_servers(self._channel_config)

    def _client_libraries(self) -> list[str]:
        """Give the modules of brokers that every worker will want."""
        on = backends_of(self._channel_config)
        return [_LIBRARIES[kind] for kind in on if kind in _LIBRARIES]

    def _open_host(self, config: NodeConfig) -> Host:
        if self._in_process:
            return LocalHost(config)
        return ProcessHost(config, self._blas_threads)

    def stop(self, timeout: float | None = None) -> None:
        """Stop everything in order; what has not stopped after ``timeout`` seconds is killed.

        None stands for the node's ``drain``. With 0 everything is killed at once. A node that has
        ended already is left as it is, and so is that of a process which this one was forked from.
        """
        timeout = self.drain if timeout is None else timeout
        host = self._host
        if host is None or self._ended or os.getpid() != self._started_by:
            return
        connection = host.connection
        if self._brokers is not None:
            self._brokers.close()
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
        import asyncio

        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)

    def reload(
        self, *, supervisors: Sequence[SupervisorSpec | ChildSpec] | None = None
    ) -> Reloaded:
        """Take up the code as it is now, worker by worker, without an ask that fails.

        A new fork server loads the code, and one worker comes up from it, before anything is
        replaced. Then each worker in turn lets its actors finish what they have in hand, 25 s at
        most, and another one takes its place, with what waits in the mailboxes. It is a restart:
        durable actors replay, the others start anew, temporary ones end. No supervisor counts it.

        Args:
            supervisors: the specs that the node was started with, for its actors to be started
                with other arguments from now on; None leaves those as they are.

        Raises:
            ReloadError: the new code can't be loaded, or no worker comes up with it.
            UsageError: a reload is under way, the node runs in one process, or the specs have
                other members.
        """
        tree = None
        if supervisors is not None:
            tree = msgspec.structs.replace(self._root, children=tuple(supervisors))
        found: Reloaded = self._connected().call(c.Reload(tree), Reloaded, timeout=None)
        return found

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = float) -> npt.NDArray[Any]:
        """Give a writable array, uninitialised, whose first sending copies nothing.

        What is written to it after that nobody else sees. A small one, or one for which there is
        no shared memory, is an ordinary array.

        Raises:
            UsageError: arrays of this dtype can't travel, or the node does not run.
        """
        return self._connected().post.arrays.pool.empty(shape, dtype)

    def message_trace(self, window: float = 2.0) -> MessageTrace:
        """Give the single messages of the last ``window`` seconds, of all processes.

        ``node.message_trace().write("trace.json")`` makes a file for https://ui.perfetto.dev. The
        node must have been started with ``trace=True``. A process keeps its 65,536 newest events;
        what one that was killed had recorded is lost, and the trace says so.

        Raises:
            UsageError: the node does not record messages, or the window is not above 0.
        """
        from gristmill.metrics.tracing import ProcessTrace
        from gristmill.node.client.traced_post import traced
        from gristmill.reporting import MessageTrace

        connection = self._connected()
        recorder = connection.recorder
        if recorder is None:
            raise UsageError("the node records no messages; start it with Node(trace=True)")
        if not window > 0:
            raise UsageError(f"window is {window!r}; write the seconds to look back, above 0")
        begin = max(recorder.clock() - round(window * 1e9), self._started_at)
        found = connection.call(c.CollectTrace(begin), c.CollectedTrace)
        workers = [msgspec.msgpack.decode(each, type=ProcessTrace) for each in found.traces]
        workers.sort(key=lambda process: process.address)
        return MessageTrace(
            node_id=connection.post.node,
            base_ns=self._started_at,
            begin_ns=begin,
            end_ns=recorder.clock(),
            processes=(traced(recorder, connection.address, begin), *workers),
            missing=tuple(found.missing),
        )

    @property
    def node_id(self) -> str:
        """The node's name."""
        return self._connected().post.node

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


def _checked(transport: Transport) -> Transport:
    known = get_args(Transport)
    if transport not in known:
        raise UsageError(f"transport is {transport!r}; write one of {', '.join(known)}")
    if not available(transport):
        raise UsageError(f"transport={transport!r} needs epoll, which is Linux's; write 'auto'")
    return resolved(transport)


def _refuse_unsupported() -> None:
    if sys.platform == "win32":
        raise NodeStartError("gristmill runs on Linux and macOS; on Windows, use WSL")
    if WORKER_MAIN in sys.modules and sys.modules.get("__main__") is not sys.modules[WORKER_MAIN]:
        raise UsageError(
            "a node was started while a worker loaded this script; put the start under "
            "if __name__ == '__main__':"
        )
