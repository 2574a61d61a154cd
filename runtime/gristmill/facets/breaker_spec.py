"""What a circuit breaker goes by: limits and thresholds, as data that is checked when made."""

from __future__ import annotations

import math

import msgspec

from gristmill.errors import ErrorData, UsageError


class CircuitBreakerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a circuit breaker. Times are in seconds, rates between 0 and 1.

    Raises:
        UsageError: a value is out of its range, or two contradict each other.
    """

    failure_rate: float = 0.5
    """The breaker opens when this share of the calls in the window failed, or more."""
    window_calls: int = 100
    """Only this many last calls count ..."""
    window_seconds: float = 60.0
    """... and only those not older than this. ``math.inf``: age does not matter."""
    minimum_calls: int = 10
    """With fewer calls in the window, no rate is judged."""
    consecutive_failures: int | None = None
    """If set, a closed breaker opens at this many failures in a row, and not by their rate."""
    slow_call_seconds: float = 10.0
    """A call that takes longer is slow: a failure, unless ``slow_rate`` is set."""
    slow_rate: float | None = None
    """If set, slow calls are no failures; the breaker opens when this share is slow, or more."""
    open_seconds: float = 30.0
    """How long an open breaker waits before it lets probes through."""
    backoff_factor: float = 1.0
    """Each opening since the breaker was last closed waits this many times longer."""
    open_seconds_max: float | None = None
    """The longest wait that ``backoff_factor`` leads to."""
    half_open_probes: int = 5
    """How many calls a half-open breaker lets through."""
    half_open_successes: int | None = 3
    """So many good probes close the breaker; it opens again as soon as they can't be had any more.
    None: all probes are awaited, then judged by ``failure_rate`` and ``slow_rate``."""
    half_open_max_seconds: float = 30.0
    """A probe that has not returned after this long opens the breaker again."""
    record_errors: tuple[str, ...] = ()
    """If not empty, only these error types are failures; others count as success. Qualified names
    (``ValueError``, ``httpx.ConnectError``); a base class stands for its subclasses."""
    ignore_errors: tuple[str, ...] = ()
    """These error types are neither failure nor success."""

    def __post_init__(self) -> None:
        self._check_rates()
        self._check_counts()
        self._check_seconds()
        self._check_errors()

    def records(self, error: BaseException | ErrorData) -> bool:
        """Tell whether ``error`` counts as a failure (and not as a success)."""
        return not self.record_errors or _is_any_of(error, self.record_errors)

    def ignores(self, error: BaseException | ErrorData) -> bool:
        """Tell whether ``error`` counts for nothing at all."""
        return _is_any_of(error, self.ignore_errors)

    def _check_rates(self) -> None:
        for field in ("failure_rate", "slow_rate"):
            value = getattr(self, field)
            if value is not None:
                _require(0 < value <= 1, field, value, "above 0 and at most 1")

    def _check_counts(self) -> None:
        for field in (
            "window_calls",
            "minimum_calls",
            "consecutive_failures",
            "half_open_probes",
            "half_open_successes",
        ):
            value = getattr(self, field)
            if value is not None:
                _require(type(value) is int and value >= 1, field, value, "a whole number >= 1")
        _require(
            self.minimum_calls <= self.window_calls,
            "minimum_calls",
            self.minimum_calls,
            f"at most window_calls ({self.window_calls}), or the breaker would never open",
        )
        _require(
            (self.half_open_successes or 1) <= self.half_open_probes,
            "half_open_successes",
            self.half_open_successes,
            f"at most half_open_probes ({self.half_open_probes}), or the breaker would never close",
        )

    def _check_seconds(self) -> None:
        _require(self.window_seconds > 0, "window_seconds", self.window_seconds, "above 0")
        for field in ("slow_call_seconds", "open_seconds", "half_open_max_seconds"):
            value = getattr(self, field)
            _require(0 < value < math.inf, field, value, "above 0 and finite")
        factor, longest = self.backoff_factor, self.open_seconds_max
        _require(1 <= factor < math.inf, "backoff_factor", factor, "at least 1 and finite")
        if longest is None:
            _require(factor == 1, "open_seconds_max", longest, "set when backoff_factor is above 1")
        else:
            _require(factor > 1, "open_seconds_max", longest, "unset when backoff_factor is 1")
            _require(
                self.open_seconds <= longest < math.inf,
                "open_seconds_max",
                longest,
                f"at least open_seconds ({self.open_seconds:g}) and finite",
            )

    def _check_errors(self) -> None:
        for field in ("record_errors", "ignore_errors"):
            names = getattr(self, field)
            _require(isinstance(names, tuple) and all(names), field, names, "a tuple of type names")
        both = sorted(set(self.record_errors) & set(self.ignore_errors))
        _require(not both, "ignore_errors", both, "disjoint from record_errors")


def _require(holds: bool, field: str, value: object, wanted: str) -> None:
    if not holds:
        raise UsageError(f"circuit breaker: {field} is {value!r}, but must be {wanted}")


def _is_any_of(error: BaseException | ErrorData, names: tuple[str, ...]) -> bool:
    if isinstance(error, ErrorData):
        return error.type in names
    return any(type_name(kind) in names for kind in type(error).__mro__)


def type_name(kind: type) -> str:
    """Give the name by which a spec and :class:`ErrorData` know an error type."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
