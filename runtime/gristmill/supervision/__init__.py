"""The supervision tree: OTP's rules as pure logic, without sockets, processes or a clock.

A driver tells :class:`SupervisionTree` what happened and carries out the actions that come back.

Where OTP leaves a choice, or the tree decides otherwise:

* A dynamic supervisor has no template: every child comes with its own spec, under an id of its
  own. Its children are named by key, like all members.
* Children of a running one_for_one supervisor start and stop side by side, so that a slow one does
  not hold up the others. A first start, an ordered stop and a group restart go one by one.
* One event that ends several actors costs each supervisor that it touches one restart, also when it
  comes back as an inner supervisor that gave up.
* What an actor class says about its own exceptions (``on_failure``) comes as a verdict: such a
  restart costs nothing, and such a stop holds whatever the restart type.
* The window of the restart intensity has exact ends; times are not cut to whole seconds.
* While a supervisor stops its last children, the supervisors before them still restart theirs, as
  in OTP, so that what is draining finds its services.
"""

from gristmill.supervision.actions import (
    Action,
    ArmTimer,
    CancelTimer,
    Completed,
    Decision,
    Ending,
    ErrorRecord,
    Failed,
    Ignored,
    KillActor,
    Outcome,
    Report,
    StartActor,
    Started,
    StopActor,
    Terminated,
    TreeStarted,
    TreeStopped,
)
from gristmill.supervision.backoff import Backoff
from gristmill.supervision.intensity import RestartIntensity
from gristmill.supervision.members import State
from gristmill.supervision.policies import (
    Directive,
    FailureHistory,
    FailurePolicy,
    Verdict,
    find_rule,
)
from gristmill.supervision.reasons import (
    Crash,
    Exited,
    ExitReason,
    Killed,
    Lost,
    NoProc,
    Normal,
    Shutdown,
    describe,
    is_ordered,
)
from gristmill.supervision.refusals import (
    AlreadyPresentError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildStateError,
    MaxChildrenError,
    StrategyError,
    SupervisorNotFoundError,
)
from gristmill.supervision.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    ChildSpec,
    Restart,
    ShutdownPolicy,
    Spec,
    SpecError,
    Strategy,
    SupervisorSpec,
    validate,
)
from gristmill.supervision.tree import Accepted, SupervisionTree
from gristmill.supervision.views import ChildCounts, ChildInfo, Snapshot

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "Accepted",
    "Action",
    "AlreadyPresentError",
    "ArmTimer",
    "AutoShutdown",
    "Backoff",
    "CancelTimer",
    "ChildCounts",
    "ChildInfo",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ChildSpec",
    "ChildStateError",
    "Completed",
    "Crash",
    "Decision",
    "Directive",
    "Ending",
    "ErrorRecord",
    "ExitReason",
    "Exited",
    "Failed",
    "FailureHistory",
    "FailurePolicy",
    "Ignored",
    "KillActor",
    "Killed",
    "Lost",
    "MaxChildrenError",
    "NoProc",
    "Normal",
    "Outcome",
    "Report",
    "Restart",
    "RestartIntensity",
    "Shutdown",
    "ShutdownPolicy",
    "Snapshot",
    "Spec",
    "SpecError",
    "StartActor",
    "Started",
    "State",
    "StopActor",
    "Strategy",
    "StrategyError",
    "SupervisionTree",
    "SupervisorNotFoundError",
    "SupervisorSpec",
    "Terminated",
    "TreeStarted",
    "TreeStopped",
    "Verdict",
    "describe",
    "find_rule",
    "is_ordered",
    "validate",
]
