"""The control plane: what the supervisor process and the others say to each other.

Every message is one MessagePack-encoded Struct; :mod:`~gristmill.transport.control_link` carries
them.
"""

from __future__ import annotations

import msgspec

from gristmill.death import Death, Suspect
from gristmill.errors import ErrorData
from gristmill.facets.breaker_state import CircuitState, SharedState
from gristmill.facets.specs import FacetSpec
from gristmill.metrics import WorkerSnapshot
from gristmill.placement.elasticity import Elasticity
from gristmill.ref import Address, Mailbox
from gristmill.supervision import ChildSpec, ExitReason, Shutdown, SupervisorSpec, Verdict
from gristmill.transport import child_operations as children

SUPERVISOR = 0
"""The process number of the supervisor process; workers count from 1, clients from 1001."""
FIRST_CLIENT = 1001


class ControlMessage(msgspec.Struct, frozen=True, array_like=True):
    """The base of everything on the control plane."""


class ActorSpec(msgspec.Struct, frozen=True, array_like=True):
    """How to make an actor: what a :class:`ChildSpec` carries in ``start``."""

    type: str
    args: bytes
    """The positional and keyword arguments, an encoded ``[[...], {...}]``."""
    name: str = ""
    mailbox: Mailbox = Mailbox()
    facets: tuple[FacetSpec, ...] = ()
    placement: str = "any"
    """``any``, ``io``, ``dedicated`` or a worker's name."""
    on_restart: str = "keep"
    start_timeout: float = 0.0
    """Seconds that each of its starts may take; 0 for any."""
    time_limit: float = 0.0
    """Seconds that a handler may take before its worker is killed; 0 for no limit."""
    key: str = ""
    """The key of a keyed actor."""
    idle: float = 0.0
    """Seconds after which a keyed actor without work may end; 0 for never."""


class Legacy(msgspec.Struct, frozen=True, array_like=True):
    """What a worker that takes another one's place has to know of it."""

    credit: dict[int, dict[int, int]] = {}  # msgspec copies it
    """Places in use in mailboxes, by process and actor."""
    lanes: dict[str, tuple[int, int, int]] = {}
    """How far at-least-once messages were sent, by target: process, incarnation, number."""


class DeadLetter(ControlMessage, tag="DeadLetter", frozen=True):
    """A message that nobody handled, with the reason."""

    reason: str
    target: str
    message_type: str
    body: bytes
    sender: str = ""
    worker: str = ""
    error: ErrorData | None = None
    key: int = 0
    """The actor that it was for; 0 if that is not known."""
    number: int = 0
    """What it is called on its node."""


class PeerInfo(msgspec.Struct, frozen=True, array_like=True):
    """Where a living process is reached."""

    address: int
    incarnation: int
    endpoint: str
    name: str


# --- to the supervisor process ---


class WorkerReady(ControlMessage, tag="WorkerReady", frozen=True):
    """A worker has bound its socket and can host actors."""

    peer: PeerInfo
    pid: int


class WorkerFailed(ControlMessage, tag="WorkerFailed", frozen=True):
    """A worker could not boot."""

    address: int
    error: ErrorData


class ClientHello(ControlMessage, tag="ClientHello", frozen=True):
    """A client wants to join. ``owner``: the node ends with it."""

    endpoint: str
    pid: int
    owner: bool


class ActorsStarted(ControlMessage, tag="ActorsStarted", frozen=True):
    """Incarnations have started, given as (key, incarnation)."""

    started: tuple[tuple[int, int], ...]


class ActorFailed(ControlMessage, tag="ActorFailed", frozen=True):
    """An incarnation could not start, or chose not to run (``ignored``)."""

    key: int
    incarnation: int
    reason: ExitReason
    ignored: bool = False
    verdict: Verdict | None = None
    """What its class has decided, of a restart that failed."""


class ActorExited(ControlMessage, tag="ActorExited", frozen=True):
    """An incarnation has ended."""

    key: int
    incarnation: int
    reason: ExitReason
    verdict: Verdict | None = None
    """What its class has decided about an exception of its own."""


class Terminating(ControlMessage, tag="Terminating", frozen=True):
    """SIGTERM has come to a worker: is it alone, or does the whole node stop?"""

    address: int
    incarnation: int


class HandedOver(ControlMessage, tag="HandedOver", frozen=True):
    """A worker has ended its actors, given as (key, incarnation), and passes on what comes.

    ``taken``: messages about actors that it has carried out since it was told to hand over.
    """

    address: int
    incarnation: int
    ended: tuple[tuple[int, int], ...]
    taken: int
    legacy: Legacy


class TookOver(ControlMessage, tag="TookOver", frozen=True):
    """A worker has all that came to the one before it, which can end."""

    address: int
    incarnation: int


class Subscribe(ControlMessage, tag="Subscribe", frozen=True):
    """An actor (or a client: key 0) wants a channel's events; ``wanted=False`` ends it."""

    channel: str
    address: int
    key: int
    wanted: bool = True


class Heard(ControlMessage, tag="Heard", frozen=True):
    """This process knows of a change of the :class:`Subscribers` of a channel."""

    number: int


class Metrics(ControlMessage, tag="Metrics", frozen=True):
    """A process's accounting up to now."""

    snapshot: WorkerSnapshot


class Mailboxes(ControlMessage, tag="Mailboxes", frozen=True):
    """How many messages wait for a worker's actors, by key; those with none are left out."""

    lengths: dict[int, int]


class BreakerReport(ControlMessage, tag="BreakerReport", frozen=True):
    """A circuit breaker that a service shares has moved in this worker."""

    now: SharedState


class Locate(ControlMessage, tag="Locate", frozen=True):
    """Where is the actor of this key? Answered by :class:`Placed` or :class:`NotPlaced`."""

    group: str
    key: str


class Fenced(ControlMessage, tag="Fenced", frozen=True):
    """All fences of a retirement have come: whoever leaves has all that was sent to it."""

    number: int


class Idle(ControlMessage, tag="Idle", frozen=True):
    """These keyed actors have had nothing to do for as long as their group allows."""

    keys: tuple[int, ...]


class Loads(ControlMessage, tag="Loads", frozen=True):
    """What actors have to do, by key: whether a message is in hand, and how many wait."""

    loads: dict[int, tuple[bool, int]]


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
    """Make the pool elastic whose supervisor, under the root, has this name."""

    name: str
    actor: ActorSpec
    """What its members have in common; their names are ``NAME-1`` and so on."""
    child: ChildSpec
    rule: Elasticity


class JoinPool(msgspec.Struct, frozen=True, array_like=True, tag="JoinPool"):
    """Be told of an elastic pool's members; :class:`Members` comes before the answer."""

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
    | GetDeadLetters
    | FindDeadLetter
    | RemoveDeadLetter
    | Reload
    | StopNode
)


class Call(ControlMessage, tag="Call", frozen=True):
    """An operation that is answered by a :class:`Result` with the same number."""

    number: int
    operation: Operation


# --- from the supervisor process ---


class Welcome(ControlMessage, tag="Welcome", frozen=True):
    """A client has joined."""

    address: int
    node_id: str
    peers: tuple[PeerInfo, ...]
    directory: tuple[Address, ...]


class PeerUp(ControlMessage, tag="PeerUp", frozen=True):
    """A process can be reached."""

    peer: PeerInfo


class PeerDown(ControlMessage, tag="PeerDown", frozen=True):
    """A process has died."""

    address: int
    incarnation: int
    name: str
    reason: ExitReason
    final: bool = False
    """Nobody will have this address again."""
    death: Death | None = None
    """How, of a worker."""


class PeerMoved(ControlMessage, tag="PeerMoved", frozen=True):
    """A worker is replaced by this one, which has got, or gets, all that was sent to it."""

    peer: PeerInfo


class Departed(ControlMessage, tag="Departed", frozen=True):
    """A worker that was replaced has ended."""

    address: int
    incarnation: int


class HandOver(ControlMessage, tag="HandOver", frozen=True):
    """Leave your place to this worker, as soon as no handler is under way.

    Those that are after ``patience`` seconds are ended.
    """

    to: PeerInfo
    patience: float


class Stay(ControlMessage, tag="Stay", frozen=True):
    """Nobody takes your place: go on."""


class TakeOver(ControlMessage, tag="TakeOver", frozen=True):
    """The place is yours: these actors are going to be started in it.

    ``before``: the worker that passes on what comes to it; None if it has died.
    """

    keys: tuple[int, ...]
    before: PeerInfo | None
    legacy: Legacy | None


class Gone(ControlMessage, tag="Gone", frozen=True):
    """Nobody has these addresses any more: told to a process that comes up."""

    addresses: tuple[int, ...]


class BreakerNews(ControlMessage, tag="BreakerNews", frozen=True):
    """Where a circuit breaker stands that a service shares."""

    now: SharedState
    source: CircuitState | None
    """The state that it has left; None if it was in this one already."""
    address: int
    """The worker that has reported it."""
    incarnation: int


class Registered(ControlMessage, tag="Registered", frozen=True):
    """A name stands for an actor now."""

    address: Address


class Unregistered(ControlMessage, tag="Unregistered", frozen=True):
    """A name is free again."""

    key: int
    name: str


class Grouped(ControlMessage, tag="Grouped", frozen=True):
    """There is a group of keyed actors."""

    address: Address


class Placed(ControlMessage, tag="Placed", frozen=True):
    """A keyed actor is here now."""

    address: Address


class NotPlaced(ControlMessage, tag="NotPlaced", frozen=True):
    """A keyed actor could not be started: what waits for it fails."""

    name: str
    reason: str


class Retire(ControlMessage, tag="Retire", frozen=True):
    """Forget where these keyed actors are, and put a fence behind what was sent to ``home``.

    No fence is wanted if ``number`` is 0: they have ended.
    """

    number: int
    home: int
    names: tuple[str, ...]


class AwaitFences(ControlMessage, tag="AwaitFences", frozen=True):
    """Say when the fences of all these processes have come."""

    number: int
    processes: tuple[int, ...]


class Members(ControlMessage, tag="Members", frozen=True):
    """The members of an elastic pool from now on.

    A fence is wanted at each (number, process) of ``fences``, behind what was sent before.
    """

    name: str
    members: tuple[Address, ...]
    fences: tuple[tuple[int, int], ...] = ()


class Subscribers(ControlMessage, tag="Subscribers", frozen=True):
    """Who gets the events of a channel, as (process, actor key) pairs."""

    channel: str
    targets: tuple[tuple[int, int], ...]
    number: int = 0
    """The supervisor process waits until this change was heard of; 0: it doesn't."""


class StartActor(msgspec.Struct, frozen=True, array_like=True):
    """Start an incarnation."""

    key: int
    incarnation: int
    path: str
    spec: ActorSpec
    suspects: tuple[Suspect, ...] = ()
    """The messages that its workers have died with."""


class StartActors(ControlMessage, tag="StartActors", frozen=True):
    """Start incarnations, in order; they are reported together."""

    starts: tuple[StartActor, ...]


class StopActor(ControlMessage, tag="StopActor", frozen=True):
    """End an incarnation in order, behind what was sent to it before."""

    key: int
    incarnation: int
    reason: ExitReason


class KillActor(ControlMessage, tag="KillActor", frozen=True):
    """End an incarnation at once, without its ``terminate``."""

    key: int
    incarnation: int


class ForgetActor(ControlMessage, tag="ForgetActor", frozen=True):
    """There will be no further incarnation: what waits for it becomes dead letters."""

    key: int


class ReportMetrics(ControlMessage, tag="ReportMetrics", frozen=True):
    """Send your :class:`Metrics` now."""


class ReportLoads(ControlMessage, tag="ReportLoads", frozen=True):
    """Send the :class:`Loads` of these actors now."""

    keys: tuple[int, ...]


class ReportMailboxes(ControlMessage, tag="ReportMailboxes", frozen=True):
    """Send your :class:`Mailboxes` now."""


class Exit(ControlMessage, tag="Exit", frozen=True):
    """Flush, send a last :class:`Metrics`, and end the process."""


class Terminate(ControlMessage, tag="Terminate", frozen=True):
    """SIGTERM was meant for you alone: end your actors in order, and the process."""


class Result(ControlMessage, tag="Result", frozen=True):
    """The answer to a :class:`Call`: an encoded value or an error."""

    number: int
    value: bytes = b""
    error: str = ""
    message: str = ""
    detail: ErrorData | None = None


class NodeStopped(ControlMessage, tag="NodeStopped", frozen=True):
    """The node has ended; ``exit_code`` is 0 for an ordered stop."""

    exit_code: int
    message: str


ToSupervisor = (
    WorkerReady
    | WorkerFailed
    | ClientHello
    | ActorsStarted
    | ActorFailed
    | ActorExited
    | Terminating
    | HandedOver
    | TookOver
    | Subscribe
    | Heard
    | Metrics
    | Mailboxes
    | BreakerReport
    | Locate
    | Fenced
    | Idle
    | Loads
    | DeadLetter
    | Call
)
FromSupervisor = (
    Welcome
    | PeerUp
    | PeerDown
    | PeerMoved
    | Departed
    | HandOver
    | Stay
    | TakeOver
    | Gone
    | Registered
    | Unregistered
    | BreakerNews
    | Grouped
    | Placed
    | NotPlaced
    | Retire
    | AwaitFences
    | Members
    | ReportLoads
    | Subscribers
    | StartActors
    | StopActor
    | KillActor
    | ForgetActor
    | ReportMetrics
    | ReportMailboxes
    | Exit
    | Terminate
    | Result
    | NodeStopped
)

encode_control = msgspec.msgpack.Encoder().encode
decode_to_supervisor = msgspec.msgpack.Decoder(ToSupervisor).decode
decode_from_supervisor = msgspec.msgpack.Decoder(FromSupervisor).decode
