"""Keyed actors move, rest and lose their workers while others send to them, in any order."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gristmill.placement.coordinator import (
    Coordinator,
    Phase,
    PlacementAction,
    Refuse,
    Retire,
    Start,
    Stop,
    Tell,
)
from gristmill.placement.places import Fences, Places
from gristmill.ref import KEYED, Address

_SENDERS = (101, 102, 1)  # the worker 1 sends too
_WORKERS = {"w1": 1, "w2": 2, "w3": 3}
_KEYS = ["a", "b", "c", "d"]

Sent = tuple[int, str, int]
"""Sender, key, number of the message."""


@dataclass
class _Host:
    fences: Fences = field(default_factory=Fences)
    mailboxes: dict[int, deque[Sent | None]] = field(default_factory=dict)
    """Those of living actors; None stands for the stop."""
    keys: dict[int, str] = field(default_factory=dict)


class PlacementMachine(RuleBasedStateMachine):
    """Real coordinator, places and fences; wires that keep the order of each pair, no more."""

    def __init__(self) -> None:
        super().__init__()
        self.coordinator = Coordinator(8, {"w1": 1, "w2": 2}, itertools.count(1))
        self.members = ["w1", "w2"]
        self.actors = itertools.count(1)
        self.places: dict[int, Places[Sent]] = {process: Places() for process in _SENDERS}
        self.hosts = {home: _Host() for home in _WORKERS.values()}
        self.wires: dict[tuple[str, int, int], deque[Any]] = defaultdict(deque)
        self.homes: dict[int, tuple[str, int]] = {}
        self.sent: list[Sent] = []
        self.handled: list[Sent] = []
        self.excused: set[Sent] = set()
        self.idling: set[int] = set()
        self.numbers: dict[tuple[int, str], int] = defaultdict(int)

    # --- what happens ---

    @rule(sender=st.sampled_from(_SENDERS), key=st.sampled_from(_KEYS))
    def send(self, sender: int, key: str) -> None:
        self.numbers[sender, key] += 1
        message = (sender, key, self.numbers[sender, key])
        self.sent.append(message)
        self._send(sender, message)

    def _send(self, sender: int, message: Sent) -> None:
        places = self.places[sender]
        place = places.find(message[1])
        if place is not None:
            self.wires["data", sender, place.home].append((place.key, message))
            return
        assert places.hold(Address(-1, KEYED, "", message[1]), message) is None
        if places.ask(message[1]):
            self.wires["up", sender, 0].append(("locate", message[1]))

    @precondition(lambda self: any(self.wires.values()))
    @rule(choice=st.integers(0, 50))
    def deliver(self, choice: int) -> None:
        ready = [wire for wire, queue in sorted(self.wires.items()) if queue]
        kind, source, target = ready[choice % len(ready)]
        self._arrive(kind, source, target, self.wires[kind, source, target].popleft())

    @precondition(lambda self: any(self._mail()))
    @rule(choice=st.integers(0, 50))
    def handle(self, choice: int) -> None:
        mail = list(self._mail())
        home, actor = mail[choice % len(mail)]
        host = self.hosts[home]
        entry = host.mailboxes[actor].popleft()
        if entry is not None:
            self.handled.append(entry)
            return
        key = host.keys.pop(actor)
        for lost in host.mailboxes.pop(actor):
            raise AssertionError(f"{lost} came behind the stop of {key}")
        self.wires["up", home, 0].append(("gone", actor))

    @rule(members=st.sets(st.sampled_from(sorted(_WORKERS)), min_size=1))
    def change_workers(self, members: set[str]) -> None:
        self.members = sorted(members)
        self._act(self.coordinator.set_workers({name: _WORKERS[name] for name in members}))

    @rule(key=st.sampled_from(_KEYS))
    def rest(self, key: str) -> None:
        living = [actor for host in self.hosts.values() for actor in host.mailboxes]
        idle = [actor for actor in living if self.homes[actor][0] == key]
        self._act(self.coordinator.idle(idle), idle=True)

    @precondition(lambda self: bool(self.idling))
    @rule()
    def give_up_resting(self) -> None:
        self._act(self.coordinator.overdue(self.idling.pop()))

    @rule(home=st.sampled_from(sorted(_WORKERS.values())))
    def kill(self, home: int) -> None:
        """A worker dies and is there again at once, with its actors; what it had is lost."""
        host = self.hosts[home] = _Host()
        for (kind, source, target), queue in self.wires.items():
            if kind == "data" and home in (source, target):
                self.excused.update(m for _, m in queue if isinstance(m, tuple))
                queue.clear()
            elif (kind == "up" and source == home) or (kind == "down" and target == home):
                queue.clear()
        self.excused.update(m for m in self.sent if m not in set(self.handled))
        if home in self.places:
            self.places[home] = Places()
        for other in self.hosts.keys() - {home}:
            self.wires["down", 0, other].append(("lost", home))
        self.coordinator.home_down(home)
        self.coordinator.process_down(home)
        here = [a for a, (_, at) in self.homes.items() if at == home and self.coordinator.knows(a)]
        for actor in here:
            if self.coordinator.phase_of(self.homes[actor][0]) is Phase.STOPPING:
                self._act(self.coordinator.gone(actor))
            else:
                host.mailboxes[actor] = deque()
                host.keys[actor] = self.homes[actor][0]
                self.wires["up", home, 0].append(("started", actor))

    # --- how it is carried ---

    def _mail(self) -> Any:
        for home, host in self.hosts.items():
            for actor, mailbox in host.mailboxes.items():
                if mailbox:
                    yield home, actor

    def _arrive(self, kind: str, source: int, target: int, message: Any) -> None:
        if kind == "data":
            actor, content = message
            host = self.hosts[target]
            if actor == 0:
                if host.fences.arrived(content, source):
                    self.wires["up", target, 0].append(("fenced", content))
            elif actor in host.mailboxes:
                host.mailboxes[actor].append(content)
            else:
                assert content in self.excused, f"{content} came to nobody"
        elif kind == "up":
            self._hear(source, *message)
        else:
            self._obey(target, *message)

    def _hear(self, process: int, what: str, about: Any) -> None:
        match what:
            case "locate":
                self._act(self.coordinator.locate(about, process))
            case "fenced":
                self._act(self.coordinator.fenced(about))
            case "started":
                self._act(self.coordinator.started(about))
            case "gone":
                self._act(self.coordinator.gone(about))

    def _obey(self, process: int, what: str, *about: Any) -> None:
        match what:
            case "start":
                actor, key = about
                host = self.hosts[process]
                host.mailboxes[actor], host.keys[actor] = deque(), key
                self.wires["up", process, 0].append(("started", actor))
            case "stop":
                self.hosts[process].mailboxes[about[0]].append(None)
            case "place":
                for message in self.places[process].placed(about[0]):
                    self._send(process, message)
            case "retire":
                number, home, keys = about
                for key in self.places[process].forget(keys):
                    self.wires["up", process, 0].append(("locate", key))
                if number:
                    self.wires["data", process, home].append((0, number))
            case "lost":
                for number in self.hosts[process].fences.process_down(about[0]):
                    self.wires["up", process, 0].append(("fenced", number))
            case "fence":
                number, processes = about
                if self.hosts[process].fences.expect(number, processes):
                    self.wires["up", process, 0].append(("fenced", number))

    def _act(self, actions: list[PlacementAction], *, idle: bool = False) -> None:
        for action in actions:
            match action:
                case Start(key, home):
                    actor = next(self.actors)
                    self.homes[actor] = (key, home)
                    self.coordinator.begun(key, actor)
                    self.wires["down", 0, home].append(("start", actor, key))
                case Tell(key, actor, processes):
                    place = Address(actor, self.homes[actor][1], "", key)
                    for process in processes:
                        self.wires["down", 0, process].append(("place", place))
                case Retire(number, home, keys, processes):
                    if number:
                        self.wires["down", 0, home].append(("fence", number, processes))
                        self.idling |= {number} if idle else set()
                    for process in processes:
                        self.wires["down", 0, process].append(("retire", number, home, keys))
                case Stop(actor):
                    self.wires["down", 0, self.homes[actor][1]].append(("stop", actor))
                case Refuse():
                    raise AssertionError("no start fails here")

    # --- what must hold ---

    @invariant()
    def there_is_one_of_each_key(self) -> None:
        living = [key for host in self.hosts.values() for key in host.keys.values()]
        assert len(living) == len(set(living)), f"two incarnations of a key live: {living}"

    @invariant()
    def each_sender_keeps_its_order(self) -> None:
        last: dict[tuple[int, str], int] = defaultdict(int)
        for sender, key, number in self.handled:
            assert number > last[sender, key], f"{sender} sent {number} to {key} before"
            last[sender, key] = number

    def teardown(self) -> None:
        while any(self.wires.values()) or any(self._mail()):
            if any(self.wires.values()):
                self.deliver(0)
            else:
                self.handle(0)
        lost = set(self.sent) - set(self.handled) - self.excused
        assert not lost, f"never handled: {sorted(lost)}"
        assert len(self.handled) == len(set(self.handled)), "something was handled twice"
        for host in self.hosts.values():
            for actor, key in host.keys.items():
                home = self.homes[actor][1]
                assert home == self.coordinator.home_of(key), f"{key} stands at {home}"
        assert self.coordinator.moving == 0


PlacementMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestPlacement = PlacementMachine.TestCase
