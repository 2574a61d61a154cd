"""Arrays between real processes, which are killed at any moment.

Each process runs one pool and does what it is told over a pipe; what it sends goes through this
one, so a kill can come before, while and after a message or a release is on its way.
"""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.transport.arrays import Handle
from gristmill.transport.segment_directory import Process, remove_segment_directory, remove_segments
from support.arrays import new_segment_directory

PEER = """
import gc, pickle, sys
from pathlib import Path
import numpy as np
from gristmill.transport.arrays import ArrayGoneError, ArrayPool
from gristmill.transport.segment_directory import Process

directory, address, incarnation = sys.argv[1:]
pool = ArrayPool(Path(directory), Process(int(address), int(incarnation)), keep=1 << 21)
held = {}

def make(key, value, in_place):
    source = pool.empty(COUNT, np.int64) if in_place else np.empty(COUNT, np.int64)
    source[:] = value
    shared = pool.export(source)
    source[:] = -1
    held[key] = shared, shared.array(), value

def send(key, to):
    shared, view, _ = held[key]
    again = pool.export(view) if shared is None else shared
    return pool.lend(again, to)

def arrive(key, handle, value):
    try:
        shared = pool.accept(handle)
    except ArrayGoneError:
        return False
    held[key] = None, shared.array(), value
    return True

def drop(key):
    held.pop(key, None)

def check():
    return [key for key, (_, view, value) in held.items() if not (view == value).all()]

def releases():
    return pool.take_releases()

def on_releases(source, given):
    pool.on_releases(source, given)

def peer_down(process):
    pool.peer_down(process)

def state():
    return pool.lent, pool.size

def churn():
    while True:
        for number in range(20):
            make(-1, number, number % 2)
        drop(-1)

def close():
    held.clear()
    pool.close()

source, target = sys.stdin.buffer, sys.stdout.buffer
while True:
    try:
        name, arguments = pickle.load(source)
    except EOFError:
        break
    pickle.dump(globals()[name](*arguments), target)
    target.flush()
""".replace("COUNT", "40_000")


class Peer:
    """A process with a pool."""

    def __init__(self, directory: Path, me: Process) -> None:
        self.me = me
        self.keys: set[int] = set()
        command = [sys.executable, "-c", PEER, str(directory), str(me[0]), str(me[1])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, name: str, *arguments: object) -> Any:
        self.tell(name, *arguments)
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def tell(self, name: str, *arguments: object) -> None:
        assert self._process.stdin is not None
        pickle.dump((name, arguments), self._process.stdin)
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Run:
    """Three processes, their wire, and who is dead."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.peers = {address: Peer(directory, Process(address, 1)) for address in (1, 2, 3)}
        self._keys = 0
        self._values: dict[int, int] = {}

    def others(self, peer: Peer) -> list[Peer]:
        return [each for each in self.peers.values() if each is not peer]

    def key(self) -> int:
        self._keys += 1
        return self._keys

    def make(self, peer: Peer, *, in_place: bool) -> int:
        key = self.key()
        self._values[key] = key
        peer.ask("make", key, key, in_place)
        peer.keys.add(key)
        return key

    def send(self, peer: Peer, key: int, to: Peer) -> int:
        """Send an array; give its key there, or 0 if it is gone."""
        handle: Handle = peer.ask("send", key, to.me.address)
        new, value = self.key(), self._values[key]
        self._values[new] = value
        if not to.ask("arrive", new, handle, value):
            return 0
        to.keys.add(new)
        return new

    def exchange(self) -> None:
        """Carry releases until there are none."""
        moved = True
        while moved:
            moved = False
            for peer in self.peers.values():
                for to, given in peer.ask("releases").items():
                    self.peers[to].ask("on_releases", peer.me, given)
                    moved = True

    def kill(self, peer: Peer) -> None:
        """Kill a process, sweep what it left, tell the others, and start the next one."""
        peer.kill()
        remove_segments(self.directory, peer.me)
        for other in self.others(peer):
            other.ask("peer_down", peer.me)
        address, incarnation = peer.me
        self.peers[address] = Peer(self.directory, Process(address, incarnation + 1))

    def end(self) -> None:
        for peer in self.peers.values():
            peer.end()


@pytest.fixture
def run() -> Iterator[Run]:
    with new_segment_directory() as directory:
        started = Run(directory)
        try:
            yield started
        finally:
            started.end()


def assert_all_given_back(run: Run) -> None:
    for peer in run.peers.values():
        for key in peer.keys:
            peer.ask("drop", key)
    run.exchange()
    for peer in run.peers.values():
        lent, size = peer.ask("state")
        assert lent == 0
        assert size <= 1 << 21
        peer.ask("close")
    assert list(run.directory.iterdir()) == []


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments_corrupt_and_leave_nothing(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    for round_ in range(45):
        peer = chance.choice(list(run.peers.values()))
        if not peer.keys or chance.random() < 0.4:
            run.make(peer, in_place=chance.random() < 0.5)
        else:
            key = chance.choice(sorted(peer.keys))
            run.send(peer, key, chance.choice(run.others(peer)))
            if chance.random() < 0.6:
                peer.keys.discard(key)
                peer.ask("drop", key)
        if chance.random() < 0.3:
            run.exchange()
        if round_ % 15 == 14:
            victim = chance.choice(list(run.peers.values()))
            if chance.random() < 0.7:
                victim.tell("churn")  # it dies in the midst of it
                chance.choice(run.others(victim)).ask("check")
            run.kill(victim)
        for each in run.peers.values():
            assert each.ask("check") == []
    assert_all_given_back(run)


def test_a_holder_outlives_the_owner_that_was_killed_as_it_wrote(run: Run) -> None:
    owner, holder, other = run.peers.values()
    got = run.send(owner, run.make(owner, in_place=True), holder)
    owner.tell("churn")
    run.kill(owner)
    assert holder.ask("check") == []
    assert run.send(holder, got, other)
    assert other.ask("check") == []
    assert_all_given_back(run)


def test_what_a_killed_holder_had_passed_on_is_never_recycled(run: Run) -> None:
    owner, holder, last = run.peers.values()
    key = run.make(owner, in_place=False)
    assert run.send(holder, run.send(owner, key, holder), last)
    owner.ask("drop", key)
    owner.keys.clear()
    run.kill(holder)
    for _ in range(10):
        owner.ask("drop", run.make(owner, in_place=False))
    owner.keys.clear()
    assert last.ask("check") == []
    assert_all_given_back(run)


def test_what_all_processes_leave_when_killed_at_once_is_swept(run: Run) -> None:
    owner, holder, _ = run.peers.values()
    run.send(owner, run.make(owner, in_place=True), holder)
    for peer in run.peers.values():
        peer.kill()
    assert list(run.directory.iterdir())
    remove_segment_directory(run.directory)
    assert not run.directory.exists()
    run.peers.clear()
