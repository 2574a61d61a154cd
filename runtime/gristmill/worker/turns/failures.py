"""What becomes of a message that can't be handled: an error for its asker, a dead letter."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gristmill.behaviours.context import Postponed
from gristmill.death import POISON_LIMIT, CrashSite, Suspect
from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    DecodeError,
    ErrorData,
    GristmillError,
    Nack,
    QuarantinedError,
    Reject,
    UnknownMessageError,
    UsageError,
)
from gristmill.messages import Message, tag_of
from gristmill.metrics import TimeClass
from gristmill.supervision import (
    Crash,
    Directive,
    ExitReason,
    FailureHistory,
    FailurePolicy,
    Verdict,
    describe,
    find_rule,
)
from gristmill.transport.arrays import ArrayGoneError
from gristmill.transport.codec import for_dead_letter, message_tag
from gristmill.transport.control import DeadLetter
from gristmill.transport.envelope import ASK, EVENT, TELL, error_reply
from gristmill.worker.actors.cell import RECORD, REMINDER, Cell, Entry, State
from gristmill.worker.telemetry import counters
from gristmill.worker.turns.dead_letter_log import DeadLetterLog

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_DISPATCH = int(TimeClass.DISPATCH)

EXITS: Final = (SystemExit, KeyboardInterrupt)
"""What a handler may raise to end its process; whatever else it raises is a crash of its actor."""

_log = logging.getLogger("gristmill.worker")


class Failures:
    """Answers for what goes wrong with messages, on behalf of a worker's core."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._letters = DeadLetterLog(_log, core.shell.now)
        self._undone: set[tuple[str, str]] = set()
        """The kinds of actor and message of which it was said that they persist and refuse."""

    def failed(self, cell: Cell, entry: Entry, message: Message, error: BaseException) -> None:
        """A handler has raised: a refusal is an answer, anything else ends the incarnation.

        Unless its class says otherwise, see ``Actor.on_failure``.
        """
        core = self._core
        core.meter.switch(_DISPATCH)
        persisted = core.effects.has_persisted(cell)
        cell.effects = []
        cell.current = None
        cell.deferred.pop((entry.source, entry.number), None)
        if core.cancelling.settles(cell, entry, error) or self._refused(cell, entry, error):
            if persisted:
                self.undo(cell, type(message).__qualname__, error)
            return
        if persisted and isinstance(error, Postponed):
            error = UsageError(
                f"{cell.label} has persisted an event and then postponed the message, so its "
                "state has an event that the journal does not have; postpone before you persist"
            )
        if isinstance(error, Postponed):
            cell.own("postponed").append(msgspec.structs.replace(entry, holds_place=False))
            if error.retry and cell.context is not None:
                cell.context.retry_postponed()
            return
        self.crashed(cell, [entry], type(message).__qualname__, error, persisted=persisted)

    def crashed(
        self,
        cell: Cell,
        entries: list[Entry],
        name: str,
        error: BaseException,
        *,
        persisted: bool,
    ) -> None:
        """A handler has failed: each message in hand is answered for, or comes again.

        Args:
            cell: the actor.
            entries: what was in hand.
            name: the messages' type.
            error: what the handler raised.
            persisted: the handler had changed the actor's state by events, which are lost.
        """
        core = self._core
        verdict = self._judge(cell, error, persisted=persisted)
        resumes = verdict is not None and verdict.directive is Directive.RESUME
        data = ErrorData.of(error)
        how = "failed" if resumes else "crashed"
        text = f"{cell.label} {how} while handling {name}: {data}"
        shell = core.shell
        site = CrashSite(cell.label, cell.incarnation, shell.name, shell.pid, name)
        crash = ActorCrashed(text, data, site)
        level = logging.WARNING if resumes else logging.ERROR
        _log.log(level, "%s", crash, extra={"actor": cell.label})
        for entry in reversed(entries):  # what comes again is put in front
            if entry.kind == ASK:
                self.answer(entry, crash)
            if entry.kind == RECORD:
                core.records.failed(entry, error, str(data))
            elif not self._redeliver(cell, entry, data):
                self.dead_letter(cell, name, entry.body, f"crash: {data}", data, told=True)
                if entry.kind == TELL:
                    core.effects.release(cell, entry)
        if not resumes:
            core.lifecycle.end(cell, Crash(data), verdict)

    def _refused(self, cell: Cell, entry: Entry, error: BaseException) -> bool:
        """Answer for a handler that has refused its message; tell whether it has."""
        if isinstance(error, Nack) and entry.kind == RECORD:
            self._core.records.failed(entry, error, str(error))
            return True
        if not isinstance(error, Reject):
            return False
        self._core.counters[counters.REJECTED] += 1
        if entry.kind == ASK:
            self.answer(entry, error)
        self._core.effects.release(cell, entry)
        return True

    def undo(self, cell: Cell, name: str, error: BaseException) -> None:
        """Have an actor start again from its journal: it has applied events that never were."""
        kind = (cell.type_name, name)
        if kind not in self._undone:
            self._undone.add(kind)
            _log.warning(
                "%s has persisted an event and then ended %s by %r: it starts again from its "
                "journal, which does not have the event; refuse before you persist",
                *(cell.label, kind[1], error),
                extra={"actor": cell.label},
            )
        if cell.stop_reason is not None:  # it ends anyway
            self._core.lifecycle.end(cell, cell.stop_reason)
        else:
            reason = Crash(ErrorData.of(error))
            self._core.lifecycle.end(cell, reason, Verdict(Directive.REPLAY))

    def interrupted(self, cell: Cell, entry: Entry, reason: ExitReason) -> None:
        """An incarnation ends while its handler awaits: the message in hand is not handled."""
        cell.effects = []
        text = f"its actor ended while it was handled: {describe(reason)}"
        if entry.kind < 0:
            self._core.counters[counters.ENDED] += 1
        elif not self._redeliver(cell, entry, ErrorData.of(ActorDied(text))):
            self.dead_letter(cell, "", entry.body, text, told=entry.kind == ASK)
            self._core.effects.release(cell, entry)

    def started(self, cell: Cell) -> None:
        """An incarnation runs."""
        if cell.actor is not None and type(cell.actor).on_failure:
            _history(cell).started(self._core.shell.now())

    def _judge(self, cell: Cell, error: BaseException, *, persisted: bool) -> Verdict | None:
        """Give what an actor's class makes of its exception; None: its supervisor decides."""
        rule = find_rule(type(cell.actor).on_failure, error) if cell.actor is not None else None
        if rule is None:
            return None
        directive = rule.policy.directive
        if cell.stop_reason is not None:  # it ends anyway, perhaps behind what waits
            drains = directive is Directive.RESUME and cell.state is State.STOPPING
            return Verdict(directive) if drains and not persisted else None
        if directive is Directive.RESUME and persisted:
            return Verdict(Directive.REPLAY)  # its state has changed by events that never were
        shell, history = self._core.shell, _history(cell)
        return history.decide(rule, shell.now(), shell.random.random())

    def judge_start(
        self, cell: Cell, policies: Mapping[type[Exception], FailurePolicy], error: BaseException
    ) -> Verdict | None:
        """Give what an actor's class makes of a restart that has failed."""
        rule = find_rule(policies, error)
        if rule is None or cell.incarnation == 1:
            return None
        shell, history = self._core.shell, _history(cell)
        return history.decide(rule, shell.now(), shell.random.random(), starting=True)

    def _redeliver(self, cell: Cell, entry: Entry, error: ErrorData) -> bool:
        """Put an at-least-once message back in front, unless it has ended its actor too often."""
        if entry.kind == REMINDER:
            return self._core.reminding.is_tried_again(cell, entry)
        if entry.kind != TELL or not entry.number:
            return False
        attempt = (entry.source, entry.number)
        known = cell.attempts.pop(attempt, None)
        times = known.times + 1 if known is not None else 1
        if times >= POISON_LIMIT:
            return False
        cell.own("attempts")[attempt] = Suspect(*attempt, times, f"crash: {error}")
        cell.own("queue").appendleft(entry)
        return True

    def quarantines(self, cell: Cell, entry: Entry) -> bool:
        """Make an at-least-once message that keeps ending its worker a dead letter, unhandled."""
        suspect = cell.attempts.get((entry.source, entry.number))
        if suspect is None or suspect.times < POISON_LIMIT:
            return False
        name = message_tag(entry.body)
        sender = self._core.directory.process_name(entry.source)
        text = (
            f"{name} number {entry.number} from {sender} to {cell.label} is quarantined: its "
            f"worker has died {suspect.times} times with it in hand, the last time "
            f"{suspect.cause}; it is not tried again"
        )
        _log.error("%s", text, extra={"actor": cell.label})
        error = ErrorData.of(QuarantinedError(text))
        self.dead_letter(cell, name, entry.body, text, error, told=True)
        self._core.effects.release(cell, entry)
        self._core.delivery.acknowledge(cell)
        self._core.shell.flush()  # what comes next may end this worker too
        return True

    def undecodable(self, cell: Cell, entry: Entry, error: Exception) -> None:
        """A body is malformed, or of a type that the actor has no handler for."""
        name = message_tag(entry.body)
        kind = next((each for each in cell.handlers if tag_of(each) == name), None)
        if isinstance(error, ArrayGoneError):
            self.refuse(cell, entry, error)
        elif kind is not None and kind.__internal__:
            text = f"{cell.label}: {name} is internal, only the actor itself can send it"
            self.refuse(cell, entry, UnknownMessageError(text))
        elif kind is not None:
            self.refuse(cell, entry, DecodeError(f"{cell.label}: a {name} is malformed: {error}"))
        elif entry.kind == EVENT:  # a subscriber takes the events that it has handlers for
            self._core.counters[counters.UNWANTED] += 1
        else:
            self.unknown(cell, entry, name)

    def unknown(self, cell: Cell, entry: Entry, name: str) -> None:
        """Refuse a message that its actor has no handler for."""
        known = ", ".join(sorted(message.__qualname__ for message in cell.handlers)) or "nothing"
        error = UnknownMessageError(
            f"{cell.label} has no handler for {name}; it handles {known}. Add one with @handles, "
            "or send it to another actor"
        )
        self.refuse(cell, entry, error)

    def refuse(self, cell: Cell | None, entry: Entry, error: GristmillError, key: int = 0) -> None:
        """Make a message that can't be handled a dead letter, and tell its asker.

        ``key``: of the actor that it is for, if that is no more. If that was a member of an elastic
        pool, what must be handled is no dead letter: its sender sends it to another one.
        """
        numbered = entry.kind == TELL and entry.number
        if numbered and self._core.keyed.pools.passes_on(key or (cell.key if cell else 0)):
            self._core.counters[counters.DUPLICATE] += 1
            return
        sent = entry.message
        name = message_tag(entry.body) if sent is None else tag_of(type(sent))
        asked = entry.kind == ASK
        if asked:
            self.answer(entry, error)
        self.dead_letter(cell, name, entry.body, str(error), told=asked, key=key)
        if entry.kind == RECORD:
            self._core.records.refuse(entry, str(error))
        if cell is not None and numbered:
            self._core.effects.release(cell, entry)

    def answer(self, entry: Entry, error: GristmillError) -> None:
        """Answer an ask with an error."""
        body = msgspec.msgpack.encode(error_reply(error))
        self._core.replying.reply_error(entry.source, entry.number, body)

    def malformed(self, cell: Cell | None, error: Exception, *, is_message: bool = True) -> None:
        """A field of an envelope has a wrong type: record it."""
        self._core.meter.switch(_DISPATCH)
        bury = self.dead_letter if is_message else self.bury
        bury(cell, "", b"", f"malformed envelope: {error!r}")

    def dead_letter(
        self,
        cell: Cell | None,
        message_type: str,
        body: bytes,
        reason: str,
        error: ErrorData | None = None,
        *,
        told: bool = False,
        key: int = 0,
    ) -> None:
        """Record a message that nobody handled, and log it unless somebody was ``told``."""
        self._core.counters[counters.DEAD_LETTERED] += 1
        self.bury(cell, message_type, body, reason, error, told=told, key=key)

    def bury(
        self,
        cell: Cell | None,
        message_type: str,
        body: bytes,
        reason: str,
        error: ErrorData | None = None,
        *,
        told: bool = False,
        key: int = 0,
    ) -> None:
        """Do so for what may have been no message."""
        core = self._core
        kept, reason = for_dead_letter(body, reason)
        letter = DeadLetter(
            reason=reason,
            target=cell.label if cell is not None else "",
            message_type=message_type or message_tag(body),
            body=kept,
            worker=core.shell.name,
            error=error,
            key=cell.key if cell is not None else key,
        )
        core.shell.control(letter)
        if not told:
            self._letters.tell(letter.message_type, reason, letter.target)


def _history(cell: Cell) -> FailureHistory:
    """Give the failures of an actor up to now, of which most have none."""
    found: FailureHistory = cell.own("failures")
    return found
