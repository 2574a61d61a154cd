"""Inspections: what may be asked about an actor beside its own messages.

The worker answers them. They keep their place among the messages of an actor, except that one
which is suspended answers at once.
"""

from __future__ import annotations

from typing import Any

from gristmill.messages import Request


class GetState(Request[dict[str, Any]]):
    """The actor's attributes; what can't travel comes as its ``repr``."""


class ReplaceState(Request[None]):
    """Put what a function makes of the attributes in their place."""

    function: str
    """Its import path."""


class Suspend(Request[None]):
    """Take no more messages until :class:`Resume`."""


class Resume(Request[None]):
    """Go on after :class:`Suspend`."""


Inspection = GetState | ReplaceState | Suspend | Resume
