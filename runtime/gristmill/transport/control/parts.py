"""What messages of both directions are made of."""

from __future__ import annotations

import msgspec

from gristmill.facets.specs import FacetSpec
from gristmill.ref import Mailbox

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


class PeerInfo(msgspec.Struct, frozen=True, array_like=True):
    """Where a living process is reached."""

    address: int
    incarnation: int
    endpoint: str
    name: str
