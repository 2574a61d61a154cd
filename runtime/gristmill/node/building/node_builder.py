"""``NodeBuilder``: the fluent way to say what a node runs.

A builder is a value: every method gives a new one and leaves the old one as it was, so a builder
can serve as the template of several others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.config import ChannelConfig, Config, NodeConfig, PoolConfig, Recycle, Transport
from gristmill.durability import Durability
from gristmill.errors import ConfigError, UsageError
from gristmill.facets.specs import FacetSpec
from gristmill.node.building.actor_builder import ActorBuilder
from gristmill.node.building.pool_plan import PoolPlan
from gristmill.node.node import Node, worker_count
from gristmill.placement.elasticity import Elasticity
from gristmill.ref import Mailbox
from gristmill.supervision import ChildSpec, SupervisorSpec

N = TypeVar("N", bound=Node)

_Member = SupervisorSpec | ChildSpec | PoolPlan


@dataclass(frozen=True)
class NodeBuilder:
    """Says what a node is made of; :meth:`build` makes it.

    Args:
        node_id: the node's name; made up if empty.
    """

    node_id: str = ""
    _options: Mapping[str, Any] = field(default_factory=dict)
    _tree: tuple[_Member, ...] = ()

    def workers(self, workers: int | str) -> NodeBuilder:
        """Set how many worker processes: a number, or ``"auto"`` for one on each usable core.

        Raises:
            UsageError: it is neither.
        """
        worker_count(workers)
        return self._with(workers=workers)

    def journal(self, directory: str | Path, *, durability: Durability = "process") -> NodeBuilder:
        """Keep durable actors and at-least-once messages in a directory.

        Args:
            directory: where the journal lies; made if need be.
            durability: what a commit survives: ``"process"`` death, or ``"power"`` failure too.
        """
        return self._with(journal=directory, durability=durability)

    def pin_cpus(self, pin: bool = True) -> NodeBuilder:
        """Bind each worker to a core of its own."""
        return self._with(pin_cpus=pin)

    def transport(self, transport: Transport) -> NodeBuilder:
        """Carry messages over ``"unix"`` sockets or ``"zeromq"``'s; ``"auto"``: what is faster."""
        return self._with(transport=transport)

    def governor(self, on: bool = True) -> NodeBuilder:
        """Find the sizes of ``batch="auto"``; False: such handlers get one message a call."""
        return self._with(governor=on)

    def trace(self, on: bool = True) -> NodeBuilder:
        """Record single messages, for ``Node.message_trace``; every message costs more then."""
        return self._with(trace=on)

    def recycle(self, *, messages: int = 0, memory: int | str = 0) -> NodeBuilder:
        """Replace each worker after so many messages, or when it has so much memory of its own.

        Args:
            messages: messages handled; 0 for any number.
            memory: bytes, or a size such as ``"512M"``; 0 for any.

        Raises:
            UsageError: one is no such number.
        """
        return self._with(recycle=Recycle(messages, memory))

    def preload(self, *modules: str) -> NodeBuilder:
        """Have the fork server import modules before it forks workers."""
        return self._with(preload=(*self._options.get("preload", ()), *modules))

    def blas_threads(self, threads: int) -> NodeBuilder:
        """Set how many threads linear algebra libraries may start in each worker."""
        return self._with(blas_threads=threads)

    def channels(self, channels: ChannelConfig) -> NodeBuilder:
        """Set what carries the events of channels, ``[channel]``."""
        return self._with(channels=channels)

    def restarts(self, max_restarts: int, *, within: float = 5.0) -> NodeBuilder:
        """Allow that many restarts of top-level actors ``within`` seconds."""
        return self._with(max_restarts=max_restarts, within=within)

    def drain(self, seconds: float) -> NodeBuilder:
        """Set the seconds that an ordered stop may take before what is left is killed."""
        return self._with(drain=seconds)

    def boot_timeout(self, seconds: float) -> NodeBuilder:
        """Set the seconds until the node must be up."""
        return self._with(boot_timeout=seconds)

    def in_process(self) -> NodeBuilder:
        """Run everything in the client's process, so that a debugger works."""
        return self._with(in_process=True)

    def supervise(self, *specs: SupervisorSpec | ChildSpec) -> NodeBuilder:
        """Start supervisors, or actors given as specs, with the node, in this order."""
        return replace(self, _tree=(*self._tree, *specs))

    def actor(self, *actors: ActorBuilder[Any]) -> NodeBuilder:
        """Start actors with the node, in this order."""
        return self.supervise(*(actor.child_spec() for actor in actors))

    def pool(
        self,
        kind: type[Actor],
        name: str,
        *,
        size: int = 1,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        max_restarts: int = 3,
        within: float = 5.0,
        facets: Sequence[FacetSpec] | None = None,
        mailbox: Mailbox | None = None,
        elastic: Elasticity | None = None,
        supervisor: str = "",
    ) -> NodeBuilder:
        """Start ``size`` like actors, ``NAME-1``, ``NAME-2`` and so on, under their supervisor.

        :meth:`configure` takes the size and its bounds from ``[pools.NAME]``; ``Node.lookup_pool``
        finds the pool once the node runs, and ``ctx.lookup_pool`` an elastic one. With ``elastic``
        its size follows its load.

        Args:
            kind: their class.
            name: the pool's name.
            size: how many there are at the start.
            args: positional arguments of the constructor, the same for all.
            kwargs: keyword arguments of the constructor.
            max_restarts: restarts that are allowed ``within`` seconds.
            within: the window of ``max_restarts`` in seconds.
            facets: what each starts with; the class's own if None.
            mailbox: the bound of each mailbox; the class's own if None.
            elastic: the bounds of its size, and when it changes.
            supervisor: under which one, of those declared before it, the pool's own goes, behind
                the others there; its path such as ``"shop/services"``. Empty: the root.

        Raises:
            UsageError: a pool of this name exists, the size is under 1, or there is no such
                supervisor.
        """
        if name in self.pools:
            raise UsageError(f"the node has a pool {name!r} already; choose another name")
        restarts = {"max_restarts": max_restarts, "within": within}
        options = {"args": args, "kwargs": kwargs, "facets": facets, "mailbox": mailbox}
        plan = PoolPlan(kind, name, size, restarts, options, elastic, supervisor)
        plan.watch()  # what is wrong with it is told here and not at build
        added = replace(self, _tree=(*self._tree, plan))
        _ = added.supervisors
        return added

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of the declared pools."""
        return tuple(member.name for member in self._tree if isinstance(member, PoolPlan))

    @property
    def supervisors(self) -> list[SupervisorSpec | ChildSpec]:
        """The specs that the node starts with."""
        top: list[SupervisorSpec | ChildSpec] = []
        for member in self._tree:
            if not isinstance(member, PoolPlan):
                top.append(member)
            elif not member.supervisor:
                top.append(member.spec())
            else:
                _put_below(top, member.supervisor, member.spec())
        return top

    def configure(self, config: Config) -> NodeBuilder:
        """Take over ``[node]``, and the sizes of the declared pools from ``[pools.NAME]``.

        What the command line, the environment or the file say wins over what the builder was told,
        and that wins over the defaults of the configuration.

        Raises:
            ConfigError: something is turned on that a node can't do yet.
        """
        _refuse_unavailable(config)
        node = config.section(NodeConfig)
        said = _said(config, "node")
        options = dict(self._options)
        own = {
            "workers": "workers",
            "pin_cpus": "pin_cpus",
            "transport": "transport",
            "governor": "governor",
            "trace": "trace",
            "drain_seconds": "drain",
        }
        for key, option in own.items():
            if key in said or option not in options:
                options[option] = getattr(node, key)
        if said & {"recycle_messages", "recycle_memory"} or "recycle" not in options:
            options["recycle"] = Recycle(node.recycle_messages, node.recycle_memory)
        node_id = node.node_id if "node_id" in said or not self.node_id else self.node_id
        sizes = config.table(PoolConfig) if self.pools else {}
        tree = tuple(
            member.resized(sizes[member.name])
            if isinstance(member, PoolPlan) and member.name in sizes
            else member
            for member in self._tree
        )
        if "channels" not in options or _said(config, "channel"):
            options["channels"] = config.section(ChannelConfig)
        return replace(self, node_id=node_id, _options=options, _tree=tree)

    def build(self) -> Node:
        """Make the node, not started: use it in a ``with`` block, or call its ``start``.

        Raises:
            UsageError: an option makes no sense.
        """
        return self.build_as(Node)

    def build_as(self, make: Callable[..., N]) -> N:
        """Make a node of another kind, such as a :class:`~gristmill.testing.Simulation`.

        Args:
            make: takes the keyword arguments of :class:`~gristmill.node.node.Node`.
        """
        plans = (m.watch() for m in self._tree if isinstance(m, PoolPlan))
        pools = [watch for watch in plans if watch is not None]
        return make(
            node_id=self.node_id, supervisors=self.supervisors, pools=pools, **self._options
        )

    def _with(self, **options: object) -> NodeBuilder:
        return replace(self, _options={**self._options, **options})


def _put_below(members: list[SupervisorSpec | ChildSpec], path: str, spec: SupervisorSpec) -> None:
    """Make a spec the last child of the supervisor at a path below these members.

    Raises:
        UsageError: there is none.
    """
    first, _, rest = path.partition("/")
    for place, member in enumerate(members):
        if isinstance(member, SupervisorSpec) and member.id == first:
            below = list(member.children)
            if rest:
                _put_below(below, rest, spec)
            else:
                below.append(spec)
            members[place] = msgspec.structs.replace(member, children=tuple(below))
            return
    raise UsageError(f"pool {spec.id!r}: no supervisor {first!r} was declared before it")


def _said(config: Config, section: str) -> set[str]:
    """Give the keys of a section that somebody has set."""
    return {s.key for s in config.settings if s.section == section and s.origin != "default"}


_UNAVAILABLE = {
    ("node", "node_address"): "joining other nodes",
}


def _refuse_unavailable(config: Config) -> None:
    """Refuse what has its key already and would have no effect."""
    for setting in config.settings:
        what = _UNAVAILABLE.get((setting.section, setting.key))
        if what is not None and setting.value:
            raise ConfigError(
                f"{setting.origin}: [{setting.section}] {setting.key} = {setting.value!r}: "
                f"{what} is not in this version; leave the key out"
            )
