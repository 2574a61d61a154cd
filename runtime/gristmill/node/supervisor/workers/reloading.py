"""``Reloading``: all workers are replaced, one after the other, by such with the code as it is now.

A new fork server loads the code first, and one worker must come up from it. Until then nothing
has changed, and what was wrong is told to whoever asked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from gristmill.errors import ErrorData, GristmillError, ReloadError, UsageError
from gristmill.node.config import NodeConfig
from gristmill.node.status import Reloaded
from gristmill.node.supervisor.actors.incarnations import Incarnations
from gristmill.node.supervisor.roster import Roster
from gristmill.node.supervisor.run import Run
from gristmill.node.supervisor.shell import Renewal, SupervisorShell
from gristmill.node.supervisor.workers.replacing import Replacing, can_be_replaced
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.supervision import ChildSpec, SupervisionTree, SupervisorSpec

Answer = Callable[[Reloaded | GristmillError], None]
"""Is told what became of a reload."""

_CLIENT_ASKS_WITHIN = 0.5
"""Seconds in which a client that has got SIGHUP too asks for a reload."""
_AGAIN = 0.02
"""Seconds after which a worker that can't be replaced just now is looked at again."""


class Reloading:
    """Carries out one reload at a time.

    Args:
        shell: of the supervisor process.
        config: how the node was started.
        run: says whether it runs.
        tree: the node's tree.
        roster: who is where.
        incarnations: are started as the new code says.
        replacing: replaces workers.
    """

    def __init__(
        self,
        shell: SupervisorShell,
        config: NodeConfig,
        run: Run,
        tree: SupervisionTree,
        roster: Roster,
        incarnations: Incarnations,
        replacing: Replacing,
    ) -> None:
        self._shell = shell
        self._config = config
        self._run = run
        self._tree = tree
        self._roster = roster
        self._incarnations = incarnations
        self._replacing = replacing
        self._answer: Answer | None = None
        self._changed: list[tuple[int, ChildSpec]] = []
        """What starts in another way once nothing can go wrong with the new code any more."""
        self._left: deque[Slot] | None = None
        """The workers that are still to be replaced; None until the first one has come up."""
        self._began = 0.0
        self._ended_at = -math.inf
        """When the last one ended, monotonic seconds."""
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether a reload is under way."""
        return self._answer is not None

    def begin(self, tree: SupervisorSpec | None, answer: Answer) -> None:
        """Begin a reload.

        Args:
            tree: how the actors that the node was started with are started from now on; None
                leaves that as it is.
            answer: is told what became of it.

        Raises:
            UsageError: that can't be done now, or the tree has other members.
        """
        if not self._run.accepts_actors:
            raise UsageError("the node does not run, so it can't be reloaded")
        elastic = [pool.path for pool in self._config.pools]
        changed = [] if tree is None else self._tree.compare(tree, elastic)
        renewal = self._renewal()
        if self.busy:
            raise UsageError("the node is being reloaded already; wait until that has ended")
        self._changed, self._answer = changed, answer
        self._began, self._count, self._left = self._shell.now(), 0, None
        types = {record.spec.type for record in self._roster.actors.values()}
        renewal.load(self._config.preload, tuple(sorted(types)))

    def on_signal(self) -> None:
        """SIGHUP has come; if it came to all, the client asks for more than the code alone."""
        self._shell.call_at(self._shell.now() + _CLIENT_ASKS_WITHIN, self._begin_unless_asked)

    def _begin_unless_asked(self) -> None:
        if self.busy or self._ended_at > self._shell.now() - _CLIENT_ASKS_WITHIN:
            return

        def answer(outcome: Reloaded | GristmillError) -> None:
            if isinstance(outcome, GristmillError):
                self._shell.log(f"reload: {outcome}")
            else:
                self._shell.log(f"reload: {outcome.workers} workers in {outcome.seconds:.2f} s")

        try:
            self.begin(None, answer)
        except GristmillError as error:
            answer(error)

    def _renewal(self) -> Renewal:
        if self._shell.renewal is None:
            raise UsageError(
                "this node runs in its client's process, whose code can't be loaded anew; start "
                "the program again"
            )
        return self._shell.renewal

    def load_failed(self, what: str, error: ErrorData | None) -> None:
        """The new fork server could not load the code."""
        text = f"can't import {what}: {error}\n{error.traceback.rstrip()}" if error else what
        self._fail(text)

    def loaded(self) -> None:
        """The new fork server has loaded the code."""
        if self.busy:
            self._try_first()

    def _try_first(self) -> None:
        """Replace the first worker that is ready, so that one has shown that the code works."""
        ready = [
            slot for slot in self._roster.slots.all() if can_be_replaced(slot, self._roster.slots)
        ]
        if ready:
            self._replace(ready[0], fresh=True, ready=self._first_is_ready)
        else:
            self._shell.call_at(self._shell.now() + _AGAIN, self._try_again)

    def _try_again(self) -> None:
        if self.busy:
            self._try_first()

    def _first_is_ready(self) -> None:
        slots = self._roster.slots.all()
        self._left = deque(slot for slot in slots if slot.successor is None)
        self._renewal().adopt()
        self._incarnations.change(self._changed)

    def _replace(
        self, slot: Slot, *, fresh: bool = False, ready: Callable[[], None] = lambda: None
    ) -> None:
        self._replacing.begin(slot, "reloaded", self._replaced, fresh=fresh, ready=ready)

    def _replaced(self, error: str) -> None:
        if error:
            self._fail(error)
            return
        self._count += 1
        self._go_on()

    def _go_on(self) -> None:
        if not self.busy or self._left is None:
            return
        while self._left:
            slot = self._left[0]
            if slot.leaving or self._roster.slots.get(slot.address) is not slot:
                self._left.popleft()
            elif can_be_replaced(slot, self._roster.slots):
                self._left.popleft()
                self._replace(slot)
                return
            else:
                self._shell.call_at(self._shell.now() + _AGAIN, self._go_on)
                return
        self._finish(Reloaded(self._count, self._shell.now() - self._began))

    def _fail(self, text: str) -> None:
        if not self.busy:
            return
        if self._left is None:
            self._renewal().discard()
            self._finish(ReloadError(f"nothing was reloaded: {text}"))
        else:
            left = len(self._left) + 1
            self._finish(
                ReloadError(f"{self._count} of {self._count + left} workers were reloaded: {text}")
            )

    def _finish(self, outcome: Reloaded | GristmillError) -> None:
        self._ended_at = self._shell.now()
        answer, self._answer = self._answer, None
        assert answer is not None
        answer(outcome)
