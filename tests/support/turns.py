"""An actor that computes for as long as it is told to, for the tests of a worker's turns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gristmill import Actor, Command, Ref, handles
from support.bursts import Note


class Spin(Command):
    """Compute for some milliseconds."""

    milliseconds: float


class ComputeUntil(Command):
    """Compute until there is a file."""

    path: str


class Say(Command):
    """Let the peer note a number."""

    number: int


class Spinner(Actor):
    """Keeps its worker busy."""

    def __init__(self, peer: Ref[Any]) -> None:
        self._peer = peer

    @handles
    def say(self, msg: Say) -> None:
        self._peer.tell(Note(msg.number))

    @handles
    def spin(self, msg: Spin) -> None:
        until = time.perf_counter() + msg.milliseconds / 1e3
        while time.perf_counter() < until:
            pass

    @handles
    def compute_until(self, msg: ComputeUntil) -> None:
        while not Path(msg.path).exists():
            pass
