"""What workers and clients tell the supervisor process."""

from __future__ import annotations

from gristmill.errors import ErrorData
from gristmill.facets.breaker_state import SharedState
from gristmill.metrics import WorkerSnapshot
from gristmill.supervision import ExitReason, Verdict
from gristmill.transport.control.operations import Operation
from gristmill.transport.control.parts import ControlMessage, Legacy, PeerInfo


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
    """What came with this number was taken in: :class:`Hear`, or a change of subscribers."""

    number: int


class Metrics(ControlMessage, tag="Metrics", frozen=True):
    """A process's accounting up to now."""

    snapshot: WorkerSnapshot


class Trace(ControlMessage, tag="Trace", frozen=True):
    """What a worker has recorded, for the :class:`ReportTrace` of this number."""

    number: int
    trace: bytes
    """An encoded :class:`~gristmill.metrics.tracing.ProcessTrace`."""


class Mailboxes(ControlMessage, tag="Mailboxes", frozen=True):
    """How many messages wait for a worker's actors, by key; those with none are left out."""

    lengths: dict[int, int]


class BreakerReport(ControlMessage, tag="BreakerReport", frozen=True):
    """A circuit breaker that a service shares has moved in this worker."""

    now: SharedState


class Locate(ControlMessage, tag="Locate", frozen=True):
    """Where is the actor of this key? Answered by :class:`Placed` or :class:`NotPlaced`.

    Without a key: who are the members of this elastic pool? Answered by :class:`Members`, now and
    whenever they change.
    """

    group: str
    key: str
    after: float = 0.0
    """Seconds until it is to be looked for: it could not be started a moment ago."""


class Fenced(ControlMessage, tag="Fenced", frozen=True):
    """All fences of a retirement have come: whoever leaves has all that was sent to it."""

    number: int


class Idle(ControlMessage, tag="Idle", frozen=True):
    """These keyed actors have had nothing to do for as long as their group allows."""

    keys: tuple[int, ...]


class Loads(ControlMessage, tag="Loads", frozen=True):
    """What actors have to do, by key: whether a message is in hand, and how many wait."""

    loads: dict[int, tuple[bool, int]]


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


class Call(ControlMessage, tag="Call", frozen=True):
    """An operation that is answered by a :class:`Result` with the same number."""

    number: int
    operation: Operation


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
    | Trace
    | Mailboxes
    | BreakerReport
    | Locate
    | Fenced
    | Idle
    | Loads
    | DeadLetter
    | Call
)
