"""``Simulation``: a node in one process, under virtual time, in an order that a seed decides."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NoReturn, Self

import msgspec

from gristmill.channels import ChannelBackend, backends_of
from gristmill.errors import ConfigError, NodeError, UsageError
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.node.config import NodeConfig
from gristmill.node.hosting import Host, LocalHost
from gristmill.node.node import Node
from gristmill.ref import Ref
from gristmill.testing.faults import Faults, Point
from gristmill.testing.simulated_worker import SimulatedWorker
from gristmill.testing.simulated_world import SimulatedWorld
from gristmill.transport.control import FIRST_CLIENT

_NO_FAULTS = Faults()
_LOOK_EVERY = 0.01
"""Virtual seconds after which a condition is looked at even if nothing has happened: one that asks
lets things happen by itself."""


class Simulation(Node):
    """A node that is simulated: unmodified actors, supervisors, timers and faults.

    What can be done with a :class:`~gristmill.Node` can be done with it; waiting takes no time.
    The same seed gives the same run, to the last line of :attr:`trace`, in any process. Time
    passes where the client waits: in ``ask``, ``spawn``, :meth:`run_until`, :meth:`advance`.

    Args:
        seed: decides everything that is free in reality.
        workers: how many workers.
        faults: what goes wrong at random.
        journal: a directory for durable actors; True: a temporary one, in memory where there is
            ``/dev/shm``; None: none.
        node_id: the node's name.
        options: what else a :class:`~gristmill.Node` takes.
    """

    def __init__(
        self,
        seed: int,
        *,
        workers: int | str = 2,
        faults: Faults = _NO_FAULTS,
        journal: str | Path | bool | None = None,
        node_id: str = "",
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        self.seed = seed
        self.random = Random(f"{seed}/test")
        """Random numbers for the test itself, from the same seed."""
        self._faults = faults
        self._in_memory = journal is True
        directory = None if isinstance(journal, bool) else journal
        super().__init__(workers, node_id=node_id or "simulation", journal=directory, **options)
        self._simulated: SimulatedWorld | None = None

    @classmethod
    def of(cls, builder: NodeBuilder, seed: int, *, faults: Faults = _NO_FAULTS) -> Self:
        """Simulate the node that a builder describes."""
        return builder.build_as(partial(cls, seed, faults=faults))

    # --- life ---

    def _check_channels(self) -> None:
        on = [kind for kind in backends_of(self._channel_config) if kind != ChannelBackend.MEMORY]
        if on:
            raise ConfigError(
                f"a simulation has no servers, and [channel] turns {', '.join(on)} on; leave "
                "use_redis and use_kafka off"
            )

    def start(self) -> Self:
        """Start the node; random faults begin when it is up."""
        if self._in_memory:
            shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
            self._journal = tempfile.mkdtemp(prefix="gristmill-simulation-", dir=shared)
        super().start()
        self._world.faults.begin()
        return self

    def _open_host(self, config: NodeConfig) -> Host:
        config = msgspec.structs.replace(config, started_ns=0)
        return LocalHost(config, self._new_world)

    def _new_world(self, config: NodeConfig) -> SimulatedWorld:
        self._simulated = SimulatedWorld(config, self.seed, self._faults)
        return self._simulated

    def stop(self, timeout: float | None = None) -> None:
        """Stop everything in order, without faults."""
        if self._simulated is not None:
            self._simulated.faults.end()
        super().stop(timeout)
        if self._in_memory:
            shutil.rmtree(self._journal, ignore_errors=True)

    @property
    def _world(self) -> SimulatedWorld:
        if self._simulated is None:
            raise UsageError("the simulation has not begun; write `with Simulation(seed) as node:`")
        return self._simulated

    def _token(self, size: int) -> str:
        return self.random.randbytes(size).hex()

    def granularity(self) -> NoReturn:
        """Refuse: virtual time says nothing about what computing costs."""
        raise UsageError("a simulation's time is virtual, so it has no granularity; use a Node")

    def message_trace(self, window: float = 2.0) -> NoReturn:
        """Refuse, for the same reason."""
        del window
        raise UsageError("a simulation's time is virtual, so messages take none; use a Node")

    # --- time ---

    @property
    def trace(self) -> list[str]:
        """What has happened so far, a line each; the same for the same seed."""
        return self._world.trace.lines()

    def now(self) -> float:
        """Give the virtual monotonic time in seconds, that of every ``ctx.now()``."""
        return self._world.now()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass, with all that happens in them."""
        over: list[bool] = []
        self._world.call_later(seconds, lambda: over.append(True))
        self._let_happen(lambda: bool(over), seconds)

    def run_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Let things happen until ``condition`` holds.

        Args:
            condition: looked at after everything that happens; it may ask actors.
            timeout: virtual seconds to wait at most.

        Raises:
            NodeError: it did not hold in time.
        """
        deadline = self.now() + timeout
        while not self._let_happen(condition, min(_LOOK_EVERY, deadline - self.now())):
            if self.now() >= deadline:
                raise NodeError(f"the condition did not hold within {timeout:g} virtual seconds")

    def _let_happen(self, done: Callable[[], bool], timeout: float) -> bool:
        world, post = self._world, self._connected().post

        def look() -> bool:
            post.read_available()  # credit, acknowledgements and events that came for the client
            return done()

        return world.run(look, timeout)

    # --- faults ---

    def kill(self, worker: str, *, after: float = 0.0, point: Point | str = Point.NOW) -> None:
        """Kill a worker as SIGKILL does: mailboxes and what is not committed are gone.

        Args:
            worker: its name.
            after: virtual seconds from now.
            point: where in its work; other than ``"now"`` when it gets there next.

        Raises:
            UsageError: there is no such worker, or no such point.
        """
        where = Point(point)
        self._at(worker, after, lambda found: self._world.kill(found, where))

    def pause(self, worker: str, seconds: float, *, after: float = 0.0) -> None:
        """Have a worker stand still for ``seconds``, beginning ``after`` seconds from now.

        Raises:
            UsageError: there is no such worker.
        """
        self._at(worker, after, lambda found: self._world.pause(found, seconds))

    def delay(self, source: str, target: str, seconds: float) -> None:
        """Have all that is sent from now on from one worker to another take ``seconds`` longer.

        Args:
            source: a worker's name, or ``"client"``.
            target: another one.
            seconds: the delay; 0 ends it.

        Raises:
            UsageError: there is no such worker.
        """
        self._world.delays[self._address(source), self._address(target)] = seconds

    def crash(self, ref: Ref[Any], *, after: float = 0.0) -> None:
        """Have an actor crash on the first message that it handles ``after`` seconds from now.

        Raises:
            UsageError: it does not run.
        """
        address = ref.address
        found = self._world.workers.get(address.home)
        if found is None or address.key not in found.core.cells:
            raise UsageError(f"{address.label} does not run now")

        def strike(worker: SimulatedWorker) -> None:
            if address.key in worker.core.cells:
                self._world.crash(worker, address.key)

        self._at(found.name, after, strike)

    def _address(self, name: str) -> int:
        return FIRST_CLIENT if name == "client" else self._living(name).address

    def _living(self, name: str) -> SimulatedWorker:
        found = self._world.worker_named(name)
        if found is None:
            known = ", ".join(worker.name for worker in self._world.living)
            raise UsageError(f"no worker is named {name!r} (those that live: {known})")
        return found

    def _at(self, name: str, after: float, strike: Callable[[SimulatedWorker], None]) -> None:
        world = self._world
        self._living(name)

        def now() -> None:
            worker = world.worker_named(name)
            if worker is not None:  # else it is being restarted just then, and can't be hit
                strike(worker)

        if after > 0:
            world.call_later(after, now)
        else:
            now()
