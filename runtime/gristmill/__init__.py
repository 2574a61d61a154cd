"""gristmill: a multiprocess actor runtime for compute-heavy Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.behaviours.actor import Actor
    from gristmill.behaviours.context import DEFERRED, Context
    from gristmill.behaviours.event_handler import EventHandler
    from gristmill.behaviours.gen_event import GenEvent
    from gristmill.behaviours.gen_server import GenServer
    from gristmill.behaviours.gen_state_machine import GenStateMachine, on
    from gristmill.behaviours.layers import guarded, once, through
    from gristmill.behaviours.links import Down, Exited, MonitorRef
    from gristmill.behaviours.protocol import handles
    from gristmill.channels.manager import ChannelManager
    from gristmill.config import ConfigBootstrap, Recycle
    from gristmill.deferred import Reply
    from gristmill.errors import (
        ActorCrashed,
        ActorDied,
        ActorNotFoundError,
        AskCycle,
        AskTimeoutError,
        GristmillError,
        Ignore,
        Reject,
    )
    from gristmill.facets.specs import Breaker, Durable, Idempotency, Reminders
    from gristmill.keyed import KeyedGroup
    from gristmill.messages import Command, Event, Request
    from gristmill.metrics import CoordinationComputeTracker
    from gristmill.node.building.actor_builder import ActorBuilder
    from gristmill.node.building.application import Application
    from gristmill.node.building.factory import ActorFactory
    from gristmill.node.building.node_builder import NodeBuilder
    from gristmill.node.building.registry import ObjectRegistry
    from gristmill.node.node import Node
    from gristmill.node.supervisor_ref import SupervisorRef
    from gristmill.placement.elasticity import Elasticity
    from gristmill.ref import DeliveryGuarantee, Mailbox, OverflowPolicy, Ref
    from gristmill.supervision import Backoff, FailurePolicy, Restart, Strategy, SupervisorSpec

__all__ = [
    "DEFERRED",
    "Actor",
    "ActorBuilder",
    "ActorCrashed",
    "ActorDied",
    "ActorFactory",
    "ActorNotFoundError",
    "Application",
    "AskCycle",
    "AskTimeoutError",
    "Backoff",
    "Breaker",
    "ChannelManager",
    "Command",
    "ConfigBootstrap",
    "Context",
    "CoordinationComputeTracker",
    "DeliveryGuarantee",
    "Down",
    "Durable",
    "Elasticity",
    "Event",
    "EventHandler",
    "Exited",
    "FailurePolicy",
    "GenEvent",
    "GenServer",
    "GenStateMachine",
    "GristmillError",
    "Idempotency",
    "Ignore",
    "KeyedGroup",
    "Mailbox",
    "MonitorRef",
    "Node",
    "NodeBuilder",
    "ObjectRegistry",
    "OverflowPolicy",
    "Recycle",
    "Ref",
    "Reject",
    "Reminders",
    "Reply",
    "Request",
    "Restart",
    "Strategy",
    "SupervisorRef",
    "SupervisorSpec",
    "guarded",
    "handles",
    "on",
    "once",
    "through",
]

_HOMES = {
    "Actor": "gristmill.behaviours.actor",
    "Context": "gristmill.behaviours.context",
    "DEFERRED": "gristmill.behaviours.context",
    "EventHandler": "gristmill.behaviours.event_handler",
    "GenEvent": "gristmill.behaviours.gen_event",
    "GenServer": "gristmill.behaviours.gen_server",
    "GenStateMachine": "gristmill.behaviours.gen_state_machine",
    "on": "gristmill.behaviours.gen_state_machine",
    "Down": "gristmill.behaviours.links",
    "Exited": "gristmill.behaviours.links",
    "MonitorRef": "gristmill.behaviours.links",
    "guarded": "gristmill.behaviours.layers",
    "once": "gristmill.behaviours.layers",
    "through": "gristmill.behaviours.layers",
    "handles": "gristmill.behaviours.protocol",
    "ActorCrashed": "gristmill.errors",
    "ActorDied": "gristmill.errors",
    "ActorNotFoundError": "gristmill.errors",
    "AskCycle": "gristmill.errors",
    "AskTimeoutError": "gristmill.errors",
    "Recycle": "gristmill.config",
    "GristmillError": "gristmill.errors",
    "Ignore": "gristmill.errors",
    "Reject": "gristmill.errors",
    "Reply": "gristmill.deferred",
    "Breaker": "gristmill.facets.specs",
    "Durable": "gristmill.facets.specs",
    "Idempotency": "gristmill.facets.specs",
    "Reminders": "gristmill.facets.specs",
    "Elasticity": "gristmill.placement.elasticity",
    "KeyedGroup": "gristmill.keyed",
    "Command": "gristmill.messages",
    "Event": "gristmill.messages",
    "Request": "gristmill.messages",
    "Application": "gristmill.node.building.application",
    "ActorBuilder": "gristmill.node.building.actor_builder",
    "NodeBuilder": "gristmill.node.building.node_builder",
    "ActorFactory": "gristmill.node.building.factory",
    "Node": "gristmill.node.node",
    "ObjectRegistry": "gristmill.node.building.registry",
    "SupervisorRef": "gristmill.node.supervisor_ref",
    "DeliveryGuarantee": "gristmill.ref",
    "Mailbox": "gristmill.ref",
    "OverflowPolicy": "gristmill.ref",
    "Ref": "gristmill.ref",
    "ChannelManager": "gristmill.channels.manager",
    "ConfigBootstrap": "gristmill.config",
    "CoordinationComputeTracker": "gristmill.metrics",
    "Backoff": "gristmill.supervision",
    "FailurePolicy": "gristmill.supervision",
    "Restart": "gristmill.supervision",
    "Strategy": "gristmill.supervision",
    "SupervisorSpec": "gristmill.supervision",
}
"""Where each name lives: it is imported when it is first used, so that a command that needs
little of the library starts at once."""


if not TYPE_CHECKING:  # for type checkers it would make every misspelt name valid

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
