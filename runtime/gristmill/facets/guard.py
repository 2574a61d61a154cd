"""A circuit breaker around ordinary calls, for any number of threads and tasks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from gristmill.facets.breaker import CircuitBreaker
from gristmill.facets.breaker_state import Permit, Transition

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Guard:
    """Makes calls through a circuit breaker; results and exceptions pass through unchanged.

    A cancelled call is neither a success nor a failure. So put a time limit inside the guarded
    call, where it raises ``TimeoutError``, and not around it.

    Args:
        breaker: decides about the calls. Use it through :meth:`operate` only from then on.
        clock: tells the time in seconds; it must not run backwards.
        is_failure: tells for a result whether it counts as a failure. It is returned all the same.
        listener: gets every transition once, in order, under the guard's lock: it must be short.
            What it raises is logged and goes no further.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_failure: Callable[[Any], bool] | None = None,
        listener: Callable[[Transition], None] | None = None,
    ) -> None:
        self._breaker = breaker
        self._clock = clock
        self._is_failure = is_failure
        self._listener = listener
        self._lock = threading.RLock()

    def operate(self, operation: Callable[[CircuitBreaker, float], T]) -> T:
        """Do something to the breaker under the lock: ``guard.operate(CircuitBreaker.reset)``.

        Gives and raises what ``operation(breaker, now)`` does.
        """
        with self._lock:
            try:
                return operation(self._breaker, self._clock())
            finally:
                self._notify()

    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn``.

        Raises:
            CircuitOpenError: the breaker does not let the call through; ``fn`` was not called.
        """
        permit = self.operate(CircuitBreaker.acquire)
        try:
            result = fn(*args, **kwargs)
            failed = self._counts_as_failure(result)
        except BaseException as error:
            self._raised(permit, error)
            raise
        self._returned(permit, failed=failed)
        return result

    async def call_async(
        self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``fn`` and await what it gives; else as :meth:`call`."""
        permit = self.operate(CircuitBreaker.acquire)
        try:
            result = await fn(*args, **kwargs)
            failed = self._counts_as_failure(result)
        except BaseException as error:
            self._raised(permit, error)
            raise
        self._returned(permit, failed=failed)
        return result

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Guard a block: ``with guard(): ...``; it raises CircuitOpenError instead of entering."""
        permit = self.operate(CircuitBreaker.acquire)
        try:
            yield
        except BaseException as error:
            self._raised(permit, error)
            raise
        self._returned(permit, failed=False)

    def _counts_as_failure(self, result: object) -> bool:
        return self._is_failure is not None and self._is_failure(result)

    def _returned(self, permit: Permit, *, failed: bool) -> None:
        with self._lock:
            self._breaker.success(permit, self._clock(), result_is_failure=failed)
            self._notify()

    def _raised(self, permit: Permit, error: BaseException) -> None:
        with self._lock:
            if isinstance(error, Exception):
                self._breaker.failure(permit, error, self._clock())
            else:  # a cancellation or an interrupt says nothing about the callee
                self._breaker.release(permit, self._clock())
            self._notify()

    def _notify(self) -> None:
        for transition in self._breaker.take_transitions():
            if self._listener is None:
                continue
            try:
                self._listener(transition)
            except Exception:
                _log.exception("the listener of circuit %r raised", transition.name)
