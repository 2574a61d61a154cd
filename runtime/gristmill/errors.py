"""Every error of gristmill's own, one hierarchy, each class one meaning.

Errors that cross a process boundary travel as data (:class:`ErrorData`), never pickled: an
exception class that the asker does not have can't silence it.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

import msgspec

from gristmill.death import POISON_LIMIT, CrashSite, Death, Fate


class ErrorData(msgspec.Struct, frozen=True, array_like=True):
    """A raised exception as data: what it was, what it said, where, and what caused it."""

    type: str
    """Qualified name of the exception's class, ``module.Class``."""
    message: str
    traceback: str = ""
    """The formatted remote traceback, causes included."""
    cause: ErrorData | None = None

    @classmethod
    def of(cls, error: BaseException) -> ErrorData:
        """Describe ``error`` with its traceback and its chain of explicit causes."""
        chain = [error]
        while (cause := chain[-1].__cause__) is not None:
            if any(cause is known for known in chain):
                break
            chain.append(cause)
        found: ErrorData | None = None
        for each in reversed(chain):
            trace = "".join(traceback.format_exception(each))
            found = cls(_name_of(type(each)), text_of(each), encodable(trace), found)
        assert found is not None
        return found

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _name_of(kind: type) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def text_of(said: object) -> str:
    """Give what an exception or anything else says, even if it can't, as text that can travel."""
    try:
        return encodable(str(said))
    except Exception as broken:  # whatever the user's __str__ raises
        return f"(its text can't be had: {type(broken).__name__})"


def encodable(text: str) -> str:
    """Give a text with what UTF-8 can't hold, such as parts of file names, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


class GristmillError(Exception):
    """The base of every error that gristmill raises on purpose."""

    exit_code: ClassVar[int] = 1
    """What the command line exits with when this error ends it."""


class ConfigError(GristmillError):
    """A configuration value, key or file is wrong. Names the source, the key and the remedy."""

    exit_code = 2


class UsageError(GristmillError, TypeError):
    """The API was called in a way that can't work. Says what to write instead."""

    exit_code = 2


class ProtocolError(UsageError):
    """The handlers of an actor class contradict each other; raised when the class is created."""


class MessageTypeError(UsageError):
    """A message class can't be used as one; raised when the class is created."""


class ActorTypeError(UsageError):
    """An actor type is unknown, or can't be imported by a worker."""


class PayloadTooLargeError(GristmillError, ValueError):
    """A message is larger than the limit. Nothing was sent."""


class UnknownMessageError(GristmillError):
    """The actor has no handler for the message. The actor is unharmed."""


class DecodeError(GristmillError):
    """Bytes from the wire are no valid message of the expected type."""


class ReplyTypeError(GristmillError):
    """A handler answered with a value that is not of the request's reply type."""


class Reject(GristmillError):  # noqa: N818 - a refusal is an answer and not an error
    """Raised by a handler to refuse a message without crashing. Reaches the asker as it is."""

    def __init__(self, reason: str, *, code: str = "rejected") -> None:
        self.reason = text_of(reason)
        self.code = text_of(code)
        super().__init__(self.reason)


class Nack(Reject):
    """Raised by the handler of a channel's event: not now, let it come again.

    The actor does not crash, and the events of the same partition wait meanwhile. Too many of
    them make the event a dead letter. In any other handler it is a :class:`Reject`.

    Args:
        reason: why.
        after: seconds until it comes again; doubled each time from ``retry_seconds`` if None.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason, code="nack")
        self.after = after


class Ignore(GristmillError):  # noqa: N818 - it is a choice and not an error
    """Raised by a constructor or ``on_start``: the actor chooses not to run, which is no failure.

    Its supervisor goes on without it; who spawned it gets the same exception.
    """


class AskTimeoutError(GristmillError, TimeoutError):
    """The callee is alive and did not answer in time. A late answer is dropped."""


class AskCycle(UsageError):  # noqa: N818 - the name says what happened
    """A chain of asks has come back to an actor that waits for it. Names the chain."""


class ActorError(GristmillError):
    """A message could not be answered because of its target's fate."""


class ActorNotFoundError(ActorError):
    """There is no such actor: it never was, or it has stopped for good (OTP's noproc)."""


class ActorCrashed(ActorError):  # noqa: N818 - the name says what happened
    """The handler raised. Carries the remote error, and where it was raised, as data."""

    def __init__(
        self, message: str, error: ErrorData | None = None, site: CrashSite | None = None
    ) -> None:
        super().__init__(message)
        self.error = error
        self.site = site
        if error is not None and error.traceback:
            self.add_note(f"remote traceback:\n{error.traceback.rstrip()}")
        if site is not None:
            self.add_note(str(site))


class ActorDied(ActorError):  # noqa: N818 - the name says what happened
    """The actor's worker died while the message was there: it may or may not have been handled.

    Attributes:
        actor: the actor's name, or what it is called without one.
        key: its number on the node; 0 if it is not known.
        death: how its worker died and what that was doing; None if the actor was killed alone.
    """

    def __init__(
        self, message: str, death: Death | None = None, *, actor: str = "", key: int = 0
    ) -> None:
        super().__init__(message)
        self.death = death
        self.actor = actor
        self.key = key

    @classmethod
    def asked(cls, actor: str, key: int, request: str, how: str, death: Death | None) -> ActorDied:
        """Make it for a request whose callee's worker died; ``how`` is a sentence."""
        text = f"{actor} was asked {request} when {how}; it may or may not have been handled"
        told = death.told(key, actor) if death is not None else []
        return cls("\n  ".join([text, *told]), death, actor=actor, key=key)

    @property
    def fate(self) -> Fate | None:
        """What its supervisor decided; None if it decided nothing."""
        return self.death.fate_of(self.key) if self.death is not None else None

    @property
    def incarnation(self) -> int:
        """The incarnation that ended; 0 if it is not known."""
        return self.fate.actors[self.key] if self.fate is not None else 0


class QuarantinedError(ActorDied):
    """The message was in hand each time that its worker died, too often to be tried again."""

    @classmethod
    def asked(
        cls, actor: str, key: int, request: str, how: str, death: Death | None
    ) -> QuarantinedError:
        """Make it for an idempotent request; ``how`` its worker died last is a sentence."""
        text = (
            f"{request} to {actor} is quarantined: its worker has died {POISON_LIMIT} times with "
            f"it in hand, the last time when {how}; it is not tried again"
        )
        told = death.told(key, actor) if death is not None else []
        return cls("\n  ".join([text, *told]), death, actor=actor, key=key)


class MailboxFullError(ActorError):
    """The target's mailbox has no room and its policy is to fail."""


class AlreadyStartedError(ActorError):
    """The name is taken by a living actor."""


class StartFailedError(ActorError):
    """The actor's constructor or ``on_start`` raised; it is not running."""

    def __init__(self, message: str, error: ErrorData | None = None) -> None:
        super().__init__(message)
        self.error = error
        if error is not None and error.traceback:
            self.add_note(f"remote traceback:\n{error.traceback.rstrip()}")


class StartTimeoutError(StartFailedError, TimeoutError):
    """The actor did not start in its ``start_timeout``; what there was of it was killed."""


class NodeError(GristmillError):
    """The node as a whole failed or is gone."""


class NodeStoppedError(NodeError):
    """The node has stopped, or was stopped under a waiting call."""


class NodeStartError(NodeError):
    """The node could not start."""

    exit_code = 2


class WorkerBootError(NodeStartError):
    """A worker could not start: the user's module failed to import, or the process died at boot."""


class ReloadError(NodeError):
    """The new code could not be taken up; says why, and how much of the node has it."""


class NodeConnectError(NodeError):
    """There is no such node, or it does not answer."""

    exit_code = 3


class RestartIntensityError(NodeStoppedError):
    """A supervisor gave up: more restarts in its window than it allows. Carries the causes."""

    exit_code = 5


class InvalidStateTransition(Reject):
    """A transition that the declared table does not have; nothing has changed.

    It is a refusal: raised in a handler, it does not crash the actor and reaches the asker.
    """

    def __init__(self, source: str, target: str, *, detail: str = "") -> None:
        super().__init__(
            f"no transition from {source} to {target}{detail and f' ({detail})'}",
            code="invalid_transition",
        )
        self.source = text_of(source)
        self.target = text_of(target)
        self.detail = text_of(detail)


class CircuitOpenError(GristmillError):
    """The circuit breaker does not let the call through."""

    def __init__(self, name: str, retry_after: float, last_cause: str = "") -> None:
        cause = f"; last cause: {last_cause}" if last_cause else ""
        super().__init__(f"circuit {name!r} is open, retry in {retry_after:.3g} s{cause}")
        self.name = name
        self.retry_after = retry_after
        self.last_cause = last_cause


class IdempotencyConflictError(GristmillError):
    """The key is in use: its first request is still running, or had another payload."""


class ClaimLapsedError(GristmillError):
    """The lease of a claim was over, and its idempotency key belongs to a later claim now."""
