"""Whatever is sent, passed on, dropped and killed: what anybody holds is never recycled.

Several pools stand for processes. Messages and releases are on the wire for as long as the machine
likes; a death is learned by each process in its own time.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.transport.arrays import (
    IN_PLACE,
    ArrayGoneError,
    ArrayPool,
    Handle,
    NoSharedMemoryError,
    Release,
    SharedArray,
)
from gristmill.transport.segment_directory import Process, remove_segments
from support.arrays import new_segment_directory

COUNT = IN_PLACE // 8
LIMIT, KEEP = 8 * IN_PLACE, 2 * IN_PLACE
STEPS = 250


@dataclass(eq=False)
class Held:
    """An array that a process can look at, and what it must be."""

    value: int
    shared: SharedArray | None
    view: np.ndarray[Any, Any]
    through: frozenset[Process]
    """The processes that it came through: a death among them may make it impossible to open."""


@dataclass(eq=False)
class Message:
    to: int
    handle: Handle
    value: int
    through: frozenset[Process]


@dataclass(eq=False)
class Peer:
    """One process, and what it has not heard of yet."""

    pool: ArrayPool
    me: Process
    held: list[Held] = field(default_factory=list)
    drafts: list[tuple[int, np.ndarray[Any, Any]]] = field(default_factory=list)
    unheard: deque[Process] = field(default_factory=deque)


class World:
    """Processes, what is on the wire between them, and a die."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.directory = directory
        self.chance = chance
        self.peers = {address: self._start(address, 1) for address in range(1, 4)}
        self.messages: list[Message] = []
        self.releases: defaultdict[tuple[Process, int], deque[list[Release]]] = defaultdict(deque)
        self.dead: set[Process] = set()
        self.value = 0

    def _start(self, address: int, incarnation: int) -> Peer:
        me = Process(address, incarnation)
        return Peer(ArrayPool(self.directory, me, limit=LIMIT, keep=KEEP), me)

    def _next(self) -> int:
        self.value += 1
        return self.value

    def _anybody(self) -> Peer:
        return self.chance.choice(list(self.peers.values()))

    def _somebody(self) -> Peer | None:
        """Pick a process that has an array."""
        having = [peer for peer in self.peers.values() if peer.held]
        return self.chance.choice(having) if having else None

    def export(self) -> None:
        peer, value = self._anybody(), self._next()
        try:
            shared = peer.pool.export(np.full(COUNT, value))
        except NoSharedMemoryError:
            assert peer.pool.size > LIMIT - IN_PLACE
            return
        peer.held.append(Held(value, shared, shared.array(), frozenset([peer.me])))

    def write_in_place(self) -> None:
        """Fill an array where it lies; perhaps send it, and write it again: nobody sees that."""
        peer, value = self._anybody(), self._next()
        draft = peer.pool.empty(COUNT, np.int64)
        draft[:] = value
        for _ in range(self.chance.randint(0, 2)):
            try:
                shared = peer.pool.export(draft[:])
            except NoSharedMemoryError:
                break
            peer.held.append(Held(value, shared, shared.array(), frozenset([peer.me])))
            value = self._next()
            draft[:] = value
        peer.drafts.append((value, draft))

    def send(self) -> None:
        """Send an array, or a part of one that is looked at, to another process."""
        sender = self._somebody()
        if sender is None:
            return
        held = self.chance.choice(sender.held)
        to = self.chance.choice([each for each in self.peers if each != sender.me.address])
        shared = held.shared
        if shared is None or self.chance.random() < 0.5:
            try:
                shared = sender.pool.export(held.view[::-3])
            except NoSharedMemoryError:
                return
        handle = sender.pool.lend(shared, to)
        if all(process.address != to for process in sender.unheard):  # else to its old endpoint
            through = held.through | {sender.me}
            self.messages.append(Message(to, handle, held.value, through))

    def arrive(self) -> None:
        if not self.messages:
            return
        message = self.messages.pop(self.chance.randrange(len(self.messages)))
        peer = self.peers[message.to]
        try:
            shared = peer.pool.accept(message.handle)
        except ArrayGoneError:
            assert message.through & self.dead
            return
        through = message.through | {peer.me}
        peer.held.append(Held(message.value, shared, shared.array(), through))

    def let_go(self) -> None:
        """Let go of an array, or of all but a slice of it."""
        peer = self._somebody()
        if peer is None:
            return
        held = self.chance.choice(peer.held)
        if self.chance.random() < 0.3:
            held.view, held.shared = held.view[::2], None
        else:
            peer.held.remove(held)

    def forget_drafts(self) -> None:
        self._anybody().drafts.clear()

    def release(self) -> None:
        peer = self._anybody()
        for to, releases in peer.pool.take_releases().items():
            assert all(release.lender.address == to for release in releases)
            self.releases[peer.me, to].append(releases)

    def releases_arrive(self) -> None:
        waiting = [way for way, queue in self.releases.items() if queue]
        if waiting:
            source, to = self.chance.choice(waiting)
            self.peers[to].pool.on_releases(source, self.releases[source, to].popleft())

    def die(self) -> None:
        """Kill a process; another one takes its address."""
        dead = self._anybody().me
        self.dead.add(dead)
        self.peers[dead.address] = self._start(dead.address, dead.incarnation + 1)
        if self.chance.random() < 0.5:
            remove_segments(self.directory, dead)
        self.messages = [message for message in self.messages if message.to != dead.address]
        for way, queue in self.releases.items():
            if way[1] == dead.address and self.chance.random() < 0.5:  # else the next one gets them
                queue.clear()
        for peer in self.peers.values():
            if peer.me.address != dead.address:
                peer.unheard.append(dead)

    def hear(self) -> None:
        """Have a process learn of the death that it should have heard of first."""
        peer = self._anybody()
        if peer.unheard:
            peer.pool.peer_down(peer.unheard.popleft())

    def step(self) -> None:
        """Do something; deaths are rare."""
        act = self.chance.choice(
            [
                *[self.export, self.write_in_place, self.forget_drafts],
                *[self.send, self.arrive] * 4,
                *[self.let_go, self.release, self.releases_arrive] * 2,
                self.hear,
            ]
        )
        if self.chance.random() < 0.02:
            act = self.die
        act()

    def check(self) -> None:
        """What is held is as it was sent."""
        for peer in self.peers.values():
            for held in peer.held:
                assert (held.view == held.value).all()
            for value, draft in peer.drafts:
                assert (draft == value).all()
            assert peer.pool.size <= LIMIT

    def end(self) -> None:
        """Let go of everything: nothing is lent, nothing is left."""
        for peer in self.peers.values():
            while peer.unheard:
                peer.pool.peer_down(peer.unheard.popleft())
            peer.held.clear()
            peer.drafts.clear()
        for message in self.messages:
            try:
                self.peers[message.to].pool.accept(message.handle)
            except ArrayGoneError:
                assert message.through & self.dead
        self._exchange_releases()
        for peer in self.peers.values():
            assert peer.pool.lent == 0
            assert peer.pool.size <= KEEP  # all of it free
            peer.pool.close()
        for dead in self.dead:
            remove_segments(self.directory, dead)
        assert list(self.directory.iterdir()) == []

    def _exchange_releases(self) -> None:
        for (source, to), queue in self.releases.items():
            while queue:
                self.peers[to].pool.on_releases(source, queue.popleft())
        while any(peer.pool.release_due for peer in self.peers.values()):
            for peer in self.peers.values():
                for to, releases in peer.pool.take_releases().items():
                    self.peers[to].pool.on_releases(peer.me, releases)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_nothing_that_is_held_is_recycled_and_everything_else_is(seed: int) -> None:
    with new_segment_directory() as directory:
        world = World(directory, random.Random(seed))
        for _ in range(STEPS):
            world.step()
            world.check()
        world.end()
