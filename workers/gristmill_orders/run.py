"""A run: from a file of invoices to a summary, with everything in between."""

from __future__ import annotations

import math
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from gristmill.config import Config, NodeConfig
from gristmill.errors import (
    ActorError,
    AskTimeoutError,
    GristmillError,
    NodeStoppedError,
    RestartIntensityError,
    UsageError,
)
from gristmill.facets import BREAKERS, BreakerMoved
from gristmill.metrics import Report
from gristmill.node.status import NodeStatus
from gristmill.reporting import MessageTrace
from gristmill_orders.app import MAX_RESTARTS, OrderService, begin_groups
from gristmill_orders.audit import AuditResult
from gristmill_orders.driver import Driver, Progress
from gristmill_orders.effects import INVENTORY
from gristmill_orders.invoices import CancelPoint, InvoiceFile, PlannedOrder
from gristmill_orders.kills import Killer
from gristmill_orders.messages import GetStockLevels
from gristmill_orders.processor import ORDERS
from gristmill_orders.records import RunFolder, RunRecord
from gristmill_orders.summary import Audit, BreakerMove, Latency, Summary, orders_of, rows_of
from gristmill_orders.world import World

DRAIN_SECONDS = 25.0
"""How long an interrupted run waits for the orders that are open."""
_STEP = 0.05
_PATIENCE = 20.0
"""Seconds of no progress after which something is waited for no longer."""

Watch = Callable[[Progress, Killer], None]
"""Called again and again during a run, to show how far it is."""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked to do.

    Raises:
        UsageError: a number is out of range.
    """

    seed: int = 0
    repeat: int = 1
    cancel_share: float = 0.0
    kill_every: float | None = None
    """Seconds between two kills of a worker; None: none is killed."""
    rate: float | None = None
    """Orders a second; None: as many as are taken in."""
    compute: bool = True
    ledger: Path | None = None
    """The folder of the externals' books, if it is not the run's own."""
    trace_window: float | None = None
    """Seconds at the end of the run whose single messages are wanted; None: they are not."""
    max_restarts: int = MAX_RESTARTS

    def __post_init__(self) -> None:
        """Check what nobody else checks."""
        if self.kill_every is not None and not self.kill_every > 0:
            raise UsageError(f"kill-every is {self.kill_every:g}; give seconds above 0")
        if self.rate is not None and not self.rate > 0:
            raise UsageError(f"rate is {self.rate:g}; give orders a second, above 0")


class RunResult(NamedTuple):
    """What a run came to."""

    summary: Summary
    audit: AuditResult
    interrupted: bool
    killed: int
    trace: MessageTrace | None = None


class RunStoppedError(GristmillError):
    """The signal that interrupted the run has also stopped its node, with orders open."""

    exit_code = 130


class _Interrupt:
    """Turns the first signal to end into a drain, and the second into KeyboardInterrupt."""

    def __init__(self) -> None:
        self.at: float | None = None
        """When the run was interrupted, monotonic seconds."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        del number, frame
        if self.at is not None:
            raise KeyboardInterrupt
        self.at = time.monotonic()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take the signals while the block runs."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup has asked to go on
            numbers.append(signal.SIGHUP)
        before = [signal.signal(number, self) for number in numbers]
        try:
            yield
        except NodeStoppedError as error:
            if self.at is None or isinstance(error, RestartIntensityError):
                raise
            raise RunStoppedError("the node was stopped, and this run with it") from error
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def run_orders(
    file: InvoiceFile,
    planned: Sequence[PlannedOrder],
    config: Config,
    settings: RunSettings,
    folder: RunFolder,
    watch: Watch,
    world: World | None = None,
) -> RunResult:
    """Run orders through a service of their own, and audit what came of it.

    Args:
        file: the input, for the counts of its rows.
        planned: what to send.
        config: the service's settings.
        settings: the run's settings.
        folder: where everything is kept.
        watch: shows how far the run is.
        world: the externals; made from the settings if None.

    Raises:
        RunStoppedError: the node was interrupted too.
        GristmillError: the node can't start, or has failed, or there are no books to audit.
        KeyboardInterrupt: interrupted twice; everything was stopped at once.
    """
    world = world or World.of(
        config, str(settings.ledger or folder.ledger), seed=settings.seed, compute=settings.compute
    )
    if world.externals.over_http and Path(world.ledger) == folder.ledger:
        raise UsageError(
            "[externals] names addresses, so the books that the audit needs are with the gateway "
            "and the carriers: give their folder with --ledger"
        )
    record = RunRecord(
        input=file.path,
        seed=world.seed,
        workers=config.section(NodeConfig).worker_count(),
        compute=world.compute,
        repeat=settings.repeat,
        cancel_share=settings.cancel_share,
        kill_every=settings.kill_every,
        short_share=world.short_share,
        ledger="" if Path(world.ledger) == folder.ledger else world.ledger,
        cancelled_midway=tuple(
            order.order_key
            for order in planned
            if order.cancel in {CancelPoint.AFTER_CREATE, CancelPoint.AFTER_PAYMENT}
        ),
    )
    interrupt = _Interrupt()
    name = secrets.token_hex(6)
    with interrupt.installed(), ExitStack() as running:
        with folder.replaced(record):
            begin_groups(config, name)
            service = running.enter_context(
                OrderService(
                    config, world, folder.journal, max_restarts=settings.max_restarts, run=name
                )
            )
        moves = service.node.subscribe(BREAKERS, BreakerMoved)
        driver = Driver(service, planned, world.seed, rate=settings.rate)
        begin = time.monotonic()
        killer = Killer(service.node, settings.kill_every, settings.seed, begin)
        _drive(driver, killer, interrupt, watch)
        seconds = time.monotonic() - begin
        window = settings.trace_window
        trace = service.node.message_trace(window) if window is not None else None
        ended = time.monotonic()
        behind = _behind(service)
        subscribers_seconds = time.monotonic() - ended if service.groups else 0.0
        levels = _stock_levels(service)
        status = service.node.status()
        granularity = service.node.granularity()
        breaker_moves = tuple(BreakerMove.of(event) for event in moves.drain())
    folder.write_events(driver.observed)
    record = msgspec.structs.replace(
        record,
        sent=driver.progress.sent,
        finished=driver.finished,
        stock_levels=levels,
        subscribers_behind=behind,
    )
    folder.write(record)
    found, digest = folder.audit()
    summary = _summary(file, driver.progress, seconds, found, digest, status, granularity)
    summary = msgspec.structs.replace(
        summary, subscribers_seconds=round(subscribers_seconds, 3), breaker_moves=breaker_moves
    )
    return RunResult(summary, found, interrupt.at is not None, killer.killed, trace)


def _drive(driver: Driver, killer: Killer, interrupt: _Interrupt, watch: Watch) -> None:
    while not driver.done:
        driver.step(_STEP)
        now = time.monotonic()
        watch(driver.progress, killer)
        if interrupt.at is None:
            killer.poll(now)
        else:
            driver.stop_sending()
            if now - interrupt.at > DRAIN_SECONDS:
                return


def _behind(service: OrderService) -> dict[str, int]:
    """Wait for the subscribers while they get on; give what each has not handled even so."""
    node, least, deadline = service.node, math.inf, math.inf
    while True:
        left = node.counters().unconfirmed if service.groups else 0  # first: then they are in lag
        behind = {group: node.channels.lag(ORDERS, group) for group in service.groups}
        left += sum(behind.values())
        if left < least:
            least, deadline = left, time.monotonic() + _PATIENCE
        if not left or time.monotonic() > deadline:
            return behind
        time.sleep(_STEP)


def _stock_levels(service: OrderService) -> dict[str, tuple[int, int, int, int]]:
    """Ask the inventory, which may be restarting from the last kill."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return service.actor(INVENTORY).ask(GetStockLevels(), timeout=5.0)
        except (ActorError, AskTimeoutError):
            if time.monotonic() > deadline:
                raise


def _summary(
    file: InvoiceFile,
    progress: Progress,
    seconds: float,
    found: AuditResult,
    digest: str,
    status: NodeStatus,
    granularity: Report,
) -> Summary:
    return Summary(
        rows=rows_of(file),
        orders=orders_of(found),
        seconds=round(seconds, 3),
        orders_per_s=round(progress.sent / seconds, 1) if seconds else 0.0,
        latency_ms=Latency.of(progress.latencies),
        worker_restarts=status.worker_restarts,
        actor_restarts=status.actor_restarts,
        audit=Audit(found.ok, found.violations),
        outcome_digest=digest,
        granularity=granularity,
    )
