"""The rules that the engine asks: who is next, who comes back, when that ends a supervisor."""

from __future__ import annotations

from gristmill.supervision.members import Member, State, Supervisor
from gristmill.supervision.policies import Directive, Verdict
from gristmill.supervision.reasons import ExitReason, describe, is_ordered
from gristmill.supervision.spec import AutoShutdown, Restart


def next_to_stop(supervisor: Supervisor) -> list[Member]:
    """Give the children to ask now: one at a time, or all if they are independent."""
    if not supervisor.independent and supervisor.stopping:
        return []
    return supervisor.to_stop.all() if supervisor.independent else supervisor.to_stop.next()


def next_to_start(supervisor: Supervisor) -> list[Member]:
    """Give the children to start now: one at a time, or all if they are independent."""
    busy = supervisor.to_stop or supervisor.stopping or supervisor.starting
    if not supervisor.independent and busy:
        return []
    due = supervisor.to_start.all() if supervisor.independent else supervisor.to_start.next()
    return [child for child in due if not child.alive and child.timer is None]


def causes(child: Member, reason: ExitReason) -> tuple[str, ...]:
    """Give the chain of causes of an end, from the first failure on."""
    if isinstance(child, Supervisor) and child.causes:
        return child.causes
    return (f"{child.path}: {describe(reason)}",)


def is_restarted(restart: Restart, reason: ExitReason, verdict: Verdict | None) -> bool:
    """Tell whether a child that has ended for a reason is started again."""
    if restart is Restart.TEMPORARY:
        return False
    if verdict is not None:
        return verdict.directive in (Directive.RESTART, Directive.REPLAY)
    return restart is Restart.PERMANENT or not is_ordered(reason)


def says(verdict: Verdict | None, directive: Directive) -> bool:
    """Tell whether there is a verdict, and it is this one."""
    return verdict is not None and verdict.directive is directive


def shuts_down(supervisor: Supervisor) -> bool:
    """Tell whether the end of a significant child just now ends the supervisor."""
    if supervisor.spec.auto_shutdown is AutoShutdown.ALL_SIGNIFICANT:
        return not any(
            child.spec.significant and (child.state is not State.STOPPED or child.due)
            for child in supervisor.children.values()
        )
    return supervisor.spec.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
