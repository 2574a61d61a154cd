"""Actors that publish and subscribe, for tests of channels with servers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gristmill import Actor, Command, Context, Durable, Event, Request, handles
from gristmill.channels import ChannelBackend, Listen, Start
from gristmill.errors import Nack


class Noted(Event):
    """Something to note."""

    key: str
    number: int


class Other(Event):
    """Something that nobody in these tests handles."""


class PublishNotes(Command):
    """Publish so many notes under each key, in turn."""

    channel: str
    keys: list[str]
    first: int
    last: int


class Notes(Request[list[tuple[str, int]]], idempotent=True):
    """What was noted?"""


class Author(Actor):
    """Publishes."""

    @handles
    def publish(self, msg: PublishNotes, ctx: Context) -> None:
        for number in range(msg.first, msg.last + 1):
            for key in msg.keys:
                ctx.publish(msg.channel, Noted(key, number), key=key)
        ctx.publish(msg.channel, Other())


class DurableAuthor(Author):
    """Publishes what is committed."""

    facets = (Durable(),)

    def apply(self, event: Noted) -> None:
        pass

    @handles
    def publish(self, msg: PublishNotes, ctx: Context) -> None:
        for number in range(msg.first, msg.last + 1):
            for key in msg.keys:
                ctx.persist(Noted(key, number))
                ctx.publish(msg.channel, Noted(key, number), key=key)


class Reader(Actor):
    """Notes what comes, and gets into trouble when it is told to.

    Args:
        channel: what it listens to.
        group: as a member of which group; "" for none.
        start: where a new group begins.
        trouble: what to do on one number; "" for nothing.
        number: which one.
        times: how often, counted by files in ``folder``, which outlive the worker.
        folder: where.
    """

    def __init__(
        self,
        channel: str,
        group: str = "",
        start: str = "earliest",
        trouble: str = "",
        number: int = 0,
        times: int = 1_000_000,
        folder: str = "",
        window: int = 64,
    ) -> None:
        self._listen = Listen(channel, group, Start(start), window=window)
        self._trouble = (trouble, number, times, folder)
        self.notes: list[tuple[str, int]] = []

    def on_start(self, ctx: Context) -> None:
        one = self._listen
        ctx.subscribe(one.channel, group=one.group, start=one.start, window=one.window)

    @handles
    def note(self, event: Noted, ctx: Context) -> None:
        self._get_into_trouble(event)
        self.remember(event, ctx)

    def remember(self, event: Noted, ctx: Context) -> None:
        self.notes.append((event.key, event.number))

    def _get_into_trouble(self, event: Noted) -> None:
        what, number, times, folder = self._trouble
        if not what or event.number != number:
            return
        if folder:
            before = len(list(Path(folder).iterdir()))
            if before >= times:
                return
            (Path(folder) / f"{before}").touch()
        if what == "raise":
            raise ValueError(f"no {event.number}")
        if what == "nack":
            raise Nack(f"not {event.number}")
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "compute":
            until = time.perf_counter() + 1.5
            while time.perf_counter() < until:
                sum(range(1000))

    @handles
    def get(self, msg: Notes) -> list[tuple[str, int]]:
        return self.notes


class DurableReader(Reader):
    """Journals what it notes."""

    facets = (Durable(),)

    def apply(self, event: Noted) -> None:
        self.notes.append((event.key, event.number))

    def remember(self, event: Noted, ctx: Context) -> None:
        ctx.persist(event)


__all__ = ["Author", "ChannelBackend", "DurableAuthor", "DurableReader", "Noted", "Reader"]
