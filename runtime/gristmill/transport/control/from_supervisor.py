"""What the supervisor process tells workers and clients."""

from __future__ import annotations

import msgspec

from gristmill.death import Death, Suspect
from gristmill.errors import ErrorData
from gristmill.facets.breaker_state import CircuitState, SharedState
from gristmill.ref import Address
from gristmill.supervision import ExitReason
from gristmill.transport.control.parts import ActorSpec, ControlMessage, Legacy, PeerInfo


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
    """There is a group of keyed actors, or an elastic pool."""

    address: Address


class News(ControlMessage, tag="News", frozen=True):
    """What every process is told, by number, so that its frames can say what it has heard.

    Without anything new it tells a newcomer that it has been told everything so far.
    """

    number: int
    what: Registered | Unregistered | Grouped | None


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

    A fence is wanted for each (number, process, name) of ``fences``, the members that leave: behind
    what was sent to the process before, and when the member has acknowledged what it has to.
    """

    name: str
    members: tuple[Address, ...]
    fences: tuple[tuple[int, int, str], ...] = ()


class Subscribers(ControlMessage, tag="Subscribers", frozen=True):
    """Who gets the events of a channel, as (process, actor key) pairs."""

    channel: str
    targets: tuple[tuple[int, int], ...]
    number: int = 0
    """The supervisor process waits until this change was heard of; 0: it doesn't."""


class Hear(ControlMessage, tag="Hear", frozen=True):
    """Answer with :class:`Heard`, behind all that there was to say before."""

    number: int


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


class ReportTrace(ControlMessage, tag="ReportTrace", frozen=True):
    """Send a :class:`Trace` of what you have recorded since ``begin``, perf_counter ns."""

    number: int
    begin: int


class ReportLoads(ControlMessage, tag="ReportLoads", frozen=True):
    """Send the :class:`Loads` of these actors now."""

    keys: tuple[int, ...]


class ReportMailboxes(ControlMessage, tag="ReportMailboxes", frozen=True):
    """Send your :class:`Mailboxes` now."""


class Exit(ControlMessage, tag="Exit", frozen=True):
    """Flush, send a last :class:`Metrics`, and end the process."""

    dismissed: bool = False
    """Whether the node goes on: what this worker has journaled must have arrived before it ends."""


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
    | News
    | Placed
    | NotPlaced
    | Retire
    | AwaitFences
    | Members
    | ReportLoads
    | Subscribers
    | Hear
    | StartActors
    | StopActor
    | KillActor
    | ForgetActor
    | ReportMetrics
    | ReportTrace
    | ReportMailboxes
    | Exit
    | Terminate
    | Result
    | NodeStopped
)
