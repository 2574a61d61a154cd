"""A worker with one batched message type, simulated: what a governor makes of known costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from gristmill.metrics import Governor


@dataclass
class Regime:
    """What things cost, in ns, and how messages come."""

    c: float
    """Compute of a message."""
    o_f: float
    """Fixed coordination of a call, with its share of the turn."""
    o_v: float
    """Coordination of a message."""
    c_f: float = 0.0
    """Fixed compute of a call."""
    every: float = 0.0
    """Time between two messages of an open stream; 0: the senders below alone."""
    backlog: bool = False
    """There are always more than are taken."""
    senders: int = 0
    """Senders that ask one thing after another, and 20 us between reply and next request."""


@dataclass
class Run:
    """What has happened."""

    compute: float = 0.0
    coordination: float = 0.0
    sizes: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """By how much messages were delayed beyond their own handling when there was no backlog."""
    seconds: float = 0.0

    @property
    def ratio(self) -> float:
        """Compute over coordination."""
        return self.compute / self.coordination

    @property
    def rate(self) -> float:
        """Messages a second."""
        return sum(self.sizes) / self.seconds


_THINK = 20_000.0
_MAILBOX = 100


class Worker:
    """One worker in virtual time, in ns."""

    def __init__(self, governor: Governor) -> None:
        self.governor = governor
        self.now = 0.0
        self._since = 0.0

    def run(self, regime: Regime, messages: int) -> Run:
        """Handle so many messages of a regime."""
        governor, run, begun = self.governor, Run(), self.now
        if regime.backlog:
            count = 0
            while count < messages:
                self._call(regime, run, [self.now] * governor.size, 10 * governor.size)
                count += run.sizes[-1]
            run.seconds = (self.now - begun) / 1e9
            return run
        arrivals = [self.now] * regime.senders
        next_open = self.now
        while sum(run.sizes) < messages:
            if regime.every:
                if len(arrivals) >= _MAILBOX:  # the sender waits for room
                    next_open = max(next_open, self.now)
                while (next_open <= self.now and len(arrivals) < _MAILBOX) or not arrivals:
                    arrivals.append(next_open)
                    next_open += regime.every
            arrivals.sort()
            self.now = max(self.now, arrivals[0])
            here = [at for at in arrivals if at <= self.now]
            due = here[0] + governor.hold_ns
            if len(here) < governor.size and due > self.now:
                here = self._hold(regime, arrivals, due, next_open)
                next_open = max(next_open, max(arrivals) + regime.every)
            taken = here[: governor.size]
            self._call(regime, run, taken, len(here) - len(taken))
            rest = sorted(arrivals)[len(taken) :]
            arrivals = rest + [self.now + _THINK] * min(len(taken), regime.senders)
        run.seconds = (self.now - begun) / 1e9
        return run

    def _hold(
        self, regime: Regime, arrivals: list[float], due: float, next_open: float
    ) -> list[float]:
        governor = self.governor
        before = sum(at <= self.now for at in arrivals)
        if regime.every:
            at = next_open
            while at <= due and len(arrivals) < governor.size:
                arrivals.append(at)
                at += regime.every
        here = sorted(at for at in arrivals if at <= due)[: governor.size]
        full = len(here) >= governor.size
        self.now = max(self.now, here[-1] if full else due)
        governor.held(before, len(here))
        return here

    def _call(self, regime: Regime, run: Run, taken: list[float], left: int) -> None:
        governor, count = self.governor, len(taken)
        compute = regime.c_f + regime.c * count
        shared = regime.o_f / 2
        own = regime.o_f / 2 + regime.o_v * count
        first = self.now - taken[0] if not left else 0.0
        self.now += compute + own + shared
        run.delays.append(first + (count - 1) * regime.c)
        run.compute += compute
        run.coordination += own + shared
        run.sizes.append(count)
        self._shared += shared
        if governor.called(count, int(compute), int(own), int(regime.o_v * count), left=left):
            governor.decide(int(self._shared), int(self.now - self._since))
            self._shared, self._since = 0.0, self.now

    _shared = 0.0
