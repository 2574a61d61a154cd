"""What a :class:`~gristmill.transport.control.Result` that is an error raises."""

from __future__ import annotations

from gristmill import errors
from gristmill.errors import GristmillError, StartFailedError
from gristmill.supervision import SpecError, refusals
from gristmill.transport.control import Result


def error_of(result: Result) -> GristmillError:
    """Give the exception that the supervisor process has refused a call with."""
    kind = getattr(errors, result.error, None) or getattr(refusals, result.error, None)
    if result.error == SpecError.__name__:
        kind = SpecError
    if isinstance(kind, type) and issubclass(kind, StartFailedError):
        return kind(result.message, result.detail)
    if isinstance(kind, type) and issubclass(kind, GristmillError):
        return kind(result.message)
    return GristmillError(result.message)
