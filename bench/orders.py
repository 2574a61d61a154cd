"""Orders through the whole service with its compute switched off: what coordination costs.

Two workers, journal and accounting on, the sample's orders repeated; every run is audited. The
floor does for each order as many raw pyzmq messages as the run's accounting counted, one after
another between two processes, and writes as many rows to SQLite (WAL), one commit an order. Nine
tenths of ``max_orders`` are open all the time: latency at full load is mostly waiting in line.

``--channels redis,kafka`` has every event published there too, on servers of this machine that
share its cores, with the three subscribers of the service. A run lasts until they have handled
every event: what is only put off is not done. Then half of the rate that was reached is offered,
for the latency at half load.

At last a run in the middle of which all workers are killed at once, and every service with them.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Progress
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.kills import Killer
from gristmill_orders.records import RunFolder
from gristmill_orders.run import RunSettings, Watch, run_orders
from gristmill_orders.summary import Summary
from harness import Bench, RawPair, Result, options, two_cores
from harness.servers import Overrides, servers

WORKERS = 2
RETRY_SECONDS = (0.1, 0.2, 0.4, 0.8)
"""Delays behind a failing gateway; with the usual ones, every run would end in seconds of rest."""
BODY = bytes(200)
"""As large as the service's messages are, about."""


def unwatched(*_: object) -> None:
    """Show no progress."""


class KillAll:
    """Kills all workers at once when half of the orders were sent."""

    def __init__(self) -> None:
        self.killed = 0

    def __call__(self, progress: Progress, killer: Killer) -> None:
        """Look how far the run is."""
        if not self.killed and 2 * progress.sent >= progress.planned:
            for worker in killer.node.status().workers:
                os.kill(worker.pid, signal.SIGKILL)
                self.killed += 1


def run_once(
    repeat: int, channels: Overrides, rate: float | None = None, watch: Watch = unwatched
) -> Summary:
    """Run the sample ``repeat`` times over; exit with status 1 if the audit finds anything."""
    file = read_invoices(sample_path())
    planned = plan(file, seed=0, cancel_share=0.0, repeat=repeat)
    overrides: dict[tuple[str, str], object] = {
        ("node", "workers"): str(WORKERS),
        ("node", "node_id"): f"bench-orders-{os.getpid()}",
        ("order_processor", "retry_seconds"): RETRY_SECONDS,
        **channels,
    }
    config = bootstrap().load(None, overrides=overrides)
    settings = RunSettings(repeat=repeat, compute=False, rate=rate)
    with tempfile.TemporaryDirectory(prefix="bench-orders-") as folder:
        done = run_orders(file, planned, config, settings, RunFolder(Path(folder)), watch)
    summary = done.summary
    if not summary.audit.ok:
        print("the audit found violations:", *summary.audit.violations, sep="\n  ", file=sys.stderr)
        sys.exit(1)
    if summary.orders.refused or done.interrupted:
        sys.exit(f"orders were refused or not sent: {summary.orders}")
    return summary


def commits(count: int, rows: int) -> float:
    """Give how many orders a second SQLite takes, with ``rows`` rows and one commit for each."""
    with tempfile.TemporaryDirectory(prefix="bench-orders-") as folder:
        base = sqlite3.connect(f"{folder}/floor.db", isolation_level=None)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")  # as durability="process" has it
        base.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, payload BLOB)")
        begin = time.perf_counter()
        for _ in range(count):
            base.execute("BEGIN")
            base.executemany("INSERT INTO event (payload) VALUES (?)", [(BODY,)] * rows)
            base.execute("COMMIT")
        seconds = time.perf_counter() - begin
        base.close()
    return count / seconds


def floor(raw: RawPair, hops: float) -> float:
    """Give orders a second of the floor, for orders of ``hops`` messages."""
    messages = raw.one_way(50_000)
    return 1 / (hops / messages + 1 / commits(1000, round(hops)))


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = options(__doc__ or "")
    parser.add_argument("--channels", default="", help="redis, kafka or both, with a comma between")
    chosen = parser.parse_args()
    names = [name.strip() for name in chosen.channels.split(",") if name.strip()]
    if wrong := set(names) - {"redis", "kafka"}:
        parser.error(f"--channels: {', '.join(sorted(wrong))} is none of redis, kafka")
    # An order whose payment fails again and again ends half a second after all others: a run has
    # to be far longer than that to say how many there are in a second.
    rounds, repeat = (2, 12) if chosen.quick else (5, 20 if names else 160)
    driver_core, echo_core = two_cores()
    runs, halves, floors, hops = [], [], [], []
    with servers(names) as channels, RawPair(driver_core, echo_core, BODY) as raw:
        run_once(repeat, channels)  # a server's first seconds are not its speed
        for _ in range(rounds):
            summary = run_once(repeat, channels)
            hops.append(summary.granularity.totals.messages / summary.orders.sent)
            runs.append(summary)
            floors.append(floor(raw, hops[-1]))
            halves.append(run_once(repeat, channels, _rate(summary) / 2))
        killing = KillAll()
        killed = run_once(repeat, channels, watch=killing)
    on = "".join(f"_{name}" for name in names)
    rates = [_rate(run) for run in runs]
    bench = Bench.of(
        f"orders{on}",
        [
            Result.of(f"orders_per_s{on}", "1/s", rates, floors),
            *(_latency(runs, name, f"latency_{name}{on}") for name in ("p50", "p95", "p99")),
            *(_latency(halves, name, f"half_load_{name}{on}") for name in ("p50", "p95")),
        ],
    )
    survived = (
        f"all {killing.killed} workers killed at once in mid-run, with every service: "
        f"{killed.worker_restarts} restarts, {killed.orders.sent:,} orders ended, audit ok"
    )
    bench.show(
        [
            f"{rounds} runs of {runs[0].orders.sent:,} orders, {WORKERS} workers, compute off",
            f"channels: {', '.join(('memory', *names))}",
            f"gateways fail as always, but are tried again after {RETRY_SECONDS[0]:g} s",
            f"journal and accounting on; {median(hops):.1f} messages an order; every audit ok",
            "floor: as many raw messages, and one SQLite commit of as many rows, for each order",
            survived,
            "half load: orders come at half of the rate, and are timed from when they are due",
        ]
    )
    if chosen.json:
        bench.write(chosen.json)


def _rate(run: Summary) -> float:
    """Give orders a second, the subscribers' part included."""
    return run.orders.sent / (run.seconds + run.subscribers_seconds)


def _latency(runs: list[Summary], percentile: str, name: str) -> Result:
    return Result.of(name, "ms", [getattr(run.latency_ms, percentile) for run in runs])


if __name__ == "__main__":
    main()
