"""What a run came to: the JSON of ``--json``, and the summary for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from gristmill.facets import BreakerMoved
from gristmill.metrics import Report
from gristmill_orders.audit import AuditResult
from gristmill_orders.invoices import InvoiceFile

_SHOWN = 10


class Rows(msgspec.Struct, frozen=True):
    """The rows of the input."""

    read: int
    mapped: int
    unmapped: int


class Orders(msgspec.Struct, frozen=True):
    """The orders, by what became of them."""

    sent: int
    accepted: int
    refused: int
    completed: int
    failed: int
    cancelled: int


class Latency(msgspec.Struct, frozen=True):
    """From sending an order to seeing its end, in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Take the percentiles of latencies in seconds; zeros if there are none."""
        ordered = sorted(seconds) or [0.0]

        def percentile(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)

        return cls(percentile(0.50), percentile(0.95), percentile(0.99))


class BreakerMove(msgspec.Struct, frozen=True):
    """A transition of a service's circuit breaker, as it was seen on the channel ``breakers``."""

    service: str
    breaker: str
    source: str
    target: str
    reason: str

    @classmethod
    def of(cls, event: BreakerMoved) -> BreakerMove:
        """Take over what an event says."""
        return cls(event.service, event.breaker, event.source, event.target, event.reason)


class Audit(msgspec.Struct, frozen=True):
    """Whether everything that must hold did."""

    ok: bool
    violations: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True):
    """A finished run, as ``--json`` writes it."""

    rows: Rows
    orders: Orders
    seconds: float
    orders_per_s: float
    latency_ms: Latency
    worker_restarts: int
    actor_restarts: int
    audit: Audit
    outcome_digest: str
    granularity: Report
    subscribers_seconds: float = 0.0
    """How much longer it took until the subscribers had handled every event."""
    breaker_moves: tuple[BreakerMove, ...] = ()
    """The transitions of all circuit breakers, in the order in which they were seen."""


def rows_of(file: InvoiceFile) -> Rows:
    """Count the rows of an input."""
    return Rows(file.rows_read, file.rows_mapped, len(file.unmapped))


def orders_of(found: AuditResult) -> Orders:
    """Count orders by the journal."""
    counts = found.counts
    return Orders(
        sent=counts["sent"],
        accepted=counts["created"],
        refused=counts["refused"],
        completed=counts["completed"],
        failed=counts["failed"],
        cancelled=counts["cancelled"],
    )


def show_summary(
    console: Console, summary: Summary, found: AuditResult, file: InvoiceFile, repeat: int
) -> None:
    """Print a run's outcome for people."""
    rows, orders, latency = summary.rows, summary.orders, summary.latency_ms
    counts = found.counts
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("rows", f"{rows.read:,} read = {rows.mapped:,} mapped + {rows.unmapped:,} not")
    rounds = f" in {repeat} rounds" if repeat > 1 else ""
    table.add_row(
        "orders",
        f"{orders.sent:,} sent{rounds}: {orders.completed:,} completed, {orders.cancelled:,} "
        f"cancelled, {orders.failed:,} failed, {orders.refused:,} refused",
    )
    table.add_row(
        "money",
        f"{_money(counts['charged_cents'])} charged in {counts['charges']:,} payments, "
        f"{_money(counts['refunded_cents'])} refunded in {counts['refunds']:,}",
    )
    table.add_row("labels", f"{counts['labels']:,}")
    behind = summary.subscribers_seconds
    rest = f", and {behind:.2f} s for the subscribers to catch up" if behind else ""
    table.add_row("time", f"{summary.seconds:.2f} s, {summary.orders_per_s:,.0f} orders/s{rest}")
    table.add_row(
        "latency",
        f"p50 {latency.p50:,.1f} ms, p95 {latency.p95:,.1f} ms, p99 {latency.p99:,.1f} ms",
    )
    table.add_row(
        "restarts",
        f"{summary.worker_restarts:,} of workers, {summary.actor_restarts:,} of actors",
    )
    for line in _breaker_lines(summary.breaker_moves):
        table.add_row("breaker", line)
    table.add_row("outcome", summary.outcome_digest)
    console.print(table)
    _show_unmapped(console, file)
    show_audit(console, summary.audit)


def _breaker_lines(moves: Sequence[BreakerMove]) -> Iterator[str]:
    """Say how often each breaker has opened, and where it stands."""
    last = {(move.service, move.breaker): move.target for move in moves}
    for (service, breaker), state in last.items():
        opened = sum((m.service, m.breaker, m.target) == (service, breaker, "open") for m in moves)
        yield f"{service} / {breaker}: opened {opened} times, now {state.replace('_', '-')}"


def _show_unmapped(console: Console, file: InvoiceFile) -> None:
    if not file.unmapped:
        return
    console.print(f"\n{len(file.unmapped):,} rows map to nothing; the first of them:", style="dim")
    for row in file.unmapped[:3]:
        console.print(f"  line {row.line}: {row.reason}", style="dim", markup=False, soft_wrap=True)


def show_audit(console: Console, audit: Audit) -> None:
    """Print the verdict of an audit."""
    if audit.ok:
        console.print("\naudit: ok", style="bold green")
        return
    console.print(f"\naudit: {len(audit.violations):,} violations", style="bold red")
    for violation in audit.violations[:_SHOWN]:
        console.print(f"  {violation}", markup=False, soft_wrap=True)
    if len(audit.violations) > _SHOWN:
        console.print(f"  and {len(audit.violations) - _SHOWN:,} more")


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"
