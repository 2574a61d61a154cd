"""The control plane: what the supervisor process and the others say to each other.

Every message is one MessagePack-encoded Struct; :mod:`~gristmill.transport.control_link` carries
them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gristmill.errors import UsageError
from gristmill.transport.control.from_supervisor import (
    AwaitFences,
    BreakerNews,
    Departed,
    Exit,
    ForgetActor,
    FromSupervisor,
    Gone,
    Grouped,
    HandOver,
    Hear,
    KillActor,
    Members,
    News,
    NodeStopped,
    NotPlaced,
    PeerDown,
    PeerMoved,
    PeerUp,
    Placed,
    Registered,
    ReportLoads,
    ReportMailboxes,
    ReportMetrics,
    ReportTrace,
    Result,
    Retire,
    StartActor,
    StartActors,
    Stay,
    StopActor,
    Subscribers,
    TakeOver,
    Terminate,
    Unregistered,
    Welcome,
)
from gristmill.transport.control.operations import (
    AddWorkers,
    AwaitSubscriptions,
    CollectedTrace,
    CollectMetrics,
    CollectTrace,
    FindDeadLetter,
    FindGroup,
    GetActivity,
    GetDeadLetters,
    GetStatus,
    GetTree,
    Instance,
    JoinPool,
    Lookup,
    Operation,
    Parent,
    Reload,
    RemoveDeadLetter,
    RemoveWorker,
    SpawnActors,
    StartGroup,
    StartSupervisor,
    StopChild,
    StopNode,
    WatchPool,
)
from gristmill.transport.control.parts import (
    FIRST_CLIENT,
    SUPERVISOR,
    ActorSpec,
    ControlMessage,
    Legacy,
    PeerInfo,
)
from gristmill.transport.control.to_supervisor import (
    ActorExited,
    ActorFailed,
    ActorsStarted,
    BreakerReport,
    Call,
    ClientHello,
    DeadLetter,
    Fenced,
    HandedOver,
    Heard,
    Idle,
    Loads,
    Locate,
    Mailboxes,
    Metrics,
    Subscribe,
    Terminating,
    TookOver,
    ToSupervisor,
    Trace,
    WorkerFailed,
    WorkerReady,
)

encode_control = msgspec.msgpack.Encoder().encode
decode_to_supervisor = msgspec.msgpack.Decoder(ToSupervisor).decode
decode_from_supervisor = msgspec.msgpack.Decoder(FromSupervisor).decode
_any_call = msgspec.msgpack.Decoder(tuple[Literal["Call"], int, list[Any]])


def refusal_of(encoded: bytes, error: msgspec.MsgspecError) -> Result | None:
    """Give the answer to a call that can't be decoded; None if it is no call.

    Args:
        encoded: what is no message to the supervisor process.
        error: why not: an argument that was passed on as it came is of another type.
    """
    try:
        _, number, operation = _any_call.decode(encoded)
    except msgspec.MsgspecError:
        return None
    what, _, _ = str(error).partition(" - at ")
    text = f"{operation[0]}: an argument is of a wrong type: {what}"
    return Result(number, error=UsageError.__name__, message=text)


__all__ = [
    "FIRST_CLIENT",
    "SUPERVISOR",
    "ActorExited",
    "ActorFailed",
    "ActorSpec",
    "ActorsStarted",
    "AddWorkers",
    "AwaitFences",
    "AwaitSubscriptions",
    "BreakerNews",
    "BreakerReport",
    "Call",
    "ClientHello",
    "CollectMetrics",
    "CollectTrace",
    "CollectedTrace",
    "ControlMessage",
    "DeadLetter",
    "Departed",
    "Exit",
    "Fenced",
    "FindDeadLetter",
    "FindGroup",
    "ForgetActor",
    "FromSupervisor",
    "GetActivity",
    "GetDeadLetters",
    "GetStatus",
    "GetTree",
    "Gone",
    "Grouped",
    "HandOver",
    "HandedOver",
    "Hear",
    "Heard",
    "Idle",
    "Instance",
    "JoinPool",
    "KillActor",
    "Legacy",
    "Loads",
    "Locate",
    "Lookup",
    "Mailboxes",
    "Members",
    "Metrics",
    "News",
    "NodeStopped",
    "NotPlaced",
    "Operation",
    "Parent",
    "PeerDown",
    "PeerInfo",
    "PeerMoved",
    "PeerUp",
    "Placed",
    "Registered",
    "Reload",
    "RemoveDeadLetter",
    "RemoveWorker",
    "ReportLoads",
    "ReportMailboxes",
    "ReportMetrics",
    "ReportTrace",
    "Result",
    "Retire",
    "SpawnActors",
    "StartActor",
    "StartActors",
    "StartGroup",
    "StartSupervisor",
    "Stay",
    "StopActor",
    "StopChild",
    "StopNode",
    "Subscribe",
    "Subscribers",
    "TakeOver",
    "Terminate",
    "Terminating",
    "ToSupervisor",
    "TookOver",
    "Trace",
    "Unregistered",
    "WatchPool",
    "Welcome",
    "WorkerFailed",
    "WorkerReady",
    "decode_from_supervisor",
    "decode_to_supervisor",
    "encode_control",
    "refusal_of",
]
