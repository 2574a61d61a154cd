"""Orders through real worker processes: what the command prints, and what must hold under kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.config import Config
from gristmill.errors import AskTimeoutError, Reject, RestartIntensityError
from gristmill.facets import CircuitBreakerSpec
from gristmill_orders import messages as msg
from gristmill_orders.app import OrderService
from gristmill_orders.config import bootstrap
from gristmill_orders.driver import create_order
from gristmill_orders.externals.faults import Outage
from gristmill_orders.externals.gateway import GatewayPlan
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.records import RunFolder
from gristmill_orders.run import RunSettings, run_orders
from gristmill_orders.states import TERMINAL, OrderState
from gristmill_orders.world import BREAKER, World
from support.chrome import Chrome
from support.scripts import Script
from support.waiting import eventually

COMMAND = ["-m", "gristmill_orders.cli"]
TWO_WORKERS = {("node", "workers"): "2", ("node", "node_id"): "test-orders"}


def orders(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *COMMAND, *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    done = orders(folder, "run", "--json", "-", *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["audit"] == {"ok": True, "violations": []}
    assert summary["orders"]["refused"] == 0
    return dict(summary)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def sample(folder: Path) -> dict[str, Any]:
    """Give the summary of the sample on two workers; its report is in ``folder / "out"``."""
    return run(folder, "--workers", "2", "--report", "out")


def test_the_sample_is_accounted_for_to_the_last_row(sample: dict[str, Any]) -> None:
    rows, counts = sample["rows"], sample["orders"]
    assert rows["read"] == rows["mapped"] + rows["unmapped"]
    assert counts["sent"] == counts["accepted"] == 300
    assert counts["completed"] + counts["failed"] + counts["cancelled"] == 300
    assert counts["cancelled"] > 0
    assert sample["seconds"] > 0
    assert sample["orders_per_s"] > 0
    latency = sample["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert (sample["worker_restarts"], sample["actor_restarts"]) == (0, 0)
    assert sample["granularity"]["schema"] == "granularity/1"


def test_the_report_folder_can_be_audited(folder: Path, sample: dict[str, Any]) -> None:
    names = {path.name for path in (folder / "out").iterdir()}
    assert {"granularity.json", "granularity.txt", "summary.json", "journal"} <= names
    done = orders(folder, "audit", "out", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["ok"]
    assert found["outcome_digest"] == sample["outcome_digest"]


def test_an_audit_holds_the_journal_against_the_ledger(
    folder: Path, sample: dict[str, Any]
) -> None:
    ledger = folder / "out" / "ledger" / "gateway.jsonl"
    honest = ledger.read_bytes()
    first = honest.splitlines(keepends=True)[0]
    ledger.write_bytes(honest + first)
    done = orders(folder, "audit", "out")
    ledger.write_bytes(honest)
    assert done.returncode == 1
    assert "times in the ledger" in done.stdout


@pytest.mark.parametrize("workers", ["1", "3"])
def test_kills_change_no_outcome(folder: Path, sample: dict[str, Any], workers: str) -> None:
    killed = run(folder, "--workers", workers, "--kill-every", "0.5")
    assert killed["worker_restarts"] > 0
    assert killed["outcome_digest"] == sample["outcome_digest"]


@pytest.mark.parametrize("kills", [(), ("--kill-every", "0.5")])
def test_batches_change_no_outcome(
    folder: Path, sample: dict[str, Any], kills: tuple[str, ...]
) -> None:
    single = run(folder, "--workers", "2", "--governor", "off", *kills)
    assert single["outcome_digest"] == sample["outcome_digest"]
    batched = {row["message"]: row for row in sample["granularity"]["types"] if row["batches"]}
    assert set(batched) == {"ProcessPayment", "ReserveStock", "ShipStock", "ShipOrder"}
    assert batched["ProcessPayment"]["batches"] < batched["ProcessPayment"]["messages"]
    for row in single["granularity"]["types"]:
        if row["message"] in batched and not kills:
            assert row["governor"] is None
            assert row["batches"] == row["messages"]


def test_a_trace_holds_the_messages_of_the_end(folder: Path, sample: dict[str, Any]) -> None:
    arguments = ("--workers", "2", "--trace", "trace.json", "--trace-window", "60")
    traced = run(folder, *arguments)
    assert traced["outcome_digest"] == sample["outcome_digest"]
    drawing = Chrome((folder / "trace.json").read_bytes())
    assert set(drawing.processes.values()) == {"client", "w1", "w2"}
    handled = {shown.name for shown in drawing.messages()}
    assert {"PaymentServiceActor.ProcessPayment", "OrderProcessorActor.PaymentDue"} <= handled
    between = {(arrow.start.process, arrow.end.process) for arrow in drawing.arrows}
    workers = {"w1", "w2"}
    assert between == {(a, b) for a in ("client", *workers) for b in workers}


def test_a_trace_has_a_folder_to_go_to(folder: Path) -> None:
    done = orders(folder, "run", "--trace", "nowhere/trace.json")
    assert done.returncode == 2
    assert f"--trace: there is no folder {folder / 'nowhere'}" in done.stderr


def test_the_governor_is_on_or_off(folder: Path) -> None:
    done = orders(folder, "run", "--governor", "maybe")
    assert done.returncode == 2
    assert "--governor is 'maybe'; write on or off" in done.stderr


def test_the_first_ctrl_c_lets_open_orders_end(folder: Path) -> None:
    arguments = ["run", "--workers", "2", "--compute", "none", "--repeat", "100", "--report", "cut"]
    script = Script([*COMMAND, *arguments], folder)
    ledger = folder / "cut" / "ledger" / "gateway.jsonl"
    eventually(lambda: ledger.exists() and ledger.stat().st_size > 20_000, "orders go through", 20)
    script.interrupt()
    output = script.rest(40)
    assert script.wait() == 130, script.stderr
    assert "interrupted" in output
    assert "audit: ok" in output
    record = RunFolder(folder / "cut").read()
    assert record.finished
    assert 0 < (record.sent or 0) < 30_000


@pytest.fixture
def busy(folder: Path) -> Iterator[Script]:
    """Give a run that goes on for long; its report is in ``folder / "busy"``."""
    arguments = ["run", "--workers", "2", "--compute", "none", "--repeat", "100"]
    shutil.rmtree(folder / "busy", ignore_errors=True)
    script = Script([*COMMAND, *arguments, "--report", "busy"], folder)
    ledger = folder / "busy" / "ledger" / "gateway.jsonl"
    try:
        eventually(lambda: ledger.exists() and ledger.stat().st_size > 20_000, "orders go", 20)
        yield script
    finally:
        script.end()


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("sample")
def test_a_run_that_is_refused_changes_nothing(folder: Path, busy: Script) -> None:
    before = contents(folder / "out")
    taken = orders(folder, "run", "--report", "out")
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "a node 'order-node-1' runs already" in taken.stderr
    assert contents(folder / "out") == before
    second = orders(folder, "run", "--report", "busy")
    assert (second.returncode, second.stdout) == (2, "")
    assert f"error: another run writes to {folder / 'busy'}" in second.stderr
    busy.interrupt()
    assert "audit: ok" in busy.rest(40)
    assert busy.wait() == 130


@pytest.fixture
def in_terminal() -> Iterator[None]:
    """Have what is started hear of a closed terminal, even if this process was told not to."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_run_ends_in_order_when_its_terminal_is_closed(in_terminal: None, busy: Script) -> None:
    assert not list(Path(tempfile.gettempdir()).glob("gristmill-orders-*"))
    os.kill(busy.pid, signal.SIGHUP)
    assert "audit: ok" in busy.rest(40)
    assert busy.wait() == 130, busy.stderr


def test_a_run_whose_node_is_stopped_with_it_can_be_audited(folder: Path, busy: Script) -> None:
    os.killpg(busy.pid, signal.SIGTERM)
    assert busy.wait(40) == 130
    assert busy.stderr.splitlines()[-1] == (
        "error: the node was stopped, and this run with it; what was open is in its journal: "
        "gristmill orders audit busy"
    )
    done = orders(folder, "audit", "busy")
    assert (done.returncode, "audit: ok" in done.stdout) == (0, True)


def test_what_cannot_be_written_is_told_once_the_rest_is(folder: Path) -> None:
    done = orders(
        folder, "run", "--workers", "1", "--compute", "none", "--json", "/dev/full",
        "--report", "rest",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == ("error: can't write /dev/full: No space left on device")
    assert "Traceback" not in done.stderr
    assert "audit: ok" in done.stdout
    assert (folder / "rest" / "summary.json").exists()


def test_a_storm_of_kills_ends_the_run_with_the_chain_of_causes(folder: Path) -> None:
    done = orders(
        folder, "run", "--workers", "2", "--compute", "none", "--repeat", "100",
        "--kill-every", "0.05",
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    error = done.stderr[done.stderr.index("error:") :]
    assert "root/RootSupervisor" in error
    assert "killed by SIGKILL" in error
    assert "Traceback" not in done.stderr


def load(overrides: dict[tuple[str, str], object] | None = None) -> Config:
    return bootstrap().load(environ={}, overrides=TWO_WORKERS | (overrides or {}))


def test_three_restarts_in_five_seconds_escalate(tmp_path: Path) -> None:
    file = read_invoices(sample_path())
    settings = RunSettings(compute=False, kill_every=0.3, max_restarts=3)
    with pytest.raises(RestartIntensityError, match="3 allowed") as caught:
        run_orders(
            file, plan(file, seed=0, repeat=50), load(), settings, RunFolder(tmp_path), watch
        )
    assert caught.value.exit_code == 5
    assert "root/RootSupervisor" in str(caught.value)


def watch(*_: object) -> None:
    """Show nothing."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OrderService]:
    """Give a service whose gateway can't be reached for its first seconds."""
    out_until = time.monotonic() + 4.0
    spec = CircuitBreakerSpec(open_seconds=0.5, record_errors=BREAKER.record_errors)
    gateway = GatewayPlan(0.0, outages=(Outage(0.0, out_until),), refused_share=0.0)
    ledger = str(tmp_path / "ledger")
    world = World(ledger, gateway=gateway, breaker=spec, short_share=0.0, compute=False)
    delays = "[1.0, 2.0, 2.0, 2.0, 2.0]"
    retry: dict[tuple[str, str], object] = {("order_processor", "retry_seconds"): delays}
    with OrderService(load(retry), world, tmp_path / "journal") as started:
        yield started


def test_500_orders_stay_open_through_an_outage_and_queries_are_answered(
    service: OrderService,
) -> None:
    file = read_invoices(sample_path())
    planned = plan(file, seed=0, repeat=2)[:500]
    ids = [f"order-{number}" for number in range(500)]
    for order_id, order in zip(ids, planned, strict=True):
        command = create_order(order_id, order, 0)
        service.processor(order_id).tell(command, delivery="at_least_once")
    counters = [service.actor(name) for name in service.processors]

    def count(name: str) -> int:
        return sum(actor.ask(msg.GetCounters())[name] for actor in counters)

    eventually(lambda: count("open") == 500, "all orders are open")
    began = time.monotonic()
    states = {
        service.processor(order_id).ask(msg.GetOrderStatus(order_id), timeout=1.0)
        for order_id in ids
    }
    assert states <= {OrderState.PENDING, OrderState.PAYMENT_PROCESSING}
    assert time.monotonic() - began < 2.0
    assert count("open") == 500
    eventually(lambda: count("completed") == 500, "the outage is over", 20)
    assert {service.processor(i).ask(msg.GetOrderStatus(i)) for i in ids} <= TERMINAL


def test_an_order_beyond_the_limit_is_refused_with_a_reason(tmp_path: Path) -> None:
    out = GatewayPlan(outages=(Outage(),))
    world = World(str(tmp_path / "ledger"), gateway=out, compute=False)
    limit: dict[tuple[str, str], object] = {
        ("order_processor", "max_orders"): "1",
        ("node", "workers"): "1",
    }
    planned = plan(read_invoices(sample_path()), seed=0)
    with OrderService(load(limit), world, tmp_path / "journal") as service:
        for order_id, order in zip(("a", "b"), planned, strict=False):
            command = create_order(order_id, order, 0)
            service.processor(order_id).tell(command, delivery="at_least_once")
        with pytest.raises(Reject, match="which is the limit") as caught:
            eventually(lambda: asked(service, "b"), "the order is refused")
        assert caught.value.code == "refused"
        assert service.processor("a").ask(msg.GetOrder("a")).order_id == "a"


def asked(service: OrderService, order_id: str) -> bool:
    try:
        service.processor(order_id).ask(msg.GetOrder(order_id))
    except Reject as reject:
        if reject.code == "unknown_order":
            return False
        raise
    except AskTimeoutError:
        return False
    return True


BAD_INPUT = {
    "a missing file": (["run", "--input", "nowhere.csv"], "nowhere.csv"),
    "a folder": (["run", "--input", "."], "error"),
    "no CSV of ours": (["run", "--input", "other.csv"], "other.csv"),
    "no order in it": (["run", "--input", "empty.csv"], "empty.csv"),
    "no worker": (["run", "--workers", "0"], "workers"),
    "negative workers": (["run", "--workers", "-2"], "workers"),
    "workers in words": (["run", "--workers", "many"], "workers"),
    "no round": (["run", "--repeat", "0"], "repeat"),
    "a share above 1": (["run", "--cancel-share", "1.5"], "cancel_share"),
    "no time between kills": (["run", "--kill-every", "0"], "kill-every"),
    "no orders in a second": (["run", "--rate", "0"], "rate"),
    "an unknown compute": (["run", "--compute", "some"], "--compute"),
    "a JSON in no folder": (["run", "--json", "no/where.json"], "no"),
    "a JSON without a name": (["run", "--json", ""], "--json: '' is no file"),
    "a JSON that is a folder": (["run", "--json", "."], "--json: '.' is no file"),
    "a trace that is a folder": (["run", "--trace", "."], "--trace: '.' is no file"),
    "a key that is unknown": (["run", "--config", "key.toml"], "max_orders"),
    "a wrong type": (["run", "--config", "type.toml"], "max_orders"),
    "broken TOML": (["run", "--config", "broken.toml"], "broken.toml"),
    "a pool of no service": (["run", "--config", "pool.toml"], "payment"),
    "two owners of stock": (["run", "--config", "stock.toml"], "inventory"),
    "stock with an elastic pool of owners": (["run", "--config", "elastic.toml"], "max = 1"),
    "externals whose books are elsewhere": (["run", "--config", "http.toml"], "--ledger"),
    "an audit of nothing": (["audit", "."], "run.json"),
}
FILES = {
    "other.csv": "a,b\n1,2\n",
    "empty.csv": "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,Country\n",
    "key.toml": "[order_processor]\nmax_order = 5\n",
    "type.toml": '[order_processor]\nmax_orders = "five"\n',
    "broken.toml": "[order_processor\n",
    "pool.toml": "[pools.paiment]\nsize = 2\n",
    "stock.toml": "[pools.inventory]\nsize = 2\n",
    "elastic.toml": "[pools.inventory]\nmax = 3\n",
    "http.toml": '[externals]\ngateway_url = "http://127.0.0.1:1"\n',
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_clear_message(tmp_path: Path, case: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    arguments, culprit = BAD_INPUT[case]
    done = orders(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert culprit in done.stderr
    assert "Traceback" not in done.stderr
    assert set(FILES) == {path.name for path in tmp_path.iterdir()}
