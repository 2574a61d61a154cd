"""How workers die, as values: what their supervisor process saw and decided."""

from __future__ import annotations

from typing import Literal

import msgspec

Likelihood = Literal["yes", "no", "perhaps"]

LAST_WORDS_SECONDS = 0.005
"""What a process has sent before it died is in the pipe by then."""
POISON_LIMIT = 3
"""Ends of its actor that a message may be in hand at before it is not tried again."""


class Retried(msgspec.Struct, frozen=True, array_like=True):
    """A message that is tried again when its worker dies."""

    asked: bool
    """Whether it is an idempotent request; else it is an at-least-once message."""
    source: int
    """The process that sent it."""
    number: int


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """An at-least-once message that was in hand when its actor ended."""

    source: int
    number: int
    times: int
    """How often that was so."""
    cause: str
    """How it ended the last time."""


class Fate(msgspec.Struct, frozen=True, array_like=True):
    """What supervisors decided for actors that died with their worker."""

    actors: dict[int, int]
    """The incarnations that ended, by the actors' keys."""
    decision: str
    restarts: int
    """Restarts in the supervisor's window, this one included."""
    max_restarts: int
    within: float
    """Length of the window in seconds."""

    def __str__(self) -> str:
        used = f"{self.restarts} of {self.max_restarts} restarts in {self.within:g} s"
        return f"{self.decision} ({used})"


class Death(msgspec.Struct, frozen=True, array_like=True):
    """The end of one worker process."""

    worker: str
    incarnation: int
    """Of the worker."""
    pid: int
    cause: str
    """In words, such as ``killed by SIGKILL``."""
    exit_code: int | None = None
    """None if a signal ended it."""
    signal: int | None = None
    """None if it left by itself."""
    out_of_memory: Likelihood = "no"
    """Whether the kernel's OOM killer ended it."""
    actor: str = ""
    """Whose code ran when it died; empty if none did."""
    message: str = ""
    """The type of the message in hand; empty if none was."""
    seconds: float = 0.0
    """How long its handler had run."""
    output: tuple[str, ...] = ()
    """The last lines that it printed or logged."""
    stack: tuple[str, ...] = ()
    """What ran when it crashed (SIGSEGV and the like), the innermost frame first."""
    fates: tuple[Fate, ...] = ()
    """What becomes of its actors."""
    retried: Retried | None = None
    """The message in hand, if it is one that is tried again."""

    def may_be_of(self, process: int, number: int) -> bool:
        """Tell whether an idempotent request may be what it died of.

        It was in hand, or nobody can say what was.
        """
        return not self.message or self.retried == Retried(True, process, number)

    def fate_of(self, key: int) -> Fate | None:
        """Give what was decided for an actor, if anything was."""
        return next((fate for fate in self.fates if key in fate.actors), None)

    def account(self) -> list[str]:
        """Tell what happened, in lines without what the worker printed."""
        doing = "was idle"
        if self.message:
            doing = f"had {self.message} of {self.actor} in hand for {self.seconds:.3g} s"
        lines = [f"{self.worker} (incarnation {self.incarnation}, pid {self.pid}) {doing}"]
        if self.out_of_memory == "yes":
            lines.append("the kernel's OOM killer ended it")
        elif self.out_of_memory == "perhaps":
            lines.append("perhaps the kernel's OOM killer ended it; its counter can't tell")
        return lines + [f"  {frame}" for frame in self.stack]

    def told(self, key: int, actor: str) -> list[str]:
        """Tell what happened, with the fate of one actor, in lines."""
        lines = self.account()
        if self.output:
            lines += ["its last output:", *(f"  {line}" for line in self.output)]
        fate = self.fate_of(key)
        if fate is not None:
            lines.append(f"{actor} (incarnation {fate.actors[key]}): {fate}")
        return lines


class CrashSite(msgspec.Struct, frozen=True, array_like=True):
    """Where a handler raised."""

    actor: str
    incarnation: int
    worker: str
    pid: int
    message: str
    """The type of the message in hand."""

    def __str__(self) -> str:
        where = f"worker {self.worker}, pid {self.pid}"
        return f"{self.actor} (incarnation {self.incarnation}, {where}) handled {self.message}"
