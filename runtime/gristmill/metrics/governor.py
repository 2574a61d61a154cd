"""The governor: finds how many messages a batch handler should take at once.

Its law. With ``o_f`` the coordination of a call, ``o_v`` that of each message in it, and compute
split alike into ``c_f`` and ``c_v``, a batch of k has the ratio

    R(k) = (c_f + k * c_v) / (o_f + k * o_v)

so the smallest batch that reaches a target is

    k* = ceil((target * o_f - c_f) / (c_v - target * o_v))

if ``c_v > target * o_v``; otherwise each message costs too much for what it computes, and no batch
reaches it. Fixed compute is worth saving too, which the ratio does not show: so a batch is never
smaller than where all that batches save is saved, and the fixed part down to a tenth of the rest.

A batch grows at most twofold a window, shrinks at once, and stays while the measured ratio is
between the target and 1.3 times the target. It is bounded by the latency that it may add, by the
mailbox, and by how many messages come at all. Whoever is first takes what is there without waiting;
messages wait for others only where that has been found to bring some.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import msgspec

from gristmill.metrics.cost_model import FORGET, CostModel
from gristmill.metrics.ratios import GOLDEN

MAX_BATCH: Final = 4096
"""The most messages of a batch."""
WINDOW: Final = 32
"""Messages, at the least, between two decisions."""
_DEAD_BAND: Final = 1.3
_CHANGED: Final = 2.0
"""By how much compute must be off what was known for everything to be learnt anew."""
_SAVED: Final = 10
"""Once the fixed part is so much smaller than the rest, a larger batch saves nothing."""
_SAME: Final = 0.2
"""By how much batch sizes may differ that are measured together."""
_BLIND: Final = 16
"""Windows with batches of one size, after which another size is tried: two tell what is fixed."""
_FILLED: Final = 0.8
"""A batch that is emptier, on average, does not stand at its size."""
_PAYS: Final = 1.5
"""How many times the messages a wait must bring to be worth it."""
_TRIAL: Final = 2
"""Waits by which is found out whether waiting brings anything."""
_PROBATION: Final = 4
"""Windows with waiting after which the ratio must be better than without."""
_BETTER: Final = 1.1
_LONGEST_REST: Final = 1024
"""Windows, at the most, until waiting is tried again."""


class Limit(StrEnum):
    """What a batch size stands at."""

    LEARNING = "learning"
    """Too few messages so far."""
    TARGET = "target"
    """It is what the target takes."""
    SAVED = "saved"
    """The target takes less; this is what it takes to save the fixed part of the compute."""
    PAYLOAD = "payload"
    """The target is out of reach: each message costs too much for what it computes."""
    LATENCY = "latency"
    """More would delay messages beyond the bound."""
    FILL = "fill"
    """No more messages come within the bound."""
    MAILBOX = "mailbox"
    """The mailbox holds no more."""
    GROWTH = "growth"
    """It has just been doubled, and is still growing."""


class Governed(msgspec.Struct, frozen=True):
    """What a governor has come to."""

    size: int
    """The most messages that one call takes now."""
    limit: Limit
    """Why it is not another size."""
    target: float
    """The ratio that it goes for."""
    wanted: int
    """The size that reaches the target, or saves all that can be saved, if nothing bounds it."""
    waits: bool
    """Whether messages wait for others to come."""
    wait_ns: int
    """By how much a batch may delay a message."""
    ratio: float | None
    """Compute over coordination in the last window; None: nothing was measured yet. Coordination
    is that of the calls and their share of what the worker reads, sends and polls."""
    predicted_ratio: float | None
    """What the model says of this size."""
    messages: int
    """Messages that it has seen."""


class Governor:
    """The batch size of one message type at one actor type. Pure; times in ns.

    Args:
        wait_ns: by how much a batch may delay a message.
        target: the ratio of compute to coordination to go for.
    """

    def __init__(self, wait_ns: int, target: float = GOLDEN) -> None:
        self.wait_ns = wait_ns
        self.target = target
        self.size = 1
        self.limit = Limit.LEARNING
        self.messages = 0
        """Messages so far."""
        self.ratio: float | None = None
        self.predicted: float | None = None
        self.wanted = 1
        self._waiting = _Waiting()
        self._coordination = CostModel()
        self._compute = CostModel()
        self._dearest = 0.0
        """About the most that one message computes."""
        self._line: tuple[float, float] | None = None
        """Compute, as it was known last: of a call and of each message."""
        self._odd = False
        """Whether compute was not what it is known to be, in the last window."""
        self._spent = self._gained = self._shared = self._shared_calls = 0.0
        """Coordination, compute, and the shared part and the calls that it belongs to, faded."""
        self._measured_at = 0.0
        """The batch size that these are of."""
        self._blind = 0
        """Windows since batches were of several sizes."""
        self._begin_window()

    def _begin_window(self) -> None:
        self.count = 0
        """Messages of this window."""
        self._calls = 0
        self._of_window = (CostModel(), CostModel())
        """What its calls cost: coordination, compute."""
        self._compute_ns = self._coord_ns = self._message_ns = 0
        self._most_found = 0
        self._found = 0
        self._room = MAX_BATCH

    # --- what the worker asks ---

    @property
    def hold_ns(self) -> int:
        """For how long messages wait for others, counted from the arrival of the first; 0: not."""
        if not self._waiting.on or self.size == 1:
            return 0
        return max(0, int(self.wait_ns - self.size * self._dearest))

    # --- what the worker tells ---

    def held(self, before: int, after: int) -> None:
        """Take in that messages have waited: how many there were, and how many in the end."""
        self._waiting.held(before, after)

    def called(
        self,
        messages: int,
        compute_ns: int,
        coord_ns: int,
        message_ns: int,
        *,
        left: int = 0,
        room: int = MAX_BATCH,
    ) -> bool:
        """Take in a call of the handler; give whether it is time to :meth:`decide`.

        Args:
            messages: how many it took.
            compute_ns: what it computed.
            coord_ns: what else it took, from the mailbox to the last reply.
            message_ns: the part of that which each message surely has: decoding and encoding.
            left: messages that it left in the mailbox.
            room: how many the mailbox holds.
        """
        self.count += messages
        self._calls += 1
        self._compute_ns += compute_ns
        self._coord_ns += coord_ns
        self._message_ns += message_ns
        self._room = min(self._room, room)
        self._found += messages + left
        self._most_found = max(self._most_found, messages + left)
        coordination, compute = self._of_window
        coordination.add(messages, coord_ns)
        compute.add(messages, compute_ns)
        if self._line is None:  # nothing is known yet but what the calls so far computed
            self._dearest = max(compute_ns / messages, self._dearest / 2)
            self.size = max(1, min(2 * self.size, self._latency_bound(0.0, 0.0, 1), room))
        return self.count >= WINDOW

    def decide(self, shared_ns: int, elapsed_ns: int) -> None:
        """End a window and choose the size for the next.

        Args:
            shared_ns: what else the worker spent for these messages: to read, send and poll.
            elapsed_ns: how long the window was.
        """
        count = self.count
        self.messages += count
        now = self._compute_ns / count
        odd = self._is_odd(now)
        self._odd, before = odd and not self._odd, self._odd
        if odd and not before:  # it may be a disturbance: another window like it will tell
            self._dearest = now
            self._bound_latency()
        elif odd:
            self._learn_anew(now)
        else:
            self._measure(shared_ns)
            self._dearest = max(now, self._dearest / 2)
            each = self._message_ns / count
            o_f, o_v = self._coordination.line(each, each)
            c_f, c_v = self._line = self._compute.line(now)
            self._choose(o_f + self._shared / self._shared_calls, o_v, c_f, c_v, elapsed_ns)
        self._begin_window()

    def snapshot(self) -> Governed:
        """Say what it has come to."""
        return Governed(
            size=self.size,
            limit=self.limit,
            target=self.target,
            wanted=self.wanted,
            waits=self._waiting.on,
            wait_ns=self.wait_ns,
            ratio=self.ratio,
            predicted_ratio=self.predicted,
            messages=self.messages,
        )

    # --- how it decides ---

    def _is_odd(self, now: float) -> bool:
        """Tell whether compute was not what it is known to be."""
        if self._line is None:
            return False
        c_f, c_v = self._line
        known = c_f * self._calls / self.count + c_v
        return max(now, known) > _CHANGED * min(now, known)

    def _learn_anew(self, now: float) -> None:
        """Forget all but this window, and halve the size: two sizes tell what is fixed."""
        self._coordination, self._compute = self._of_window
        self._dearest = now
        self._line = (0.0, now)
        self._waiting.rested()
        self.size, self.limit = max(1, self.size // 2), Limit.LEARNING
        self._bound_latency()

    def _bound_latency(self) -> None:
        bound = self._latency_bound(0.0, 0.0, 1)
        if bound < self.size:
            self.size, self.limit = bound, Limit.LATENCY

    def _measure(self, shared_ns: int) -> None:
        """Take a window in; what was measured at about the same size before counts too."""
        for known, new in zip((self._coordination, self._compute), self._of_window, strict=True):
            known.forget()
            known.take_in(new)
        size = self.count / self._calls
        fades = FORGET if abs(size - self._measured_at) <= _SAME * size else 0.0
        self._measured_at = size
        self._spent = fades * self._spent + self._coord_ns + shared_ns
        self._gained = fades * self._gained + self._compute_ns
        self._shared = fades * self._shared + shared_ns
        self._shared_calls = fades * self._shared_calls + self._calls
        self.ratio = self._gained / self._spent if self._spent else None

    def _choose(self, o_f: float, o_v: float, c_f: float, c_v: float, elapsed_ns: int) -> None:
        found, came = self._found / self._calls, self.count * self.wait_ns / max(elapsed_ns, 1)
        size, reason = self._wanted(o_f, o_v, c_f, c_v, found)
        self.wanted = size
        self._waiting.window(found, came, self.ratio or 0.0, wanted=size > found)
        bounds = [
            (2 * self.size, Limit.GROWTH),
            (max(self._most_found, int(came)), Limit.FILL),
            (self._latency_bound(o_f, c_f, self.count / self._calls), Limit.LATENCY),
            (self._room, Limit.MAILBOX),
        ]
        if self._is_reached() and (reason is Limit.TARGET or size <= self.size):
            size, reason = self.size, Limit.TARGET
            bounds = bounds[2:]
        for bound, why in bounds:
            if bound < size:
                size, reason = bound, why
        self._blind = 0 if self._compute.tells else self._blind + 1
        if self._blind >= _BLIND and found >= 2 * size:
            # as many as there are anyway: no message waits longer for it
            self._blind = 0
            size, reason = min(2 * size, bounds[-2][0], bounds[-1][0]), Limit.LEARNING
        if found < _FILLED * size and not self._is_reached():
            reason = Limit.FILL
        self.size, self.limit = max(1, size), reason
        self.predicted = _ratio(c_f + self.size * c_v, o_f + self.size * o_v)

    def _wanted(
        self, o_f: float, o_v: float, c_f: float, c_v: float, found: float
    ) -> tuple[int, Limit]:
        """Give the size that the costs ask for, and what it is for."""
        saved = _SAVED * (o_f + c_f) / max(o_v + c_v, 1.0)
        margin = c_v - self.target * o_v
        if margin <= 0:
            return _whole(saved), Limit.PAYLOAD
        reaches = (self.target * o_f - c_f) / margin
        if self.ratio and self.ratio < self.target and found >= self.size:
            # the batches were as large as they may be, so the model was too hopeful
            reaches = max(reaches, self.size * self.target / self.ratio)
        return (_whole(reaches), Limit.TARGET) if reaches >= saved else (_whole(saved), Limit.SAVED)

    def _is_reached(self) -> bool:
        ratio = self.ratio
        return ratio is not None and self.target <= ratio <= _DEAD_BAND * self.target

    def _latency_bound(self, o_f: float, c_f: float, size: float) -> int:
        """Give how many messages are handled within the bound, when ``size`` of them were."""
        each = max(self._dearest - c_f / size, 1.0)
        return max(1, min(int((self.wait_ns - o_f - c_f) / each), MAX_BATCH))


def _whole(size: float) -> int:
    return max(1, min(math.ceil(size), MAX_BATCH))


def _ratio(compute: float, coordination: float) -> float | None:
    return compute / coordination if coordination > 0 else None


class _Waiting:
    """Whether messages should wait for others: found out by trying, ever more seldom in vain.

    The rate at which messages come does not tell: whoever asks one thing after another sends
    nothing while it waits.
    """

    def __init__(self) -> None:
        self.on = False
        self._pause = 0
        """Windows until the next trial."""
        self._rest = 1
        self._trial = _TRIAL
        self._before = self._after = self._holds = 0
        self._ratio_before = 0.0
        """The ratio without waiting."""
        self._windows = 0
        """Windows with waiting."""

    def rested(self) -> None:
        """Things have changed: try again soon."""
        self._pause, self._rest = 0, 1

    def held(self, before: int, after: int) -> None:
        self._before += before
        self._after += after
        self._holds += 1
        if self.on and self._trial:
            self._trial -= 1
            if not self._trial:
                self._judge()

    def window(self, found: float, expected: float, ratio: float, *, wanted: bool) -> None:
        """A window has ended.

        Args:
            found: how many messages there were for a call, on average.
            expected: how many come within the bound, at the present rate.
            ratio: what was measured.
            wanted: whether more would be of use.
        """
        if self.on:
            self._windows += 1
            if not self._trial and self._holds:
                self._judge()
            if self.on and self._windows == _PROBATION and ratio < _BETTER * self._ratio_before:
                self._give_up()
        elif self._pause:
            self._pause -= 1
        elif wanted and found + expected >= _PAYS * found and expected >= 1:
            self.on = True
            self._windows, self._ratio_before = 0, ratio
            self._trial = _TRIAL
            self._before = self._after = self._holds = 0

    def _judge(self) -> None:
        pays = self._after >= _PAYS * self._before
        self._before = self._after = self._holds = 0
        if not pays:
            self._give_up()
        elif self._windows > _PROBATION:
            self._rest = 1

    def _give_up(self) -> None:
        self.on = False
        self._pause = self._rest
        self._rest = min(2 * self._rest, _LONGEST_REST)
