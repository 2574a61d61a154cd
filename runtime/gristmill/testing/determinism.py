"""What a simulated handler must not touch: real clocks, threads, sockets, randomness of its own."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from gristmill.errors import UsageError

_CLOCK: Final = "use ctx.now() or ctx.wall_time()"
_RANDOM: Final = "use ctx.random or ctx.new_id()"
_OUTSIDE: Final = (
    "put what it talks to behind an actor or an argument that a test can replace, or await it"
)
_END: Final = "it would end or copy the test itself; end workers with simulation.kill(worker)"
_FORBIDDEN: Final[tuple[tuple[Any, str, str, str], ...]] = (
    *((time, name, f"time.{name}", _CLOCK) for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
    )),
    (time, "sleep", "time.sleep", "write await ctx.sleep(seconds)"),
    (threading.Thread, "start", "threading.Thread.start", _OUTSIDE),
    (socket.socket, "__init__", "socket.socket", _OUTSIDE),
    (subprocess.Popen, "__init__", "subprocess.Popen", _OUTSIDE),
    *((os, name, f"os.{name}", _END) for name in ("_exit", "abort", "fork", "kill")),
    (os, "urandom", "os.urandom", _RANDOM),
    (uuid, "uuid1", "uuid.uuid1", _RANDOM),
    (uuid, "uuid4", "uuid.uuid4", _RANDOM),
    *((random, name, f"random.{name}", _RANDOM) for name in (
        "random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform",
        "gauss", "expovariate", "getrandbits", "randbytes",
    )),
)  # fmt: skip
_EXEMPT: Final = ("logging", "importlib")
"""Modules whose own use of the clock decides nothing."""


class NondeterminismError(UsageError):
    """Something in a simulation depends on what the seed does not decide. Says what to use."""


class Determinism:
    """Refuses to actors, in a ``with`` block, what the seed of a simulation can't decide.

    Args:
        actor: says which actor's code runs now and what it does; empty if none runs.
        refused: is told the error that the actor gets.
    """

    def __init__(self, actor: Callable[[], str], refused: Callable[[Exception], None]) -> None:
        self._actor = actor
        self._refused = refused
        self._guards = [
            (owner, attribute, self._guard(getattr(owner, attribute), name, remedy))
            for owner, attribute, name, remedy in _FORBIDDEN
        ]
        self._real: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        for owner, attribute, guard in self._guards:
            self._real.append((owner, attribute, getattr(owner, attribute)))
            setattr(owner, attribute, guard)

    def __exit__(self, *_: object) -> None:
        for _ in self._guards:  # and no more: blocks may be nested
            setattr(*self._real.pop())

    def _guard(self, real: Callable[..., Any], name: str, remedy: str) -> Callable[..., Any]:
        def guard(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on
            who = self._actor()
            if who and not _is_exempt(sys._getframe(1)):  # noqa: SLF001 - there is no other way
                text = f"{who}: {name}() can't be decided by a simulation's seed; {remedy}"
                error = NondeterminismError(text)
                self._refused(error)
                raise error
            return real(*args, **kwargs)

        return guard


def _is_exempt(frame: FrameType) -> bool:
    """Tell whether a call comes from a module whose clock decides nothing."""
    return str(frame.f_globals.get("__name__", "")).startswith(_EXEMPT)
