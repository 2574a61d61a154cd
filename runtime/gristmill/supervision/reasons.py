"""Why an actor or a supervisor ended, as values that cross the wire."""

from __future__ import annotations

import signal as signals
from typing import TypeAlias

import msgspec

from gristmill.errors import ErrorData


class Normal(msgspec.Struct, frozen=True, tag="normal"):
    """It had nothing more to do, and said so."""


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """It was stopped in an orderly way. A supervisor that gives up ends like this too."""

    detail: str = ""


class Crash(msgspec.Struct, frozen=True, tag="crash"):
    """A handler, the constructor or a hook raised."""

    error: ErrorData


class Killed(msgspec.Struct, frozen=True, tag="killed"):
    """Its worker was ended by a signal, or it was killed unconditionally (SIGKILL)."""

    signal: int
    detail: str = ""
    """What is known beyond the signal: who sent it, and why."""


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """Its worker left by itself with this exit status, through ``os._exit`` for example."""

    code: int


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Its node can't be reached any more; whether it lives is unknown."""

    node: str


class NoProc(msgspec.Struct, frozen=True, tag="noproc"):
    """There was no such actor to monitor or link to: it never was, or has ended."""


ExitReason: TypeAlias = Normal | Shutdown | Crash | Killed | Exited | Lost | NoProc


def is_ordered(reason: ExitReason) -> bool:
    """Tell whether the end was orderly: normal or shutdown, as transient children count it."""
    return isinstance(reason, Normal | Shutdown)


def describe(reason: ExitReason) -> str:
    """Put a reason into a few words for people, such as ``crash: ValueError: x``."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown(detail):
            return f"shutdown: {detail}" if detail else "shutdown"
        case Crash(error):
            return f"crash: {error}"
        case Killed(number, detail):
            return f"killed by {_signal_name(number)}{detail and f': {detail}'}"
        case Exited(code):
            return f"exited with code {code}"
        case Lost(node):
            return f"lost with node {node}"
        case NoProc():
            return "no such actor"


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
