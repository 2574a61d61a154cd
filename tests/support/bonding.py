"""The client's side of the tests with the actors of :mod:`support.bonds`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gristmill import Node, Ref, Request
from gristmill.node.client.monitor import Monitor
from support.actors import read_lines
from support.bonds import Peer, Ping

PLACES = [("w1", "w1"), ("w1", "w2")]
"""On one worker, and on two."""


def peer(
    node: Node,
    log: Path,
    name: str,
    place: str = "any",
    kind: type[Peer] = Peer,
    **options: Any,
) -> Ref[Peer]:
    """Start an actor that writes down what it hears."""
    return node.spawn(kind, args=(str(log),), name=name, placement=place, **options)


def monitored(node: Node, ref: Ref[Peer]) -> Monitor:
    """Watch an actor, whose worker has heard of it when this returns.

    Else what reaches the actor through another process may come first.
    """
    monitor = node.monitor(ref)
    ref.ask(Ping())
    return monitor


def heard(log: Path, by: str) -> list[str]:
    """Give what an actor has heard."""
    begin = f"{by} "
    return [line.removeprefix(begin) for line in read_lines(log) if line.startswith(begin)]


def in_background(ref: Ref[Any], request: Request[Any]) -> Callable[[], None]:
    """Ask in a thread of its own; give a function that waits for the answer."""
    failed: list[Exception] = []

    def ask() -> None:
        try:
            ref.ask(request, timeout=20.0)
        except Exception as error:  # raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()

    def wait() -> None:
        thread.join(20.0)
        assert not thread.is_alive()
        if failed:
            raise failed[0]

    return wait
