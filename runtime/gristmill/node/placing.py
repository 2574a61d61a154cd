"""``Placing``: groups of actors behind one face, and the workers that they are on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.behaviours.actor import Actor
from gristmill.errors import ActorNotFoundError
from gristmill.facets.specs import FacetSpec
from gristmill.keyed import KeyedGroup
from gristmill.node.questions import Questions
from gristmill.placement.balancing import Balancer, Routing
from gristmill.placement.elasticity import Elasticity
from gristmill.ref import Address, Mailbox, Ref
from gristmill.supervision import SupervisorSpec
from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.node.pool import Pool
    from gristmill.node.status import NodeStatus

A = TypeVar("A", bound=Actor)


class Placing(Questions):
    """The part of a running node that has pools, keyed actors and more or fewer workers."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        """How many workers it has, besides those for single actors."""
        self._worker_names = [f"w{number}" for number in range(1, workers + 1)]

    @abstractmethod
    def _token(self, size: int) -> str:
        """Make up ``size`` bytes for a name, in hexadecimal."""

    @abstractmethod
    def start_supervisor(self, spec: SupervisorSpec, *, supervisor: str = "") -> list[Ref[Any]]:
        """Start a supervisor with its children; give the refs of its actors, in start order."""

    @abstractmethod
    def lookup(self, name: str) -> Ref[Any]:
        """Find an actor by its name."""

    @abstractmethod
    def status(self) -> NodeStatus:
        """Describe the node: its workers, its tree, its counters."""

    # --- pools ---

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
        elastic: Elasticity | None = None,
    ) -> Pool[A]:
        """Start ``size`` like actors under a supervisor of their own; give them as one.

        With ``elastic`` the supervisor process adds members while they are at work most of the
        time, and removes some while they are not; a member that leaves finishes what it has.

        Raises:
            UsageError: an argument makes no sense.
        """
        from gristmill.node.pool import Pool
        from gristmill.node.specs import pool_spec, watch_spec

        connection = self._connected()
        pool_name = name or f"{kind.__name__}-pool-{self._token(3)}"
        rule = Routing(routing)
        given = tuple(facets) if facets is not None else None
        options: dict[str, Any] = {
            "args": args,
            "kwargs": kwargs,
            "facets": given,
            "mailbox": mailbox,
        }
        codec = connection.post.codec
        tree = pool_spec(
            codec, kind, pool_name, size, max_restarts=max_restarts, within=within, **options
        )
        if elastic is None:
            refs = self.start_supervisor(tree)
            return Pool(connection.post, pool_name, [ref.address for ref in refs], rule)
        watch = watch_spec(codec, kind, pool_name, size, elastic, **options)
        self.start_supervisor(tree)
        connection.call(watch, type(None))
        return self._join_pool(pool_name, rule)

    def _join_pool(self, name: str, rule: Routing) -> Pool[Any]:
        from gristmill.node.pool import ElasticPool

        connection = self._connected()
        balancer = connection.post.keyed.join_pool(Balancer(name, rule))
        address = connection.call(c.JoinPool(name), Address)  # its members come before the answer
        return ElasticPool(connection.post, balancer, address)

    def lookup_pool(self, name: str, *, routing: Routing | str = Routing.LEAST_LOADED) -> Pool[Any]:
        """Find a pool that the node was started with; give its actors as one.

        Raises:
            ActorNotFoundError: there is no such pool.
        """
        from gristmill.node.pool import Pool

        connection, status = self._connected(), self.status()
        rule = Routing(routing)
        if any(pool.name == name for pool in status.pools):
            return self._join_pool(name, rule)
        names = set(status.names)
        members: list[Address] = []
        while (member := f"{name}-{len(members) + 1}") in names:
            members.append(self.lookup(member).address)
        if not members:
            known = ", ".join(sorted(names)) or "none"
            raise ActorNotFoundError(f"no pool is named {name!r} (names of actors: {known})")
        return Pool(connection.post, name, members, rule)

    # --- keyed actors ---

    def keyed(
        self,
        kind: type[A],
        name: str,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        shards: int = 64,
        idle: float | None = None,
        hand_off: float = 10.0,
        max_restarts: int = 3,
        within: float = 5.0,
        mailbox: Mailbox | None = None,
        facets: Iterable[FacetSpec] | None = None,
    ) -> KeyedGroup[A]:
        """Have one actor for each key, started by its first message, spread over the workers.

        Args:
            kind: their class, importable by the workers; an actor's key is ``ctx.key``.
            name: the group's name, without a ``/``; its actors are named ``NAME/KEY``.
            args: positional arguments of the constructor, the same for all.
            kwargs: keyword arguments of the constructor.
            shards: into how many parts the keys are divided; a part moves as a whole.
            idle: seconds without work after which an actor ends, until the next message; never if
                None. No message is lost by it.
            hand_off: seconds that an actor which moves gets to finish what was sent to it; then
                it is stopped forcibly.
            max_restarts: restarts of the group's actors that are allowed ``within`` seconds.
            within: the window of ``max_restarts`` in seconds.
            mailbox: the bound of each mailbox, and of what may wait with one sender for the place
                of an actor; the class's own if None.
            facets: what each starts with; the class's own if None.

        Raises:
            AlreadyStartedError: there is a group or supervisor of this name.
            UsageError: an argument makes no sense.
        """
        post = self._connected().post
        from gristmill.node.specs import keyed_spec

        spec = keyed_spec(
            post.codec,
            kind,
            name,
            args=args,
            kwargs=kwargs,
            shards=shards,
            idle=idle,
            hand_off=hand_off,
            max_restarts=max_restarts,
            within=within,
            mailbox=mailbox,
            facets=facets,
        )
        address = self._connected().call(spec, Address)
        post.keyed.want_all(name)
        return KeyedGroup(address, post)

    def lookup_keyed(self, name: str) -> KeyedGroup[Any]:
        """Find a group of keyed actors by its name.

        Raises:
            ActorNotFoundError: there is none.
        """
        connection = self._connected()
        return KeyedGroup(connection.call(c.FindGroup(name), Address), connection.post)

    # --- workers ---

    def add_workers(self, count: int = 1) -> list[str]:
        """Start more workers and wait until they are up; give their names.

        Keyed actors whose shards belong to them move there in the background.

        Raises:
            UsageError: the count is under 1.
        """
        names: list[str] = self._connected().call(c.AddWorkers(count), list[str], timeout=None)
        self._worker_names += names
        self.workers += count
        return names

    def remove_worker(self, name: str) -> None:
        """Let the keyed actors of a worker move to others, end it, and wait for that.

        It ends when what its actors have sent at least once was handled.

        Raises:
            UsageError: there is no such worker, it is the last one, or other actors live there,
                which can't move.
        """
        self._connected().call(c.RemoveWorker(name), type(None), timeout=None)
        self._worker_names.remove(name)
        self.workers -= 1
