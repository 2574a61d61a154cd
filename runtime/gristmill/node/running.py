"""``RunningNode``: what a client does with a node that runs."""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.config import ChannelConfig, available_cores
from gristmill.errors import UsageError
from gristmill.facets.specs import FacetSpec
from gristmill.node.placing import Placing
from gristmill.node.publishing import Publishing
from gristmill.ref import Address, Mailbox, Ref
from gristmill.supervision import Backoff, ChildSpec, Restart, ShutdownPolicy, SupervisorSpec
from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.metrics import Report
    from gristmill.node.client.monitor import Monitor
    from gristmill.node.deliveries import Deliveries
    from gristmill.node.executor import NodeExecutor
    from gristmill.node.status import NodeStatus, WorkerActivity
    from gristmill.node.supervisor_ref import SupervisorRef

A = TypeVar("A", bound=Actor)
T = TypeVar("T")
U = TypeVar("U")

_FUNCTIONS = "gristmill-functions"
_NO_BOUND = 1_000_000_000


class RunningNode(Publishing, Placing):
    """The part of a :class:`~gristmill.node.node.Node` that needs it to run."""

    def __init__(self, workers: int, channels: ChannelConfig) -> None:
        Placing.__init__(self, workers)
        Publishing.__init__(self, channels)
        self._runners: list[Address] = []
        self._runner_lock = threading.Lock()
        self._started_at = 0
        self._started_unix = 0

    def _token(self, size: int) -> str:
        """Make up ``size`` bytes for a name, in hexadecimal."""
        return secrets.token_hex(size)

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
        significant: bool = False,
        mailbox: Mailbox | None = None,
        facets: Iterable[FacetSpec] | None = None,
        placement: str = "any",
        on_restart: str = "keep",
        start_timeout: float | None = None,
        time_limit: float | None = None,
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
            significant: its end may end its supervisor, as that one's ``auto_shutdown`` says.
            mailbox: its bound; the class's own if None.
            facets: what it starts with; the class's own if None.
            placement: ``"any"``, ``"io"``, ``"dedicated"`` or a worker's name.
            on_restart: ``"keep"`` or ``"drop"`` what waits in the mailbox when it is restarted.
            start_timeout: seconds that each of its starts may take; None for any.
            time_limit: seconds that a handler may take, waiting included, before its worker is
                killed; the class's own if None. It needs ``placement="dedicated"``, and a node
                that runs in processes.

        Raises:
            StartTimeoutError: it did not start in ``start_timeout``, and was killed.
            Ignore: it chose not to run.
            StartFailedError: its constructor or ``on_start`` raised; carries the traceback.
            AlreadyStartedError: the name is taken.
            ActorTypeError: the workers can't import it.
        """
        from gristmill.worker.specs import child_spec

        return self._spawn(
            kind,
            [args],
            kwargs,
            [name],
            supervisor,
            child_spec(
                None,
                "",
                restart=restart,
                shutdown=shutdown,
                backoff=backoff,
                significant=significant,
            ),
            mailbox=mailbox,
            facets=facets,
            placement=placement,
            on_restart=on_restart,
            start_timeout=start_timeout,
            time_limit=time_limit,
        )[0]

    def spawn_many(
        self,
        kind: type[A],
        args: Iterable[Sequence[Any]],
        *,
        names: Sequence[str] = (),
        supervisor: str = "",
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownPolicy = 5.0,
        backoff: Backoff | None = None,
        mailbox: Mailbox | None = None,
        facets: Iterable[FacetSpec] | None = None,
        placement: str = "any",
        on_restart: str = "keep",
        start_timeout: float | None = None,
        time_limit: float | None = None,
    ) -> list[Ref[A]]:
        """Start many like actors at once and wait until all of them have; all or none.

        Args:
            kind: their class, importable by the workers.
            args: for each of them the positional arguments of its constructor.
            names: for each of them the name to register; without names if empty.
            supervisor: path of the supervisor that they go under; the root if empty. One that is
                dynamic also stops them all at once.
            restart: as in :meth:`spawn`, as are all that follow.
            shutdown: seconds that each gets to stop, ``"brutal_kill"`` or ``"infinity"``.
            backoff: delays before restarts.
            mailbox: the bound of each one's mailbox.
            facets: what each starts with.
            placement: ``"any"`` spreads them over the workers.
            on_restart: ``"keep"`` or ``"drop"`` what waits in a mailbox at a restart.
            start_timeout: seconds that each start may take.
            time_limit: seconds that a handler of each may take.

        Returns:
            Their refs, in the order of ``args``.

        Raises:
            StartFailedError: one of them could not start; says which. The others were stopped.
            AlreadyStartedError: a name is taken. None was started.
        """
        each = list(args)
        if names and len(names) != len(each):
            raise UsageError(
                f"there are {len(names)} names for {len(each)} actors; give each a name, or none"
            )
        from gristmill.worker.specs import child_spec

        return self._spawn(
            kind,
            each,
            None,
            names or [""] * len(each),
            supervisor,
            child_spec(None, "", restart=restart, shutdown=shutdown, backoff=backoff),
            mailbox=mailbox,
            facets=facets,
            placement=placement,
            on_restart=on_restart,
            start_timeout=start_timeout,
            time_limit=time_limit,
        )

    def _spawn(
        self,
        kind: type[A],
        args: Sequence[Sequence[Any]],
        kwargs: Mapping[str, Any] | None,
        names: Sequence[str],
        supervisor: str,
        child: ChildSpec,
        **options: Any,  # noqa: ANN401 - the rest of what an actor_spec takes
    ) -> list[Ref[A]]:
        from gristmill.worker.specs import actor_spec, encode_arguments

        connection = self._connected()
        post = connection.post
        spec = actor_spec(post.codec, kind, **options)
        made_up = f"{kind.__name__}-{self._token(4)}"
        instances = tuple(
            c.Instance(
                name or (f"{made_up}-{number}" if number else made_up),
                encode_arguments(post.codec, given, kwargs),
                name,
            )
            for number, (given, name) in enumerate(zip(args, names, strict=True))
        )
        operation = c.SpawnActors(supervisor, child, spec, instances)
        places = connection.call(operation, list[tuple[int, int]], timeout=None)
        return [
            Ref(Address(key, home, spec.type, one.name, spec.mailbox), post)
            for (key, home), one in zip(places, instances, strict=True)
        ]

    def start_supervisor(self, spec: SupervisorSpec, *, supervisor: str = "") -> list[Ref[Any]]:
        """Start a supervisor with its children; give the refs of its actors, in start order.

        Raises:
            SpecError: something in the spec can't work.
            StartFailedError: one of its children could not start; the others were stopped.
            AlreadyStartedError: a name is taken. Nothing was started.
        """
        from gristmill.node.specs import check_tree

        connection = self._connected()
        check_tree(spec)
        operation = c.StartSupervisor(supervisor, spec)
        found = connection.call(operation, list[Address], timeout=None)
        return [Ref(address, connection.post) for address in found]

    def supervisor(self, path: str = "") -> SupervisorRef:
        """Find a supervisor of the tree, to administer its children.

        Args:
            path: where it stands, such as ``"services"``; empty: the root.

        Raises:
            SupervisorNotFoundError: none runs there.
        """
        from gristmill.node.supervisor_ref import SupervisorRef

        found = SupervisorRef(self, self._connected(), path)
        found.count_children()
        return found

    # --- find, watch, compute ---

    def monitor(self, ref: Ref[Any]) -> Monitor:
        """Watch the present incarnation of an actor: ``monitor.wait()`` gives why it has ended."""
        return self._connected().post.monitor(ref)

    def lookup(self, name: str) -> Ref[Any]:
        """Find an actor by its name.

        Raises:
            ActorNotFoundError: nobody has it.
        """
        connection = self._connected()
        return Ref(connection.call(c.Lookup(name), Address), connection.post)

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
            items: its arguments. All are taken and encoded before this returns; their large arrays
                wait in shared memory, or as copies where that is full.
            batch: items in one message, at most; a quarter of each worker's share if None. Items of
                more than 32 MiB without their large arrays are several messages.
            timeout: seconds for one batch.

        Raises:
            ActorCrashed: the function raised; carries the remote traceback. The results before it
                have been given.
            PayloadTooLargeError: an item does not fit into a message.
            UsageError: no worker could import the function, or an item can't travel.
        """
        from gristmill.node.mapping import map_batches

        post = self._connected().post
        runners = self._function_runners()
        return map_batches(post, runners, function, items, batch=batch, timeout=timeout)

    def executor(self) -> NodeExecutor:
        """Get a :class:`concurrent.futures.Executor` that runs plain functions on all workers.

        It has no processes of its own: shutting it down ends nothing but its calls.
        """
        from gristmill.node.executor import NodeExecutor

        return NodeExecutor(self._connected().post, self._function_runners())

    def _function_runners(self) -> list[Address]:
        """Start what runs functions, one in each worker, when it is first wanted."""
        from gristmill.worker.specs import actor_spec, child_spec
        from gristmill.worker.turns.functions import FunctionRunner

        with self._runner_lock:
            if not self._runners:
                codec = self._connected().post.codec
                children = tuple(
                    child_spec(actor_spec(codec, FunctionRunner, name=name, placement=place), name)
                    for place, name in (
                        (worker, f"{_FUNCTIONS}-{worker.removeprefix('w')}")
                        for worker in self._worker_names
                    )
                )
                # a function that kills its worker costs its own call, however often it does
                spec = SupervisorSpec(_FUNCTIONS, max_restarts=_NO_BOUND, children=children)
                self._runners = [ref.address for ref in self.start_supervisor(spec)]
            return self._runners

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
        from gristmill.node.status import NodeStatus

        return self._connected().call(c.GetStatus(), NodeStatus)  # type: ignore[no-any-return]  # a NodeStatus

    def counters(self) -> Deliveries:
        """Count all messages since the node's start by what became of them.

        Exact, also for processes that were killed. When nothing is left to do, ``sent`` is
        handled, rejected, dead-lettered, dropped and in doubt together (``counters().balanced``).
        """
        return self.status().messages

    def activity(self) -> list[WorkerActivity]:
        """Say what every worker does now: whose handler runs, for which message, how long."""
        from gristmill.node.status import WorkerActivity

        found: list[WorkerActivity] = self._connected().call(c.GetActivity(), list[WorkerActivity])
        return found

    def dead_letters(self) -> list[c.DeadLetter]:
        """Give the last messages that nobody handled, with the reasons."""
        letters: list[c.DeadLetter] = self._connected().call(c.GetDeadLetters(), list[c.DeadLetter])
        return letters

    def resend(self, letter: c.DeadLetter | int) -> None:
        """Send the message of a dead letter, or of its number, to its actor again, as a tell.

        Raises:
            UsageError: there is no such letter any more, or it has no body.
            ActorNotFoundError: the actor that it was for does not exist any more.
        """
        number = letter if isinstance(letter, int) else letter.number
        self._connected().resend(number)

    def granularity(self) -> Report:
        """Account for the whole time of every worker, up to now."""
        import socket

        from gristmill.metrics import RunInfo, WorkerSnapshot, build_report

        connection = self._connected()
        snapshots = connection.call(c.CollectMetrics(), list[WorkerSnapshot])
        if connection.has_own_process:
            snapshots.append(connection.post.account.snapshot())
        run = RunInfo(
            id=connection.post.node,
            t0_unix_ns=self._started_unix,
            wall_ns=time.perf_counter_ns() - self._started_at,
            host=socket.gethostname(),
            cpus=available_cores(),
            python=sys.version.split()[0],
            runtime_version=_version(),
        )
        return build_report(run, snapshots)


def _version() -> str:
    from importlib.metadata import version

    return version("gristmill")
