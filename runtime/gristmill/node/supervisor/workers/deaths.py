"""Why a worker has died: what its exit status, its traces and the kernel say of it."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from gristmill.death import Death, Fate, Retried, Suspect
from gristmill.node.supervisor.roster import ActorRecord, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.workers.slots import Slot
from gristmill.supervision import (
    Action,
    Crash,
    ErrorRecord,
    Exited,
    ExitReason,
    Killed,
    Normal,
    Report,
    Shutdown,
    describe,
    is_ordered,
)
from gristmill.worker.handover.leaving import TERMINATED

_TOLD = 5
"""Decisions of one moment that are told one by one."""
_SUSPECTS = 100
"""Messages that are remembered of an actor whose workers have died with them."""


class Deaths:
    """Finds out how workers have died, on behalf of the supervisor process's core."""

    def __init__(self, shell: SupervisorShell, roster: Roster) -> None:
        self._shell = shell
        self._roster = roster

    def examine(self, slot: Slot, pid: int, status: int) -> tuple[ExitReason, Death]:
        """Find out how the worker in a slot has died, while its files are still there.

        Args:
            slot: where it stood.
            pid: its process.
            status: its exit code, or minus the signal that ended it.
        """
        unexplained = status == -signal.SIGKILL and not slot.verdict
        out_of_memory = self._shell.out_of_memory() if unexplained else "no"
        detail = "out of memory" if out_of_memory == "yes" else slot.verdict
        reason = reason_of(status, detail)
        sight, frames = self._shell.look(slot)
        actor, seconds, message, retried = "", 0.0, "", None
        if sight is not None and sight.message:
            since = sight.since_ns if sight.actor else sight.waiting_ns
            key = sight.actor or next(iter(slot.keys), 0)  # who awaits has the worker to itself
            actor, message = self._roster.label(key), sight.message
            seconds = max(0.0, (self._shell.now_ns() - since) / 1e9)
            record = self._roster.actors.get(sight.actor)
            if record is not None and not (is_ordered(reason) or slot.collateral):
                retried = sight.retried
                _suspect(record, retried, describe(reason))
        death = Death(
            worker=slot.name,
            incarnation=slot.incarnation,
            pid=pid,
            cause=describe(reason),
            exit_code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            out_of_memory=out_of_memory,
            actor=actor,
            message=message,
            seconds=seconds,
            output=sight.lines if sight is not None else (),
            stack=frames,
            retried=retried,
        )
        slot.verdict = ""
        slot.last_exit = death.cause
        return reason, death

    def lines(self, reports: Iterable[Report]) -> list[str]:
        """Put what supervisors have decided into lines for people, the first few of many."""
        records = [report.record for report in reports]
        lines = [f"{record} [{self._whose(record)}]" for record in records[:_TOLD]]
        if len(records) > _TOLD:
            lines.append(f"and {len(records) - _TOLD:,} more, of the same cause")
        return lines

    def _whose(self, record: ErrorRecord) -> str:
        actor = self._roster.actors.get(record.key)
        slot = self._roster.slots.get(actor.home) if actor is not None else None
        incarnation = f"incarnation {record.incarnation}"
        if slot is None or not isinstance(record.reason, Crash):
            return incarnation  # how its worker died has just been told
        return f"{incarnation}, worker {slot.name}, pid {slot.pid}"


def _suspect(record: ActorRecord, message: Retried | None, cause: str) -> None:
    """Note that an actor's worker has died with an at-least-once message in hand."""
    if message is None or message.asked:  # who asked counts for itself
        return
    which = (message.source, message.number)
    known = {(one.source, one.number): one for one in record.suspects}
    times = known[which].times + 1 if which in known else 1
    known.pop(which, None)
    known[which] = Suspect(*which, times, cause)
    record.suspects = tuple(known.values())[-_SUSPECTS:]


def with_fates(death: Death, exited: Iterable[tuple[int, int]], decided: Iterable[Action]) -> Death:
    """Add what the tree has decided for the actors of a dead worker.

    Args:
        death: its death.
        exited: the incarnations that ended, as (key, incarnation).
        decided: what the tree wants done.
    """
    ended = dict(exited)
    alike: defaultdict[tuple[str, int, int, float], dict[int, int]] = defaultdict(dict)
    for action in decided:
        if isinstance(action, Report) and action.record.key in ended:
            record = action.record
            limits = (record.restarts, record.max_restarts, record.within)
            alike[(_decision(record), *limits)][record.key] = record.incarnation
    fates = tuple(Fate(actors, *decision) for decision, actors in alike.items())
    return msgspec.structs.replace(death, fates=fates)


def _decision(record: ErrorRecord) -> str:
    return f"{record.decision} in {record.delay:.3g} s" if record.delay else str(record.decision)


def reason_of(status: int, detail: str = "") -> ExitReason:
    """Say why a worker has ended, from its exit status."""
    if status < 0:
        return Killed(-status, detail)
    if status == TERMINATED:
        return Shutdown("its worker was terminated")
    return Exited(status) if status else Normal()
