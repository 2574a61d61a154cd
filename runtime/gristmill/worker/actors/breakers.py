"""``SharedBreakers``: the circuit breakers of a worker's named actors.

A breaker belongs to a service: to a named actor, over all its incarnations, or to a pool or group,
for all its members. One worker has one guard for each; the supervisor process keeps those of
different workers together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gristmill.channels.contract import ChannelFullError
from gristmill.facets import CircuitBreaker, CircuitState, Guard
from gristmill.facets.breaker_events import BREAKERS, BreakerMoved
from gristmill.facets.breaker_state import SharedState, Transition
from gristmill.facets.specs import Breaker
from gristmill.transport import control as c

if TYPE_CHECKING:
    from gristmill.worker.core import WorkerCore

_Key = tuple[str, str]
_log = logging.getLogger("gristmill.worker")


class SharedBreakers:
    """Guards by service and breaker, and what the supervisor process has said about them."""

    def __init__(self, core: WorkerCore) -> None:
        self._core = core
        self._guards: dict[_Key, Guard] = {}
        self._news: dict[_Key, SharedState] = {}
        self._unheard: dict[_Key, int] = {}
        """Own reports that the supervisor process has not yet put into its order."""

    def guard(self, service: str, facet: Breaker) -> Guard:
        """Give the guard that a service shares on this worker."""
        key = (service, facet.name)
        guard = self._guards.get(key)
        if guard is not None and guard.operate(lambda breaker, _: breaker.spec) == facet.spec:
            return guard
        breaker = CircuitBreaker(facet.name, facet.spec)
        now = self._core.shell.now()
        if guard is not None:  # the code has changed, and the limits with it
            snapshot = guard.operate(CircuitBreaker.snapshot)
            breaker = CircuitBreaker.restore(snapshot, facet.spec, now)
        elif (news := self._news.get(key)) is not None:
            breaker.adopt(news)
        made = Guard(breaker, self._core.shell.now, listener=self._listener(service, breaker))
        self._guards[key] = made
        return made

    def _listener(self, service: str, breaker: CircuitBreaker) -> Callable[[Transition], None]:
        control, unheard = self._core.shell.control, self._unheard

        def listener(transition: Transition) -> None:
            key = (service, breaker.name)
            unheard[key] = unheard.get(key, 0) + 1
            control(c.BreakerReport(breaker.shared(service, transition)))

        return listener

    def on_news(self, news: c.BreakerNews) -> None:
        """Follow what the supervisor process says; publish what has begun here."""
        state = news.now
        key = (state.service, state.breaker)
        self._news[key] = state
        shell = self._core.shell
        if (news.address, news.incarnation) == (shell.address, shell.incarnation):
            self._unheard[key] = max(0, self._unheard.get(key, 0) - 1)
            if news.source is not None:
                self._publish(state, news.source)
        guard = self._guards.get(key)
        if guard is not None and not self._unheard.get(key):
            guard.operate(lambda breaker, _: breaker.adopt(state))

    def _publish(self, state: SharedState, source: CircuitState) -> None:
        event = BreakerMoved(
            state.service,
            state.breaker,
            source.value,
            state.state.value,
            state.reason,
            self._core.shell.name,
        )
        sending = self._core.sending
        origin, sending.origin = sending.origin, None  # it is the worker that publishes
        try:
            self._core.channels.publish(BREAKERS, event, f"{state.service}/{state.breaker}")
        except ChannelFullError as error:
            _log.warning("%s is not published: %s", event, error)
        finally:
            sending.origin = origin
        self._core.shell.request_turn()

    def forget(self, service: str) -> None:
        """An actor has stopped for good."""
        for known in (self._guards, self._news, self._unheard):
            for key in [key for key in known if key[0] == service]:
                del known[key]


def service_of(name: str, path: str, key: str) -> str:
    """Say to which service an actor belongs; empty for one without a name.

    Args:
        name: the actor's.
        path: where it stands in the supervision tree.
        key: its key, if it is a keyed one.
    """
    if key:
        return name.removesuffix(f"/{key}")
    above = path.rpartition("/")[0].rpartition("/")[2]
    member = name.removeprefix(f"{above}-")
    return above if member != name and member.isdecimal() else name
