"""The application: its supervision tree, ``app`` for ``gristmill up``, and ``OrderService``.

::

    RootSupervisor (one_for_one, 20 restarts in 5 s)
      |- ServiceSupervisor (one_for_one, 20 in 5 s)
      |    |- shipping, inventory, payment; of a pool its supervisor, with its members
      |- SubscriberSupervisor (the same), if Redis or Kafka is on
      |    |- revenue, audit-log, notices
      `- orders-1 ... orders-N, one on each worker
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gristmill import Actor, Breaker, Node, Ref
from gristmill.channels import ChannelBackend, Start, backends_of
from gristmill.channels.servers import make_driver
from gristmill.config import ChannelConfig, Config, NodeConfig, PoolConfig
from gristmill.errors import ConfigError
from gristmill.node.building.actor_builder import ActorBuilder
from gristmill.node.building.application import Application
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.placement.ring import HashRing
from gristmill.supervision import ChildSpec, SupervisorSpec
from gristmill_orders.config import OrderProcessorConfig, bootstrap
from gristmill_orders.effects import INVENTORY, PAYMENT, SHIPPING
from gristmill_orders.processor import ORDERS, OrderProcessorActor
from gristmill_orders.saga import SagaPolicy
from gristmill_orders.services import (
    InventoryServiceActor,
    PaymentServiceActor,
    ShippingServiceActor,
)
from gristmill_orders.subscribers import (
    AUDIT_LOG,
    NOTICES,
    REVENUE,
    SUBSCRIBERS,
    AuditLogActor,
    NoticesActor,
    RevenueActor,
    group_of,
)
from gristmill_orders.world import World

MAX_RESTARTS = 20
WITHIN = 5.0
"""Each supervisor gives up at more than ``MAX_RESTARTS`` restarts in ``WITHIN`` seconds."""

_ROOT = "RootSupervisor"
_ABOVE_SERVICES = "ServiceSupervisor"

AUDIT_LOG_FILE = "audit-log.jsonl"
"""The name of the audit log, beside the journal."""

_SERVICES: dict[str, type[Actor]] = {
    SHIPPING: ShippingServiceActor,
    INVENTORY: InventoryServiceActor,
    PAYMENT: PaymentServiceActor,
}
"""The services, those with the most to compute first."""


def order_node(
    config: Config,
    world: World,
    journal: str | Path,
    *,
    max_restarts: int = MAX_RESTARTS,
    run: str = "",
) -> NodeBuilder:
    """Describe a node that runs the service.

    Args:
        config: the settings, as declared by ``gristmill_orders.config``.
        world: the externals.
        journal: the directory in which orders, stock and keys are kept.
        max_restarts: restarts that each supervisor allows within ``WITHIN`` seconds.
        run: names the consumer groups of a single run, whose journal begins anew.

    Raises:
        ConfigError: a setting asks for what this service does not have.
    """
    if not backends_of(config.section(ChannelConfig)):
        raise ConfigError(
            "[channel] leaves no channel for the events of orders; set use_in_memory, use_redis or "
            "use_kafka to true"
        )
    log = Path(journal).absolute().parent / AUDIT_LOG_FILE
    subscribers = _subscribers(config, log, run, max_restarts)
    builder = (
        NodeBuilder()
        .journal(journal)
        .preload(
            "gristmill_orders.processor",
            "gristmill_orders.services",
            "gristmill_orders.subscribers",
        )
        .restarts(0)  # the tree has limits of its own, and what it gives up is final
        .supervise(_tree(config, world, max_restarts, subscribers))
    )
    return _with_elastic_services(builder, config, world, max_restarts).configure(config)


def processor_names(config: Config) -> tuple[str, ...]:
    """Give the names of the order processors, one for each worker."""
    workers = config.section(NodeConfig).worker_count()
    return tuple(f"orders-{number}" for number in range(1, workers + 1))


class OrderService:
    """The order service on a node of its own; use it in a ``with`` block.

    Args:
        config: as of :func:`order_node`, like those that follow.
        world: the externals.
        journal: the directory of the journal.
        max_restarts: restarts that each supervisor allows.
        run: as of :func:`order_node`.
        build: makes the node; a simulated one for a test.
    """

    def __init__(
        self,
        config: Config,
        world: World,
        journal: str | Path,
        *,
        max_restarts: int = MAX_RESTARTS,
        run: str = "",
        build: Callable[[NodeBuilder], Node] = NodeBuilder.build,
    ) -> None:
        self.world = world
        self.max_orders = config.section(OrderProcessorConfig).max_orders
        self.processors = processor_names(config)
        self.node = build(order_node(config, world, journal, max_restarts=max_restarts, run=run))
        self.groups = [group_of(name, run) for name in SUBSCRIBERS if has_subscribers(config)]
        """The consumer groups of the subscribers, if there are any."""
        self._ring = HashRing(self.processors)
        self._refs: dict[str, Ref[Any]] = {}

    def processor(self, order_id: str) -> Ref[OrderProcessorActor]:
        """Give the processor that an order belongs to."""
        return self.actor(self._ring.owner(order_id))

    def actor(self, name: str) -> Ref[Any]:
        """Give a processor or service by its name."""
        ref = self._refs.get(name)
        if ref is None:
            ref = self._refs[name] = self.node.lookup(name)
        return ref

    def __enter__(self) -> Self:
        self.node.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.node.stop(*(() if kind is None else (0,)))  # after an error all ends at once


def has_subscribers(config: Config) -> bool:
    """Tell whether a backend is on that has groups, which subscribers need."""
    channels = config.section(ChannelConfig)
    return channels.use_redis or channels.use_kafka


def begin_groups(config: Config, run: str) -> None:
    """Have the subscribers of a run hear of its orders and of no earlier ones.

    Raises:
        ConfigError: the client library of a server is not installed.
        ChannelUnavailableError: a server can't be reached.
    """
    channels = config.section(ChannelConfig)
    for kind in backends_of(channels):
        if kind is not ChannelBackend.MEMORY:
            driver = make_driver(kind, channels)
            driver.check()
            for subscriber in SUBSCRIBERS:
                driver.begin(ORDERS, group_of(subscriber, run), Start.NEW)
            return  # they listen to the first one


def _subscribers(
    config: Config, log: Path, run: str, max_restarts: int
) -> tuple[SupervisorSpec, ...]:
    if not has_subscribers(config):
        return ()
    actors = (
        ActorBuilder(RevenueActor).args(run).name(REVENUE),
        ActorBuilder(AuditLogActor).args(str(log), run).name(AUDIT_LOG),
        ActorBuilder(NoticesActor).args(run).name(NOTICES),
    )
    return (
        SupervisorSpec(
            "SubscriberSupervisor",
            max_restarts=max_restarts,
            within=WITHIN,
            children=tuple(actor.child_spec() for actor in actors),
        ),
    )


def _with_elastic_services(
    builder: NodeBuilder, config: Config, world: World, max_restarts: int
) -> NodeBuilder:
    for name, names in service_names(config.table(PoolConfig)).items():
        if not names:
            kind = _SERVICES[name]
            builder = builder.pool(
                kind,
                name,
                args=(world,),
                kwargs={"shared": True},
                facets=(*kind.facets, *_breakers(kind, world)),
                max_restarts=max_restarts,
                within=WITHIN,
                supervisor=f"{_ROOT}/{_ABOVE_SERVICES}",
            )
    return builder


def _tree(
    config: Config, world: World, max_restarts: int, subscribers: tuple[SupervisorSpec, ...]
) -> SupervisorSpec:
    settings = config.section(OrderProcessorConfig)
    processors = processor_names(config)
    services = service_names(config.table(PoolConfig))
    policy = SagaPolicy(settings.retry_seconds, settings.max_orders)
    below = _service_children(services, world, len(processors), max_restarts)
    return SupervisorSpec(
        _ROOT,
        max_restarts=max_restarts,
        within=WITHIN,
        children=(
            SupervisorSpec(
                _ABOVE_SERVICES,
                max_restarts=max_restarts,
                within=WITHIN,
                children=tuple(below),
            ),
            *subscribers,
            *(
                ActorBuilder(OrderProcessorActor)
                .args(policy, services)
                .kwargs(metrics=settings.enable_metrics)
                .name(name)
                .placement(f"w{number}")
                .child_spec()
                for number, name in enumerate(processors, start=1)
            ),
        ),
    )


def service_names(pools: Mapping[str, PoolConfig]) -> dict[str, tuple[str, ...]]:
    """Give the names of the actors of each service, as the pools' sizes say.

    None of one that is an elastic pool: its members come and go.

    Raises:
        ConfigError: there is no such service, or it can't be a pool.
    """
    for name in pools:
        if name not in _SERVICES:
            near = get_close_matches(name, _SERVICES, 1)
            hint = f"; did you mean [pools.{near[0]}]?" if near else ""
            raise ConfigError(
                f"[pools.{name}] names no service; there are {', '.join(sorted(_SERVICES))}{hint}"
            )
    if INVENTORY in pools and pools[INVENTORY].max > 1:
        key = "size" if pools[INVENTORY].size > 1 else "max"
        raise ConfigError(
            f"[pools.{INVENTORY}] {key} = {getattr(pools[INVENTORY], key)}: all stock has one "
            f"owner; set {key} = 1"
        )
    return {name: _names(name, pools.get(name, PoolConfig())) for name in _SERVICES}


def _names(service: str, pool: PoolConfig) -> tuple[str, ...]:
    if pool.min < pool.max:
        return ()
    if pool.size == 1:
        return (service,)
    return tuple(f"{service}-{number}" for number in range(1, pool.size + 1))


def _service_children(
    services: Mapping[str, Sequence[str]], world: World, workers: int, max_restarts: int
) -> Iterator[ChildSpec | SupervisorSpec]:
    """Spread the services over the workers, so that the heaviest stand apart.

    They are placed there and back. Without compute in turn, as each message costs about the same.
    """
    there = [f"w{number}" for number in range(1, workers + 1)]
    homes = there + there[::-1] if world.compute else there
    position = 0
    for service, names in services.items():
        children = []
        for name in names:
            home = homes[position % len(homes)]
            children.append(_service(_SERVICES[service], world, name, home))
            position += 1
        if len(children) == 1:
            yield children[0]
        elif children:
            yield SupervisorSpec(
                service, max_restarts=max_restarts, within=WITHIN, children=tuple(children)
            )


def _service(kind: type[Actor], world: World, name: str, home: str) -> ChildSpec:
    actor = ActorBuilder(kind).args(world).facet(*_breakers(kind, world))
    return actor.name(name).placement(home).child_spec()


def _breakers(kind: type[Actor], world: World) -> tuple[Breaker, ...]:
    breakers = (facet for facet in kind.facets if isinstance(facet, Breaker))
    return tuple(Breaker(facet.name, world.breaker) for facet in breakers)


def data_folder(config: Config) -> Path:
    """Make the folder of ``[order_processor] data_dir`` ready.

    Raises:
        ConfigError: its orders belong to another number of processors, or it can't be written.
    """
    folder = Path(config.section(OrderProcessorConfig).data_dir)
    processors = len(processor_names(config))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = folder / "processors"
        if not record.exists():
            record.write_text(f"{processors}\n")
        known = record.read_text().strip()
    except OSError as error:
        raise ConfigError(f"[order_processor] data_dir = {str(folder)!r}: {error}") from None
    if known != str(processors):
        raise ConfigError(
            f"the orders in {folder} are spread over {known} processors, one for each worker: "
            f"start with {known} workers, or with another [order_processor] data_dir"
        )
    return folder


def _application(config: Config) -> NodeBuilder:
    folder = data_folder(config)
    world = World.of(config, str(folder.absolute() / "ledger"))
    return order_node(config, world, folder / "journal")


app = Application(_application, bootstrap())
"""What ``gristmill up gristmill_orders.app:app`` runs."""
