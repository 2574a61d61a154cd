"""``on_failure`` of an actor class is checked when the class is created."""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.errors import Ignore, ProtocolError, Reject
from gristmill.supervision import FailurePolicy

_ANSWERS = (Reject, Ignore)
"""Exceptions that are no failures."""


def check_on_failure(owner: str, policies: object) -> None:
    """Refuse what is no mapping of exception classes to policies.

    Raises:
        ProtocolError: names the class, the entry and the remedy.
    """
    if not isinstance(policies, Mapping):
        raise ProtocolError(
            f"{owner}.on_failure is {policies!r}; write {{ExceptionClass: FailurePolicy.restart()}}"
        )
    for kind, policy in policies.items():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ProtocolError(
                f"{owner}.on_failure has {kind!r}, which is no exception class; write one, "
                "such as ValueError"
            )
        if issubclass(kind, _ANSWERS):
            raise ProtocolError(
                f"{owner}.on_failure has {kind.__qualname__}, which is an answer and no failure; "
                "leave it out"
            )
        if not isinstance(policy, FailurePolicy):
            raise ProtocolError(
                f"{owner}.on_failure[{kind.__qualname__}] is {policy!r}; write "
                "FailurePolicy.resume(), .restart() or .stop()"
            )
