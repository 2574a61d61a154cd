"""The order service on real servers: replay from every log, projections that stay exact."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gristmill import Node
from gristmill.config import ChannelConfig
from gristmill_orders import events as ev
from gristmill_orders.app import AUDIT_LOG_FILE, OrderService, begin_groups
from gristmill_orders.config import bootstrap
from gristmill_orders.processor import ORDERS
from gristmill_orders.replay import differences, journal_events, rebuild
from gristmill_orders.subscribers import GetRevenue, day_of
from gristmill_orders.world import World
from support.waiting import eventually

COMMAND = [sys.executable, "-m", "gristmill_orders.cli"]


@pytest.fixture(scope="module")
def environment(
    redis_config: ChannelConfig, kafka_config: ChannelConfig, own_temporary_directory: Path
) -> dict[str, str]:
    """Give the environment that leads the command to both servers."""
    import os  # noqa: PLC0415 - the fixture has changed it

    return os.environ | {
        "REDIS_URL": redis_config.redis_url,
        "KAFKA_BROKERS": ",".join(kafka_config.kafka_brokers),
        "CHANNEL_REDIS_LEASE_SECONDS": "1",
        "CHANNEL_KAFKA_SESSION_SECONDS": str(kafka_config.kafka_session_seconds),
        "CHANNEL_PARTITIONS": "4",
    }


def orders(
    folder: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the sample on both servers, with workers killed on the way; give its folder."""
    folder = tmp_path_factory.mktemp("channels")
    done = orders(
        folder, environment, "run", "--channels", "redis,kafka", "--workers", "2", "--compute",
        "none", "--kill-every", "0.6", "--repeat", "2", "--report", "out", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["audit"] == {"ok": True, "violations": []}
    return folder / "out"


@pytest.mark.parametrize("source", [["--from-kafka"], ["--from-redis"], ["--from-journal", "out"]])
def test_every_order_is_rebuilt_from_every_log_as_it_is(
    run: Path, environment: dict[str, str], source: list[str]
) -> None:
    done = orders(run.parent, environment, "replay", *source, "--against", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 600 orders of out are equal" in done.stdout


def test_the_audit_log_has_every_event_of_the_journal(run: Path) -> None:
    lines = [json.loads(line) for line in (run / AUDIT_LOG_FILE).read_bytes().splitlines()]
    logged = {(line[0].rpartition(":")[2], line[1], line[3]) for line in lines}
    known = {(type(e).__name__, e.order_id, e.sequence) for e in journal_events(str(run))}
    assert known <= logged


def test_a_log_that_lacks_an_event_or_an_order_is_told(run: Path) -> None:
    events = list(journal_events(str(run)))
    live = rebuild(events)
    assert not live.problems
    assert rebuild([e for e in events for _ in range(2)]).orders == live.orders
    doubled = rebuild(events + events)
    assert doubled.orders == live.orders
    assert doubled.repeated == len(events)
    victim = next(e for e in events if e.sequence == 2)
    torn = rebuild(e for e in events if e is not victim)
    assert any(victim.order_id in sentence for sentence in torn.problems)
    assert any(victim.order_id in sentence for sentence in differences(torn, live))
    without = rebuild(e for e in events if e.order_id != victim.order_id)
    (missing,) = differences(without, live)
    assert "is not in the log" in missing


def test_replay_needs_one_source(run: Path, environment: dict[str, str]) -> None:
    done = orders(run.parent, environment, "replay")
    assert done.returncode == 2
    assert "give one of --from-redis" in done.stderr
    done = orders(run.parent, environment, "run", "--channels", "pigeons")
    assert done.returncode == 2
    assert "'pigeons' is none of memory, redis, kafka" in done.stderr


def test_the_revenue_of_each_day_is_exact_though_events_come_again(
    redis_config: ChannelConfig, tmp_path: Path
) -> None:
    overrides = {
        ("node", "workers"): "1",
        ("node", "node_id"): "revenue-test",
        ("channel", "use_in_memory"): "false",
        ("channel", "use_redis"): "true",
        ("channel", "redis_url"): redis_config.redis_url,
    }
    config = bootstrap().load(None, overrides=overrides)
    ids = [f"01HXZ8J5T8M000000000000{n:03}" for n in range(10)]
    other_day = "01J8QW0000M000000000000000"
    (tmp_path / "ledger").mkdir()
    world = World(str(tmp_path / "ledger"), compute=False)
    begin_groups(config, "test")
    with OrderService(config, world, tmp_path / "journal", run="test") as service:
        node = service.node
        head = ("key", 3)
        expected = Counter[str]()
        for _ in range(2):  # another session publishes the same again: those are new events
            publish(node, [ev.PaymentCompleted(i, *head, cents=100, attempt=1) for i in ids])
        publish(node, [ev.PaymentCompleted(other_day, *head, cents=7, attempt=1)])
        publish(node, [ev.PaymentRefunded(ids[0], "key", 4, refund_key="r", cents=100)])
        expected[day_of(ids[0])] = 900
        expected[day_of(other_day)] = 7
        assert day_of(ids[0]) != day_of(other_day)
        found = eventually(
            lambda: (got := service.actor("revenue").ask(GetRevenue())) == expected and got,
            "the revenue is counted", 15,
        )  # fmt: skip
        assert found == expected


def publish(node: Node, events: list[ev.OrderEvent]) -> None:
    for event in events:
        node.publish(ORDERS, event, key=event.order_id)


def test_days_are_read_off_ids() -> None:
    assert day_of("01ARZ3NDEKTSV4RRFFQ69G5FAV") == "2016-07-30"
    assert day_of("no ULID") == ""
    assert day_of("01ARZ3NDEITSV4RRFFQ69G5FAV") == "", "I is no letter of it"
