"""The gateway and the carriers over HTTP, against a real server that is slow, flaky and wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from gristmill.errors import ConfigError
from gristmill.facets import CircuitBreakerSpec
from gristmill_orders import messages as msg
from gristmill_orders.config import ExternalsConfig, bootstrap
from gristmill_orders.externals.carriers import LabelRequest, ship_order
from gristmill_orders.externals.faults import ExternalError
from gristmill_orders.externals.gateway import make_refund, take_payment
from gristmill_orders.externals.http import HttpExternal, HttpLimits, _closing
from gristmill_orders.externals.http_carrier import HttpCarrier
from gristmill_orders.externals.http_gateway import HttpGateway
from gristmill_orders.invoices import plan, read_invoices
from gristmill_orders.invoices.sample import sample_path
from gristmill_orders.kernels import label_offers
from gristmill_orders.ledger import read_ledger
from gristmill_orders.records import RunFolder
from gristmill_orders.run import RunSettings, run_orders
from gristmill_orders.world import BREAKER, World
from support.externals_server import (
    GATEWAY,
    NOT_DONE,
    WAYS,
    ExternalsServer,
    Misbehaviour,
    unused_url,
)

LIMITS = HttpLimits(timeout_seconds=2.0, first_wait_seconds=0.001)
HASTY = HttpLimits(timeout_seconds=0.3, first_wait_seconds=0.001)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ExternalsServer]:
    with ExternalsServer(tmp_path) as started:
        yield started


@asynccontextmanager
async def external(
    url: str, limits: HttpLimits = LIMITS, sleep: Any = asyncio.sleep
) -> AsyncIterator[HttpExternal]:
    http = HttpExternal("it", url, limits, random=Random(1), sleep=sleep)
    try:
        yield http
    finally:
        http.close()
        await asyncio.gather(*_closing)


def payment(key: str, order_id: str = "", attempt: int = 1) -> msg.ProcessPayment:
    return msg.ProcessPayment(order_id or f"o-{key}", key, attempt, 100, "card", "c", (), "France")


async def pay(server: ExternalsServer, key: str = "k", **options: Any) -> msg.PaymentAnswer:
    async with external(server.gateway_url, **options) as http:
        return await take_payment(payment(key), HttpGateway(http))


def charges(folder: Path) -> Counter[str]:
    return Counter(entry.key for entry in read_ledger(folder / "gateway.jsonl"))


def test_a_charge_and_its_refund(server: ExternalsServer, tmp_path: Path) -> None:
    async def both() -> tuple[object, object]:
        async with external(server.gateway_url) as http:
            gateway = HttpGateway(http)
            paid = await take_payment(payment("k", "o"), gateway)
            refund = msg.RefundPayment("o", "k", "r", 1, 60)
            await make_refund(refund, gateway)
            return paid, await make_refund(refund, gateway)

    assert asyncio.run(both()) == (
        msg.PaymentAuthorised("o", 1, 100),
        msg.RefundMade("o", "r", 60),
    )
    assert charges(tmp_path) == {"k": 1, "r": 1}


def test_a_refused_card_is_not_asked_for_twice(tmp_path: Path) -> None:
    with ExternalsServer(tmp_path, refused_share=1.0) as server:
        answer = asyncio.run(pay(server))
    assert answer == msg.PaymentRefused("o-k", 1, "the card was refused")
    assert server.requests == {GATEWAY: 1}


def test_a_key_of_another_payment_is_refused(server: ExternalsServer) -> None:
    async def two() -> msg.PaymentAnswer:
        async with external(server.gateway_url) as http:
            gateway = HttpGateway(http)
            await take_payment(payment("k", "o1"), gateway)
            return await take_payment(payment("k", "o2"), gateway)

    answer = asyncio.run(two())
    assert answer == msg.PaymentRefused("o2", 1, "payment key 'k' belongs to another payment")


@pytest.mark.parametrize("way", WAYS)
def test_what_every_failure_means(tmp_path: Path, way: str) -> None:
    always = {GATEWAY: Misbehaviour(1.0, (way,))}
    with ExternalsServer(tmp_path, plan=always) as server:
        answer = asyncio.run(pay(server, limits=HASTY))
    assert isinstance(answer, msg.PaymentUnavailable)
    charged = charges(tmp_path)["k"]
    assert charged == (0 if way in NOT_DONE else 1)
    # Of an error of the server nobody knows whether it came before or after the charge.
    assert answer.uncertain is (way not in {"unavailable", "busy"})
    answered_or_late = way in {"no JSON", "wrong types", "slow"}
    assert server.requests[GATEWAY] == (1 if answered_or_late else HASTY.attempts)


def test_an_absent_gateway_has_charged_nothing() -> None:
    async def ask() -> msg.PaymentAnswer:
        async with external(unused_url()) as http:
            return await take_payment(payment("k"), HttpGateway(http))

    answer = asyncio.run(ask())
    assert isinstance(answer, msg.PaymentUnavailable)
    assert not answer.uncertain
    assert "can't be reached" in answer.reason


def test_no_key_is_charged_twice_and_certainty_is_kept(tmp_path: Path) -> None:
    # Whoever is slow depends on the machine too, and has tests of its own.
    flaky = {GATEWAY: Misbehaviour(0.6, tuple(way for way in WAYS if way != "slow"))}
    certain: set[str] = set()
    paid: set[str] = set()

    async def pay_all(server: ExternalsServer) -> None:
        limits = HttpLimits(timeout_seconds=30.0, first_wait_seconds=0.001)
        async with external(server.gateway_url, limits) as http:
            gateway = HttpGateway(http)

            async def one(key: str) -> None:
                unsure = False
                for attempt in range(1, 4):
                    answer = await take_payment(payment(key, attempt=attempt), gateway)
                    if isinstance(answer, msg.PaymentAuthorised):
                        paid.add(key)
                        return
                    assert isinstance(answer, msg.PaymentUnavailable)
                    unsure = unsure or answer.uncertain
                if not unsure:
                    certain.add(key)

            await asyncio.gather(*(one(f"k{number}") for number in range(80)))

    with ExternalsServer(tmp_path, 3, flaky) as server:
        asyncio.run(pay_all(server))
    books = charges(tmp_path)
    assert set(books.values()) == {1}
    assert len(paid) > 40
    assert paid <= set(books)
    assert not certain & set(books)
    assert server.requests[GATEWAY] > 120


def test_the_wait_is_what_the_server_asks_for_and_never_too_long(tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    class Asking(ExternalsServer):
        after = "2"

        async def _serve(self, name: str, key: str, do: Any) -> Any:
            answer = await super()._serve(name, key, do)
            answer.headers["Retry-After"] = self.after
            return answer

    always = {GATEWAY: Misbehaviour(1.0, ("busy",))}
    with Asking(tmp_path, plan=always) as server:
        asyncio.run(pay(server, sleep=sleep))
        assert len(slept) == LIMITS.attempts - 1
        assert all(2.0 <= seconds <= 2.0 + LIMITS.longest_wait_seconds for seconds in slept)
        slept.clear()
        Asking.after = "3600"
        asyncio.run(pay(server, sleep=sleep))
        assert slept == []


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    class Endless(ExternalsServer):
        async def _serve(self, name: str, key: str, do: Any) -> Any:
            answer = await do()
            answer.body += b" " * 10_000_000
            answer.headers["Content-Length"] = str(len(answer.body))
            return answer

    with Endless(tmp_path) as server:
        answer = asyncio.run(pay(server))
    assert isinstance(answer, msg.PaymentUnavailable)
    assert "answered with more than" in answer.reason
    assert answer.uncertain


# --- carriers ---

SWIFT, GULL = "Fellrunner", "Quayline"
ORDER = msg.ShipOrder("o1", "k/1:label", (), "France")
OFFERS = [LabelRequest("o1", "k/1:label", name, "express", 399) for name in (SWIFT, GULL)]


async def ship(server: ExternalsServer, order: msg.ShipOrder = ORDER, **options: Any) -> Any:
    urls = server.carrier_urls
    https = {
        name: HttpExternal(name, urls[name], HASTY, random=Random(1), sleep=asyncio.sleep)
        for name in (SWIFT, GULL)
    }
    carriers = {name: HttpCarrier(http) for name, http in https.items()}
    try:
        return await ship_order(order, OFFERS, carriers, **options)
    finally:
        for carrier in carriers.values():
            carrier.close()
        await asyncio.gather(*_closing)


def labels(folder: Path) -> list[str]:
    return [entry.key for entry in read_ledger(folder / "carriers.jsonl")]


def test_a_label_is_made_once_and_found(server: ExternalsServer, tmp_path: Path) -> None:
    first = asyncio.run(ship(server))
    assert isinstance(first, msg.LabelMade)
    assert first.carrier == SWIFT
    assert server.requests == {SWIFT: 1}
    assert asyncio.run(ship(server, redelivered=True)) == first
    assert server.requests[f"{SWIFT}, look-ups"] == 1
    assert labels(tmp_path) == [f"{SWIFT}/k/1:label"]


@pytest.mark.parametrize("way", WAYS)
def test_another_carrier_only_if_there_is_no_label(tmp_path: Path, way: str) -> None:
    with ExternalsServer(tmp_path, plan={SWIFT: Misbehaviour(1.0, (way,))}) as server:
        answer = asyncio.run(ship(server))
    assert isinstance(answer, msg.LabelMade)
    assert answer.carrier == (GULL if way in NOT_DONE else SWIFT)
    assert len(labels(tmp_path)) == 1


def test_who_may_have_made_a_label_has_the_order_to_itself(tmp_path: Path) -> None:
    with ExternalsServer(tmp_path) as server:
        server.failing.add(SWIFT)
        answer = asyncio.run(ship(server))
        assert isinstance(answer, msg.LabelUnavailable)
        assert "there may be a label: Fellrunner answered 500" in answer.reason
        again = msg.ShipOrder("o1", "k/1:label", (), "France", 2)
        assert isinstance(asyncio.run(ship(server, again)), msg.LabelUnavailable)
        assert server.requests[GULL] == 0
        server.failing.clear()
        made = asyncio.run(ship(server, again))
    assert isinstance(made, msg.LabelMade)
    assert len(labels(tmp_path)) == 1


# --- the order service ---

HOME_ORDER = msg.ShipOrder("o1", "k:label", (), "United Kingdom")


def load(externals: dict[str, object]) -> Any:
    overrides: dict[tuple[str, str], object] = {
        ("node", "workers"): "2",
        ("node", "node_id"): "test-http",
        ("order_processor", "retry_seconds"): "[0.05, 0.1, 0.2, 0.4, 0.8]",
    }
    overrides |= {("externals", key): value for key, value in externals.items()}
    return bootstrap().load(environ={}, overrides=overrides)


def test_a_run_over_http_is_audited_against_the_books_of_the_server(tmp_path: Path) -> None:
    file = read_invoices(sample_path())
    folder, books = RunFolder(tmp_path / "run"), tmp_path / "books"
    flaky = Misbehaviour(0.15, slow_seconds=0.5)
    with ExternalsServer(books, 1, {GATEWAY: flaky, SWIFT: flaky, GULL: flaky}, 0.05) as server:
        config = load(
            {
                "gateway_url": server.gateway_url,
                "carrier_urls": server.carrier_urls,
                "timeout_seconds": "0.4",
            }
        )
        world = World.of(config, str(books), compute=False)
        planned = plan(file, seed=0, cancel_share=0.1)[:60]
        settings = RunSettings(compute=False, kill_every=0.7)
        result = run_orders(file, planned, config, settings, folder, watch, world)
    assert result.audit.violations == ()
    orders = result.summary.orders
    assert orders.completed > 40
    assert orders.sent == orders.completed + orders.failed + orders.cancelled == 60
    assert server.requests[GATEWAY] > 60
    assert sum(server.requests[name] for name in server.carrier_urls) > orders.completed


def test_a_breaker_opens_for_a_carrier_that_fails_and_closes_again(tmp_path: Path) -> None:
    file = read_invoices(sample_path())
    folder, books = RunFolder(tmp_path / "run"), tmp_path / "books"
    spec = CircuitBreakerSpec(open_seconds=0.1, record_errors=BREAKER.record_errors)
    cheapest = next(iter(label_offers(compute=False)(HOME_ORDER))).carrier
    with ExternalsServer(books) as server:
        server.closed_for[cheapest] = 12
        externals = {"gateway_url": server.gateway_url, "carrier_urls": server.carrier_urls}
        config = load(externals | {"attempts": "1"})
        world = World.of(config, str(books), compute=False)
        world = msgspec.structs.replace(world, breaker=spec, short_share=0.0)
        settings = RunSettings(compute=False)
        planned = plan(file, seed=0)[:200]
        result = run_orders(file, planned, config, settings, folder, watch, world)
    assert result.audit.violations == ()
    summary = result.summary
    moves = [move for move in summary.breaker_moves if move.breaker == cheapest]
    assert {move.service for move in moves} == {"shipping"}
    assert (moves[0].source, moves[0].target) == ("closed", "open")
    assert moves[0].reason == "10 of 10 calls failed"
    assert (moves[-1].source, moves[-1].target) == ("half_open", "closed")
    made = Counter(entry.carrier for entry in read_ledger(books / "carriers.jsonl"))
    assert made[cheapest] > 0
    assert made.total() - made[cheapest] >= 12  # it failed, or was not asked
    assert made.total() == summary.orders.completed
    # Whoever is refused by the breaker does not reach the carrier.
    assert server.requests[cheapest] == 12 + made[cheapest]


def watch(*_: object) -> None:
    """Show nothing."""


@pytest.mark.parametrize(
    ("externals", "culprit"),
    [
        ({"gateway_url": "pay.example.com"}, "gateway_url"),
        ({"carrier_urls": {"Fellruner": "http://127.0.0.1:1"}}, "did you mean Fellrunner"),
        ({"carrier_urls": {"Fellrunner": "ftp://127.0.0.1"}}, "Fellrunner"),
        ({"timeout_seconds": "60"}, "timeout_seconds"),
    ],
)
def test_bad_addresses_are_named(externals: dict[str, object], culprit: str) -> None:
    with pytest.raises(ConfigError, match=culprit):
        World.of(load(externals), "ledger")


def test_without_addresses_all_is_simulated() -> None:
    assert World.of(load({}), "ledger").externals == ExternalsConfig()
    assert not ExternalsConfig().over_http


def test_a_bad_answer_to_a_look_up_is_an_error(server: ExternalsServer) -> None:
    async def look_up() -> None:
        async with external(f"{server.url}/nowhere") as http:
            assert await HttpCarrier(http).find_label("k") is None  # 404
        async with external(server.gateway_url) as http:
            await http.get("charges", dict)  # 405: there is only POST

    with pytest.raises(ExternalError, match="answered 405"):
        asyncio.run(look_up())
