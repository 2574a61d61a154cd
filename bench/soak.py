"""One hour of orders compressed into a few minutes: the order service, and all goes wrong at once.

First orders flow through the whole service while workers are killed and stopped, actors and
services end at once, mailboxes overflow, the gateway has outages and the code is reloaded, all by a
seeded plan. Then the orders come to their ends, and the audit must be ok. Then queries go on under
the same faults, which leave no state behind: memory, descriptors, threads and shared memory must
stay flat. At last every message of the whole run must be accounted for: sent = handled + rejected +
dead-lettered + dropped + in doubt. The exit status is 1 if something was wrong.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

import msgspec

from gristmill.config import NodeConfig
from gristmill.errors import ActorError, AskTimeoutError, MailboxFullError
from gristmill.facets import CircuitBreakerSpec
from gristmill.node.rundir import find_node
from gristmill.node.status import NodeStatus
from gristmill.transport.segment_directory import segment_directory
from gristmill_orders import events as ev
from gristmill_orders.app import OrderService
from gristmill_orders.audit import AuditResult
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import Driver
from gristmill_orders.effects import INVENTORY, PAYMENT, SHIPPING
from gristmill_orders.externals.faults import FaultPlan, Outage
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.invoices import CancelPoint, plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.messages import GetOrder, GetStockLevels
from gristmill_orders.records import RunFolder, RunRecord
from gristmill_orders.world import World
from harness import Bench, Result, options
from harness.flatness import Rise, Sample, Sampler, rises
from harness.sabotage import Fault, Saboteur, plan_faults, victims

T = TypeVar("T")

WORKERS = 2
EVERY = 0.6
"""Seconds between two faults, on average."""
ORDERS = 2 / 3
"""The share of the time in which orders are sent; in the rest queries are."""
MAX_RESTARTS = 200
"""Restarts that each supervisor of the service allows in 5 s: the plan is harder than any day."""
DRAIN = 120.0
"""Seconds in which the orders that are open must come to their ends."""
RETRY_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
WINDOW = 200
SETTLES = 10.0
CALM = 2_000
"""Queries, twice as many, that fresh workers answer before what they take is looked at."""
MIB = 1024.0
"""In KiB."""


class Outcome(NamedTuple):
    """What a soak came to."""

    sent: int
    order_seconds: float
    queries: int
    refused: int
    status: NodeStatus
    saboteurs: tuple[Saboteur, Saboteur]
    orders: list[Sample]
    steady: list[Sample]
    workers: tuple[dict[str, float], dict[str, float]]
    """What fresh workers take, before and after the steady part."""
    audit: AuditResult
    wrong: list[str]


def outages(seconds: float) -> tuple[Outage, ...]:
    """Have nobody answer for a twentieth of the time, in the middle of each quarter of it."""
    now = time.monotonic()
    quarter = seconds / 4
    return tuple(Outage(now + (n + 0.5) * quarter, now + (n + 0.7) * quarter) for n in range(4))


def soak(seed: int, seconds: float, folder: RunFolder) -> Outcome:
    """Run everything."""
    ordering = seconds * ORDERS
    gone = outages(ordering)
    world = World(
        str(folder.ledger),
        seed=seed,
        gateway=GatewayPlan(outages=gone, lost_reply_share=0.01),
        carriers=FaultPlan(outages=gone[:1]),
        breaker=CircuitBreakerSpec(
            open_seconds=1.0,
            record_errors=("gristmill_orders.externals.faults.ExternalError", "TimeoutError"),
        ),
    )
    config = bootstrap().load(
        None,
        environ={},
        overrides={
            ("node", "workers"): WORKERS,
            ("node", "node_id"): f"soak-{os.getpid()}",
            ("order_processor", "retry_seconds"): RETRY_SECONDS,
            ("order_processor", "max_orders"): 2 * WINDOW,
        },
    )
    file = read_invoices(sample_path())
    planned = plan(file, seed=seed, cancel_share=0.1, repeat=2 + int(seconds * 3))
    midway = (CancelPoint.AFTER_CREATE, CancelPoint.AFTER_PAYMENT)
    record = RunRecord(
        input=file.path,
        seed=seed,
        workers=config.section(NodeConfig).worker_count(),
        compute=True,
        repeat=1,
        cancel_share=0.1,
        kill_every=EVERY,
        short_share=world.short_share,
        cancelled_midway=tuple(o.order_key for o in planned if o.cancel in midway),
    )
    with folder.replaced(record):
        service = OrderService(config, world, folder.journal, max_restarts=MAX_RESTARTS)
    wrong: list[str] = []
    with service:
        node = service.node
        node.start_supervisor(victims())
        actors = (*service.processors, PAYMENT, INVENTORY, SHIPPING)
        workers = [worker.name for worker in node.status().workers]
        driver = Driver(service, planned, seed)
        facts = find_node(node.node_id)
        run_dir = facts.run_dir
        arrays = segment_directory(run_dir)
        with Sampler(facts.supervisor, arrays, WORKERS, max(0.2, seconds / 400)) as ordered:
            with Saboteur(node, plan_faults(seed, EVERY), actors, workers) as first:
                order_seconds = send_orders(driver, ordering)
            if not come_to_ends(driver):
                wrong.append(f"orders are open {DRAIN:g} s after the last fault")
        fresh = take_of_fresh_workers(service, driver)
        with (
            Sampler(facts.supervisor, arrays, WORKERS, max(0.2, seconds / 400)) as steady,
            Saboteur(node, plan_faults(seed + 1, EVERY), actors, workers) as second,
        ):
            queries, refused = query(service, driver, seed, seconds - ordering)
        later = take_of_fresh_workers(service, driver)
        wrong += account(service)
        levels = patiently(lambda: service.actor(INVENTORY).ask(GetStockLevels(), timeout=5.0))
        status = node.status()
    folder.write_events(driver.observed)
    folder.write(
        msgspec.structs.replace(
            record, sent=driver.progress.sent, finished=driver.finished, stock_levels=levels
        )
    )
    audit, _ = folder.audit()
    for sampler in (ordered, steady):
        if sampler.zombies:
            wrong.append(f"{sampler.zombies} zombies were seen")
    return Outcome(
        driver.progress.sent,
        order_seconds,
        queries,
        refused,
        status,
        (first, second),
        ordered.samples,
        steady.samples,
        (fresh, later),
        audit,
        wrong,
    )


def send_orders(driver: Driver, seconds: float) -> float:
    """Send orders as fast as their window allows; give the seconds that it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        driver.step(0.05)
    driver.stop_sending()
    return time.monotonic() - begin


def come_to_ends(driver: Driver) -> bool:
    """Wait for the orders that are open; give whether all have come to their ends."""
    until = time.monotonic() + DRAIN
    while not driver.done and time.monotonic() < until:
        driver.step(0.05)
    return driver.done


def query(service: OrderService, driver: Driver, seed: int, seconds: float) -> tuple[int, int]:
    """Ask for orders; give how many were found, and how many asks failed with their worker."""
    known = orders_of(driver)
    random = Random(seed)
    until = time.monotonic() + seconds
    found = refused = 0
    while time.monotonic() < until:
        order_id = random.choice(known)
        processor = service.processor(order_id)
        try:
            replies = processor.ask_many([GetOrder(order_id)] * 32, window=16, timeout=5.0)
            found += sum(1 for _ in replies)
        except (ActorError, AskTimeoutError, MailboxFullError):
            refused += 1
    return found, refused


def take_of_fresh_workers(service: OrderService, driver: Driver) -> dict[str, float]:
    """Have all workers start anew, and give what they take when they have done some work.

    A worker's memory depends on how long ago it was killed; so what is compared is alike.
    """
    service.node.reload()
    known = orders_of(driver)
    for _ in range(2):
        for n in range(CALM):
            order_id = known[n % len(known)]
            patiently(partial(service.processor(order_id).ask, GetOrder(order_id), timeout=5.0))
    until = time.monotonic() + SETTLES
    values: dict[str, float] = {}
    while time.monotonic() < until and not values:
        time.sleep(0.2)  # one that was replaced may still be leaving
        values = Sampler.look(find_node(service.node.node_id).supervisor, WORKERS)
    return {name: value for name, value in values.items() if name.startswith("workers.")}


def orders_of(driver: Driver) -> list[str]:
    return [event.order_id for event in driver.observed if isinstance(event, ev.OrderCreated)]


def account(service: OrderService) -> Iterator[str]:
    """Say what is not accounted for of all messages of the run, when nothing is left to do."""
    until = time.monotonic() + SETTLES
    counted = service.node.counters()
    while not counted.balanced and time.monotonic() < until:
        time.sleep(0.2)
        counted = service.node.counters()
    if not counted.balanced:
        yield f"messages are not accounted for: {counted}"


def patiently(ask: Callable[[], T]) -> T:
    """Ask until there is an answer: whoever is asked may be restarting from the last fault."""
    until = time.monotonic() + SETTLES
    while True:
        try:
            return ask()
        except (ActorError, AskTimeoutError):
            if time.monotonic() > until:
                raise


def allowed(name: str, first: float) -> float:
    """Give by how much something may rise over the steady part."""
    role, _, what = name.partition(".")
    if what == "pss":
        return max(0.05 * first, (6 if role == "workers" else 3) * MIB)
    return {"fds": 3.0, "threads": 1.0, "shm": 4.0}[what]


def report(outcome: Outcome, found: list[Rise]) -> Bench:
    """Turn an outcome into results."""
    faults = outcome.saboteurs[0].done + outcome.saboteurs[1].done
    figures: list[tuple[str, str, float]] = [
        ("orders", "", float(outcome.sent)),
        ("orders_per_s", "1/s", outcome.sent / outcome.order_seconds),
        ("queries", "", float(outcome.queries)),
        ("worker_restarts", "", float(outcome.status.worker_restarts)),
        ("actor_restarts", "", float(outcome.status.actor_restarts)),
        ("worker_replacements", "", float(outcome.status.worker_replacements)),
        *((f"faults.{fault.name.lower()}", "", float(faults[fault])) for fault in Fault),
        *((f"rise.{rise.what}", _unit(rise), rise.by) for rise in found),
    ]
    results = [Result(name, unit, value, value, value, None, None) for name, unit, value in figures]
    return Bench.of("soak", results)


def _unit(rise: Rise) -> str:
    return "KiB" if rise.what.endswith("pss") else ""


def violations(outcome: Outcome, found: list[Rise]) -> list[str]:
    """Say all that was wrong."""
    wrong = [*outcome.wrong, *(line for each in outcome.saboteurs for line in each.wrong)]
    if not outcome.audit.ok:
        wrong += [f"audit: {line}" for line in outcome.audit.violations]
    if not found:
        wrong.append("there were no samples to judge by; let it run longer")
    for rise in found:
        if not rise.flat:
            wrong.append(
                f"{rise.what} rose by {rise.by:,.1f} from {rise.first:,.1f}; "
                f"{rise.allowed:,.1f} is allowed"
            )
    return wrong


def main() -> None:
    """Soak, print, and write what was asked for."""
    parser = options(__doc__ or "")
    parser.add_argument("--seconds", type=float, help="how long, 180 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and the world")
    chosen = parser.parse_args()
    seconds = chosen.seconds or (24.0 if chosen.quick else 180.0)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, quiet(Path(folder, "log")):
        outcome = soak(chosen.seed, seconds, RunFolder(Path(folder, "run")))
    found = [
        *(rise for rise in rises(outcome.steady, allowed) if not rise.what.startswith("workers.")),
        *(
            Rise(name, first, outcome.workers[1].get(name, math.inf) - first, allowed(name, first))
            for name, first in outcome.workers[0].items()
        ),
    ]
    bench = report(outcome, found)
    wrong = violations(outcome, found)
    refused = sum((each.refused for each in outcome.saboteurs[1:]), outcome.saboteurs[0].refused)
    bench.show(
        [
            f"seed {chosen.seed}, {seconds:g} s, a fault every {EVERY:g} s; {WORKERS} workers",
            f"audit ok: {outcome.audit.ok}; {outcome.refused} queries failed with their worker",
            str(outcome.status.messages),
            f"floods met: {dict(refused)}",
            f"rises over {len(outcome.steady)} samples, without load that leaves state behind; of",
            "workers: of fresh ones after it to fresh ones before it",
        ]
    )
    if chosen.json:
        bench.write(chosen.json)
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Keep what the node says of every fault out of the terminal; show it if the run fails."""
    terminal = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    except BaseException:
        os.write(terminal, log.read_bytes()[-20_000:])
        raise
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


if __name__ == "__main__":
    main()
