"""Why the tree refuses an operation on children: each class one meaning."""

from __future__ import annotations

from gristmill.errors import ActorNotFoundError, GristmillError, UsageError


class SupervisorNotFoundError(ActorNotFoundError):
    """There is no such supervisor, or it has ended (OTP's noproc)."""


class ChildNotFoundError(ActorNotFoundError):
    """The supervisor has no such child."""


class AlreadyPresentError(GristmillError):
    """The id belongs to a child that is stopped and whose spec is kept."""


class ChildStateError(GristmillError):
    """The operation needs a stopped child."""


class ChildRunningError(ChildStateError):
    """The child runs, or is being started or stopped."""


class ChildRestartingError(ChildStateError):
    """The child has failed, and its restart is due."""


class MaxChildrenError(GristmillError):
    """The dynamic supervisor has as many children as it may have."""


class StrategyError(UsageError):
    """The supervisor's strategy does not have this operation."""
