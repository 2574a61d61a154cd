"""What goes wrong in a soak: faults drawn from a seed, and the thread that commits them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from gristmill import (
    Actor,
    ActorBuilder,
    Command,
    Context,
    Node,
    OverflowPolicy,
    Ref,
    Request,
    SupervisorSpec,
    handles,
)
from gristmill.errors import ActorError, AskTimeoutError, MailboxFullError, ReloadError
from gristmill.supervision import Killed
from gristmill.testing import FaultInjector

CAPACITY = 16
"""Places in the mailboxes that are flooded."""
_NO_BOUND = 1_000_000_000


class Fault(StrEnum):
    """What can go wrong."""

    WORKER = "worker killed"
    ACTOR = "actor killed"
    CRASH = "handler raised"
    PAUSE = "worker stopped for a moment"
    HANG = "worker stopped for good"
    FLOOD = "mailbox flooded"
    RELOAD = "code reloaded"


_WEIGHTS = {
    Fault.WORKER: 4,
    Fault.ACTOR: 6,
    Fault.CRASH: 2,
    Fault.PAUSE: 3,
    Fault.HANG: 1,
    Fault.FLOOD: 3,
    Fault.RELOAD: 1,
}


class Planned(NamedTuple):
    """A fault, when it is due in seconds from the start, and a number that picks its victim."""

    at: float
    fault: Fault
    pick: int


def plan_faults(seed: int, every: float) -> Iterator[Planned]:
    """Give faults without end, one every ``every`` seconds on average."""
    random = Random(seed)
    at = 0.0
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    while True:
        at += random.uniform(0.5, 1.5) * every
        (fault,) = random.choices(kinds, weights)
        yield Planned(at, fault, random.getrandbits(31))


class Kill(Command):
    """End this actor at once."""

    target: Ref[Any]


class Raise(Command):
    """Raise an error."""


class Work(Command):
    """Take a moment."""


class Sum(Request[float]):
    """Sum an array, which lies in shared memory."""

    array: npt.NDArray[np.float64]


class Victim(Actor):
    """Is flooded, raises and sums; and ends others when it is told to."""

    @handles
    def kill(self, msg: Kill, ctx: Context) -> None:
        """End an actor as an exit signal does."""
        ctx.exit(msg.target, Killed(9))

    @handles
    def fail(self, msg: Raise) -> None:
        """Crash."""
        raise ValueError("a bug, as far as the runtime knows")

    @handles
    def work(self, msg: Work) -> None:
        """Be slower than who floods the mailbox."""
        end = time.perf_counter() + 0.0002
        while time.perf_counter() < end:
            pass

    @handles
    def sum(self, msg: Sum) -> float:
        """Sum."""
        return float(msg.array.sum())


def victims() -> SupervisorSpec:
    """Give a supervisor with one victim for each way in which a mailbox can overflow."""
    children = tuple(
        ActorBuilder(Victim).name(f"victim-{policy}").mailbox(CAPACITY, overflow=policy)
        for policy in OverflowPolicy
    )
    specs = tuple(child.child_spec() for child in children)
    return SupervisorSpec("victims", max_restarts=_NO_BOUND, children=specs)


class Saboteur:
    """Commits faults from a thread of its own; use it in a ``with`` block.

    Args:
        node: whose processes and actors.
        plan: what to do, and when.
        actors: names of the actors that are killed.
        workers: names of the workers.
    """

    def __init__(
        self,
        node: Node,
        plan: Iterator[Planned],
        actors: Sequence[str],
        workers: Sequence[str],
    ) -> None:
        self._node = node
        self._plan = plan
        self._actors = list(actors)
        self._workers = list(workers)
        self._own = [node.lookup(f"victim-{policy}") for policy in OverflowPolicy]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saboteur")
        self.done: Counter[Fault] = Counter()
        self.refused: Counter[str] = Counter()
        """What floods and sums met: full mailboxes, deaths, timeouts."""
        self.wrong: list[str] = []
        """What must not happen."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        begin = time.monotonic()
        with FaultInjector(self._node) as injector:
            try:
                for planned in self._plan:
                    if self._over.wait(max(0.0, begin + planned.at - time.monotonic())):
                        return
                    self._commit(planned, injector)
                    self.done[planned.fault] += 1
            except Exception as error:
                self.wrong.append(f"a fault could not be committed: {error!r}")

    def _commit(self, planned: Planned, injector: FaultInjector) -> None:
        worker = self._workers[planned.pick % len(self._workers)]
        own = self._own[planned.pick % len(self._own)]
        match planned.fault:
            case Fault.WORKER:
                injector.kill(worker)
            case Fault.ACTOR:
                name = self._actors[planned.pick % len(self._actors)]
                self._try(lambda: own.tell(Kill(self._node.lookup(name))))
            case Fault.CRASH:
                self._try(lambda: own.tell(Raise()))
            case Fault.PAUSE:
                injector.delay(worker, 0.05 + planned.pick % 100 / 1000)
            case Fault.HANG:
                injector.stop(worker)
            case Fault.FLOOD:
                self._flood(own)
            case Fault.RELOAD:
                self._reload()

    def _flood(self, own: Ref[Any]) -> None:
        for _ in range(4 * CAPACITY):
            self._try(lambda: own.tell(Work()))
        expected = np.full(20_000, 0.5)
        found = self._try(lambda: own.ask(Sum(expected), timeout=5.0))
        if found is not None and found != expected.sum():
            self.wrong.append(f"an array came with the sum {found}")

    def _try(self, act: Any) -> Any:  # noqa: ANN401 - what it gives
        try:
            return act()
        except (ActorError, AskTimeoutError, MailboxFullError) as error:
            self.refused[type(error).__name__] += 1
            return None

    def _reload(self) -> None:
        try:
            self._node.reload()
        except ReloadError as error:  # a worker was killed meanwhile, in the worst case twice
            self.refused[type(error).__name__] += 1
