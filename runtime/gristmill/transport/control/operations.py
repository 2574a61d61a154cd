"""What clients, and actors that spawn others, ask of the supervisor process, in a ``Call``."""

from __future__ import annotations

import msgspec

from gristmill.placement.elasticity import Elasticity
from gristmill.supervision import ChildSpec, ExitReason, Shutdown, SupervisorSpec
from gristmill.transport import child_operations as children
from gristmill.transport.control.parts import ActorSpec


class Instance(msgspec.Struct, frozen=True, array_like=True):
    """What one of several like actors has of its own."""

    id: str
    args: bytes
    name: str = ""


class Parent(msgspec.Struct, frozen=True, array_like=True):
    """The incarnation that spawns actors as its children."""

    key: int
    incarnation: int
    keeps_children: bool
    """Whether they outlive its restarts."""


class SpawnActors(msgspec.Struct, frozen=True, array_like=True, tag="SpawnActors"):
    """Start like actors under a supervisor (by path; empty: the root), all or none.

    Answered by their keys and homes, in the order of the instances.
    """

    parent: str
    child: ChildSpec
    """What they have in common as children."""
    actor: ActorSpec
    """What they have in common as actors."""
    instances: tuple[Instance, ...]
    by: Parent | None = None
    """The actor under whose own supervisor they go, instead of ``parent``."""


class StartSupervisor(msgspec.Struct, frozen=True, array_like=True, tag="StartSupervisor"):
    """Start a supervisor, with its children, under another one."""

    parent: str
    spec: SupervisorSpec


class StartGroup(msgspec.Struct, frozen=True, array_like=True, tag="StartGroup"):
    """Have a group of keyed actors; answered by its address."""

    actor: ActorSpec
    """What all have in common; its name is the group's."""
    shards: int
    hand_off: float
    """Seconds for the fences of one that leaves, and again for its stop."""
    max_restarts: int
    within: float


class FindGroup(msgspec.Struct, frozen=True, array_like=True, tag="FindGroup"):
    """Find a group of keyed actors by its name."""

    name: str


class WatchPool(msgspec.Struct, frozen=True, array_like=True, tag="WatchPool"):
    """Make the pool of this name elastic."""

    name: str
    actor: ActorSpec
    """What its members have in common; their names are ``NAME-1`` and so on."""
    child: ChildSpec
    rule: Elasticity
    supervisor: str = ""
    """The path of the one above the pool's own, which has the pool's name; empty: the root."""

    @property
    def path(self) -> str:
        """The path of the pool's supervisor, below the root."""
        return f"{self.supervisor}/{self.name}".lstrip("/")


class JoinPool(msgspec.Struct, frozen=True, array_like=True, tag="JoinPool"):
    """Be told of an elastic pool's members, first before the answer, which is its address."""

    name: str


class AddWorkers(msgspec.Struct, frozen=True, array_like=True, tag="AddWorkers"):
    """Start more workers; answered by their names when they are ready."""

    count: int


class RemoveWorker(msgspec.Struct, frozen=True, array_like=True, tag="RemoveWorker"):
    """Let a worker's actors move off it, then end it; answered when it has gone."""

    name: str


class StopChild(msgspec.Struct, frozen=True, array_like=True, tag="StopChild"):
    """Stop an actor or supervisor in order and forget it; an actor ends with the reason."""

    key: int
    reason: ExitReason = Shutdown()


class AwaitSubscriptions(msgspec.Struct, frozen=True, array_like=True, tag="AwaitSubscriptions"):
    """Answer when every process has heard what this client has subscribed to, or no more."""


class Lookup(msgspec.Struct, frozen=True, array_like=True, tag="Lookup"):
    """Find an actor by its name."""

    name: str


class GetStatus(msgspec.Struct, frozen=True, array_like=True, tag="GetStatus"):
    """Describe the node: workers, tree, counters."""


class GetTree(msgspec.Struct, frozen=True, array_like=True, tag="GetTree"):
    """Describe the supervision tree, with where its actors are and what waits for them."""


class GetActivity(msgspec.Struct, frozen=True, array_like=True, tag="GetActivity"):
    """Say what every worker does now; with ``stacks`` also have each write its stacks."""

    stacks: bool = False


class CollectMetrics(msgspec.Struct, frozen=True, array_like=True, tag="CollectMetrics"):
    """Ask every worker for its accounting."""


class CollectTrace(msgspec.Struct, frozen=True, array_like=True, tag="CollectTrace"):
    """Ask every worker for what it has recorded since ``begin``, perf_counter ns."""

    begin: int


class CollectedTrace(msgspec.Struct, frozen=True, array_like=True):
    """What the workers have recorded."""

    traces: list[bytes]
    missing: list[str]
    """Workers that have ended since the begin, and those that did not answer."""


class GetDeadLetters(msgspec.Struct, frozen=True, array_like=True, tag="GetDeadLetters"):
    """Read the dead letters that are kept."""


class FindDeadLetter(msgspec.Struct, frozen=True, array_like=True, tag="FindDeadLetter"):
    """Give a dead letter, and the address of the actor that it was for."""

    number: int


class RemoveDeadLetter(msgspec.Struct, frozen=True, array_like=True, tag="RemoveDeadLetter"):
    """Keep a dead letter no longer: it has been sent again."""

    number: int


class Reload(msgspec.Struct, frozen=True, array_like=True, tag="Reload"):
    """Replace all workers, one after the other, by such with the code as it is now.

    ``tree``: how the actors of the static tree are started from now on; None: as before.
    """

    tree: SupervisorSpec | None = None


class StopNode(msgspec.Struct, frozen=True, array_like=True, tag="StopNode"):
    """Stop the whole node: in order within ``timeout`` seconds, at once when it is 0."""

    timeout: float


Operation = (
    SpawnActors
    | StartSupervisor
    | StartGroup
    | FindGroup
    | WatchPool
    | JoinPool
    | AddWorkers
    | RemoveWorker
    | StopChild
    | children.TerminateChild
    | children.RestartChild
    | children.DeleteChild
    | children.WhichChildren
    | children.CountChildren
    | AwaitSubscriptions
    | Lookup
    | GetStatus
    | GetTree
    | GetActivity
    | CollectMetrics
    | CollectTrace
    | GetDeadLetters
    | FindDeadLetter
    | RemoveDeadLetter
    | Reload
    | StopNode
)
