"""gristmill: a multiprocess actor runtime for compute-heavy Python."""

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import DEFERRED, Context
from gristmill.behaviours.gen_server import GenServer
from gristmill.behaviours.protocol import handles
from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    ActorNotFoundError,
    AskTimeoutError,
    GristmillError,
    Reject,
)
from gristmill.facets.specs import Breaker, Durable, Idempotency
from gristmill.messages import Command, Event, Request
from gristmill.node.node import Node
from gristmill.ref import DeliveryGuarantee, Mailbox, OverflowPolicy, Ref

__all__ = [
    "DEFERRED",
    "Actor",
    "ActorCrashed",
    "ActorDied",
    "ActorNotFoundError",
    "AskTimeoutError",
    "Breaker",
    "Command",
    "Context",
    "DeliveryGuarantee",
    "Durable",
    "Event",
    "GenServer",
    "GristmillError",
    "Idempotency",
    "Mailbox",
    "Node",
    "OverflowPolicy",
    "Ref",
    "Reject",
    "Request",
    "handles",
]
