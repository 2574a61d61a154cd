"""``Probe``: an actor that records what it gets, and the test's way to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import DEFERRED, Context
from gristmill.behaviours.protocol import handles
from gristmill.errors import AskTimeoutError, UsageError
from gristmill.importing import import_path, resolve
from gristmill.messages import Command, Event, Message, Request
from gristmill.node.node import Node
from gristmill.ref import Ref
from gristmill.transport.codec import Codec

_PREFIX = "Probe_"
_encode = Codec(None).encode


class Recorded(Request[list[bytes]]):
    """What have you got since? Answered when there is something; encoded messages."""

    since: int
    """How many are known already."""


class ProbeActor(Actor):
    """Records messages. Its subclasses take some; they are made when their names are looked up."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self._waiting: list[tuple[int, Callable[[Any], None]]] = []

    def record(self, message: Message) -> None:
        """Keep a message."""
        self._bodies.append(_encode(message))
        waiting, self._waiting = self._waiting, []
        for since, answer in waiting:
            answer(self._bodies[since:])

    @handles
    def recorded(self, query: Recorded, ctx: Context) -> list[bytes]:
        """Give what was recorded since, or answer when there is something."""
        if len(self._bodies) > query.since:
            return self._bodies[query.since :]
        self._waiting.append((query.since, ctx.defer_reply()))
        return DEFERRED  # type: ignore[return-value]  # answered later


def _probe_class(kinds: tuple[type[Message], ...]) -> type[ProbeActor]:
    """Make, or find, the probe that takes these types; workers find it by its name."""
    paths = "\n".join(import_path(kind) for kind in kinds)
    found: type[ProbeActor] = resolve(f"{__name__}:{_PREFIX}{paths.encode().hex()}")
    return found


def __getattr__(name: str) -> type[ProbeActor]:
    if not name.startswith(_PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kinds = [resolve(path) for path in bytes.fromhex(name[len(_PREFIX) :]).decode().split("\n")]

    def take(self: ProbeActor, message: Message) -> None:
        self.record(message)

    take.__annotations__ = {"message": reduce(or_, kinds), "return": None}
    made = type(name, (ProbeActor,), {"take": handles(take), "__module__": __name__})
    globals()[name] = made
    return made


class Probe:
    """An actor that records commands and events of some types.

    Args:
        node: where it is started, real or simulated.
        kinds: the types, importable by the workers.
        name: a name to register.

    Raises:
        UsageError: no type was given, or one is neither a command nor an event.
    """

    def __init__(self, node: Node, *kinds: type[Message], name: str = "") -> None:
        if not kinds or not all(issubclass(kind, Command | Event) for kind in kinds):
            raise UsageError("a probe records commands and events; say which: Probe(node, Type)")
        self.ref: Ref[Any] = node.spawn(_probe_class(kinds), name=name, restart="temporary")
        self.messages: list[Any] = []
        """What has been seen of what it got, in order; :meth:`wait_for` sees more."""
        self._taken = 0
        self._now: Callable[[], float] = getattr(node, "now", time.monotonic)
        self._decode = Codec(None).decoder(reduce(or_, kinds)).decode

    def wait_for(self, condition: Callable[[list[Any]], bool], timeout: float = 5.0) -> list[Any]:
        """Wait until what it got is as a test wants it; give all of it.

        Args:
            condition: of the messages so far.
            timeout: seconds, virtual ones in a simulation.

        Raises:
            AssertionError: it was not in time; says what there was.
        """
        deadline = self._now() + timeout
        while not condition(self.messages):
            remaining = deadline - self._now()
            try:
                bodies = self.ref.ask(Recorded(len(self.messages)), timeout=max(remaining, 1e-3))
            except AskTimeoutError:
                seen = "\n".join(map(repr, self.messages)) or "nothing"
                raise AssertionError(f"not within {timeout:g} s; the probe got:\n{seen}") from None
            self.messages += map(self._decode, bodies)
        return self.messages

    def next(self, timeout: float = 5.0) -> Any:  # noqa: ANN401 - one of the types
        """Give the first message that this has not given yet, waiting for it.

        Raises:
            AssertionError: none came within ``timeout`` seconds.
        """
        self.wait_for(lambda messages: len(messages) > self._taken, timeout)
        self._taken += 1
        return self.messages[self._taken - 1]
