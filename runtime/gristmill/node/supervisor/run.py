"""``Run``: the phases of a node, from its boot to its end, and what it ends with."""

from __future__ import annotations

import signal
from typing import Literal, Protocol

from gristmill.errors import ErrorData
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.newcomers import Newcomers
from gristmill.node.supervisor.workers.slots import SlotState
from gristmill.supervision import Ending, TreeStopped, describe
from gristmill.transport import control as c

_EXIT_GRACE = 2.0
"""Seconds that workers get to leave at the end."""
_HELLO_GRACE = 1.0
"""Seconds that a client's first message may take to arrive when the node fails at its start."""
_ORPHANS_GRACE = 0.5
"""Seconds that actors get when the client that owns the node has died."""


class Driver(Protocol):
    """The part of the core that stops what runs."""

    def keep_workers(self) -> None:
        """Let no worker take the place of another one any more."""

    def stop_tree(self) -> None:
        """Stop all actors in order."""


class Run:
    """Says what the node may do now, and ends it.

    Args:
        driver: stops what runs.
        shell: of the supervisor process.
        roster: who is to end, and who is told.
        newcomers: clients that wait, and are told too.
    """

    def __init__(
        self, driver: Driver, shell: SupervisorShell, roster: Roster, newcomers: Newcomers
    ) -> None:
        self._driver = driver
        self._shell = shell
        self._roster = roster
        self._slots = roster.slots
        self._newcomers = newcomers
        self.phase: Literal["boot", "running", "stopping", "exiting"] = "boot"
        self._outcome = (0, "stopped")
        self._hello_awaited = False

    @property
    def accepts_actors(self) -> bool:
        """Whether actors can be started."""
        return self.phase == "running"

    @property
    def is_exiting(self) -> bool:
        """Whether the workers end, or have ended."""
        return self.phase == "exiting"

    @property
    def is_ending(self) -> bool:
        """Whether the actors stop, or have stopped."""
        return self.phase in ("stopping", "exiting")

    def begun(self) -> None:
        """All workers are up."""
        self.phase = "running"

    # --- why it ends ---

    def fail(self, exit_code: int, message: str) -> None:
        """Something that the node can't live without is gone."""
        self._outcome = (exit_code, message)
        self._exit_workers(kill=True)

    def load_failed(self, module: str, error: ErrorData) -> None:
        """A module of the user's can't be imported."""
        self.fail(2, f"can't import {module}: {error}\n{error.traceback.rstrip()}")

    def fork_server_died(self, message: str) -> None:
        """The fork server is gone, and all workers with it: the run ends under its name."""
        self._outcome = (1, message)
        self.phase = "exiting"
        self._hello_awaited = True
        for slot in self._slots.all():
            slot.state = SlotState.ENDED
            slot.pid = 0
            slot.successor = slot.former = None
        self.end_if_empty()

    def owner_gone(self) -> None:
        """The client that owns the node has died: its actors get half a second."""
        self._outcome = (1, "the client is gone")
        self._shell.log("the client is gone: stopping")
        self.stop(_ORPHANS_GRACE)

    def tree_stopped(self, how: TreeStopped) -> None:
        """All actors have ended."""
        if how.ending is Ending.INTENSITY:
            chain = "\n  ".join(how.causes)
            self._outcome = (5, f"restart intensity exceeded:\n  {chain}")
        elif how.ending is Ending.START_FAILED:
            chain = "\n  ".join(how.causes) or describe(how.reason)
            self._outcome = (1, f"the supervision tree can't start:\n  {chain}")
        self._exit_workers(kill=False)

    def stop(self, timeout: float) -> None:
        """Stop everything in order; what has not stopped after ``timeout`` seconds is killed."""
        if self.is_exiting:
            if timeout <= 0:
                self._kill_workers()
            return
        self._driver.keep_workers()
        if timeout <= 0 or self.phase == "boot":
            self._exit_workers(kill=True)
            return
        if self.phase == "running":
            self.phase = "stopping"
            self._driver.stop_tree()
        self._shell.call_at(self._shell.now() + timeout, lambda: self._exit_workers(kill=True))

    # --- how it ends ---

    def _exit_workers(self, *, kill: bool) -> None:
        if self.is_exiting:
            if kill:
                self._kill_workers()
            return
        self.phase = "exiting"
        if kill:
            self._kill_workers()
        else:
            for slot in self._slots.ready():
                self._shell.send(slot.identity, c.Exit())
            for other in self._slots.others():
                if other.pid:  # what it would pass on nobody takes any more
                    self._shell.signal(other.pid, signal.SIGKILL)
            self._shell.call_at(self._shell.now() + _EXIT_GRACE, self._kill_workers)
        self.end_if_empty()

    def _kill_workers(self) -> None:
        for slot in (*self._slots.all(), *self._slots.others()):
            if slot.pid:
                self._shell.signal(slot.pid, signal.SIGKILL)

    def end_if_empty(self) -> None:
        """End the supervisor process, if the workers were to end and have, and say so."""
        if not self.is_exiting:
            return
        living = [slot for slot in self._slots.all() if slot.state is not SlotState.ENDED]
        if any(slot.pid for slot in (*living, *self._slots.others())):
            return
        clients = [client.identity for client in self._roster.clients.values()]
        clients += self._newcomers.waiting
        if not clients and not self._hello_awaited:
            # the client's hello is under way, and it must learn why the node ends
            self._hello_awaited = True
            self._shell.call_at(self._shell.now() + _HELLO_GRACE, self.end_if_empty)
            return
        code, message = self._outcome
        stopped = c.NodeStopped(code, message)
        for identity in clients:
            self._shell.send(identity, stopped)
        self._shell.finish(code, "" if clients else message)
