"""What a :class:`~gristmill.transport.control.Result` that is an error raises."""

from __future__ import annotations

from gristmill import errors
from gristmill.errors import GristmillError, StartFailedError
from gristmill.supervision import AlreadyPresentError, MaxChildrenError, SpecError, StrategyError
from gristmill.transport.control import Result

_OF_THE_TREE: dict[str, type[GristmillError]] = {
    kind.__name__: kind
    for kind in (AlreadyPresentError, MaxChildrenError, SpecError, StrategyError)
}


def error_of(result: Result) -> GristmillError:
    """Give the exception that the supervisor process has refused a call with."""
    kind = getattr(errors, result.error, None) or _OF_THE_TREE.get(result.error)
    if isinstance(kind, type) and issubclass(kind, StartFailedError):
        return kind(result.message, result.detail)
    if isinstance(kind, type) and issubclass(kind, GristmillError):
        return kind(result.message)
    return GristmillError(result.message)
