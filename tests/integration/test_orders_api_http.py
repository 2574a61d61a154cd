"""The service API over HTTP, against the real command, its servers and its workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from gristmill_orders.api.bodies import NewOrder
from gristmill_orders.api.http import LARGEST_BODY, http_app
from gristmill_orders.api.openapi import openapi
from gristmill_orders.api.operations import Orders
from gristmill_orders.api.problems import ApiError, Kind
from gristmill_orders.api.serve import _listening
from gristmill_orders.app import OrderService
from gristmill_orders.config import bootstrap
from gristmill_orders.ledger import read_ledgers
from gristmill_orders.states import TERMINAL
from gristmill_orders.world import World
from support.externals_server import unused_url
from support.scripts import Script
from support.serving import SERVE, Served, free_port, serving, settings_of
from support.waiting import eventually

ONE_WORKER: dict[tuple[str, str], object] = {
    ("node", "workers"): "1",
    ("node", "node_id"): "test-deadline",
}
NEW: dict[str, Any] = {
    "customer_id": "c1",
    "items": [{"sku": "85123A", "quantity": 3, "unit_price_cents": 255}],
    "address": {"country": "France"},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as started:
        yield started


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a service whose gateway is absent, so that orders stay open; three may be."""
    settings = {"retry_seconds": [600.0], "max_orders": 2}
    gateway = {"gateway_url": unused_url(), "attempts": 1}
    folder = tmp_path_factory.mktemp("stuck")
    node = {"workers": 1}
    with serving(folder, order_processor=settings, externals=gateway, node=node) as started:
        yield started


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=20) as made:
        yield made


def ended(client: httpx.Client, order_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        order: dict[str, Any] = client.get(f"/orders/{order_id}").json()
        return order if order["state"] in TERMINAL else None

    return eventually(look, f"order {order_id} ends", 20) or {}


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    return problem


def test_an_order_is_placed_and_goes_all_the_way(client: httpx.Client) -> None:
    answer = client.post("/orders", json=NEW | {"order_key": "A-1", "fees_cents": 250})
    assert answer.status_code == 201
    order_id = answer.json()["order_id"]
    assert len(order_id) == 26
    assert answer.headers["Location"] == f"/orders/{order_id}"
    order = ended(client, order_id)
    assert order["total_cents"] == 3 * 255 + 250
    assert order["order_key"] == "A-1"
    assert order["items"] == [NEW["items"][0] | {"description": ""}]
    status = client.get(f"/orders/{order_id}/status").json()
    assert status == {"order_id": order_id, "state": order["state"]}
    listed = client.get("/orders", params={"state": order["state"], "limit": 1000}).json()
    assert order_id in [each["order_id"] for each in listed["orders"]]
    assert {each["state"] for each in listed["orders"]} == {order["state"]}
    assert len(client.get("/orders?limit=1").json()["orders"]) == 1


def test_the_same_key_makes_one_order_however_often_it_comes(served: Served) -> None:
    def place(_: int) -> httpx.Response:
        return httpx.post(
            f"{served.url}/orders", json=NEW, headers={"Idempotency-Key": "k-1"}, timeout=20
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(place, range(24)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 23}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    other = NEW | {"customer_id": "c2"}
    refused = httpx.post(f"{served.url}/orders", json=other, headers={"Idempotency-Key": "k-1"})
    problem = problem_of(refused)
    assert (problem["status"], problem["code"]) == (422, "key_in_use")
    assert problem["field"] == "Idempotency-Key"


def but(**changes: Any) -> bytes:
    return msgspec.json.encode(NEW | changes)


def item(**changes: Any) -> bytes:
    return but(items=[NEW["items"][0] | changes])


BAD_BODIES = {
    "no JSON": (b"{", 400, ""),
    "no UTF-8": (b'{"customer_id": "\xff"}', 400, ""),
    "a list": (b"[]", 422, ""),
    "nothing in it": (b"{}", 422, "customer_id"),
    "an unknown field": (but(colour="red"), 422, "colour"),
    "no items": (but(items=[]), 422, "items"),
    "too many items": (but(items=NEW["items"] * 1001), 422, "items"),
    "a quantity in words": (item(quantity="three"), 422, "items[0].quantity"),
    "a quantity of zero": (item(quantity=0), 422, "items[0].quantity"),
    "a price that is free": (item(unit_price_cents=0), 422, "items[0].unit_price_cents"),
    "an unknown field of an item": (item(size=3), 422, "items[0].size"),
    "an empty SKU": (item(sku=""), 422, "items[0].sku"),
    "no country": (but(address={}), 422, "address.country"),
    "fees below zero": (but(fees_cents=-1), 422, "fees_cents"),
    "too large": (b" " * (LARGEST_BODY + 1), 413, ""),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(client: httpx.Client, case: str) -> None:
    body, status, field = BAD_BODIES[case]
    headers = {"Content-Type": "application/json"}
    problem = problem_of(client.post("/orders", content=body, headers=headers))
    assert problem["status"] == status
    assert problem.get("field", "") == field


@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [
        ("GET", "/orders?state=Lost", 422, "state"),
        ("GET", "/orders?limit=0", 422, "limit"),
        ("GET", "/orders?limit=many", 422, "limit"),
        ("GET", "/orders/nobody", 404, ""),
        ("GET", "/orders/nobody/status", 404, ""),
        ("DELETE", "/orders/nobody", 404, ""),
        ("DELETE", f"/orders/x?reason={'r' * 501}", 422, "reason"),
        ("GET", "/elsewhere", 404, ""),
        ("PUT", "/orders", 405, ""),
    ],
)
def test_a_wrong_question_gets_a_problem(
    client: httpx.Client, method: str, path: str, status: int, field: str
) -> None:
    problem = problem_of(client.request(method, path))
    assert (problem["status"], problem.get("field", "")) == (status, field)


def test_a_key_that_is_too_long_and_a_body_that_is_no_json(client: httpx.Client) -> None:
    long = client.post("/orders", json=NEW, headers={"Idempotency-Key": "k" * 201})
    assert problem_of(long)["field"] == "Idempotency-Key"
    text = client.post("/orders", content="hello", headers={"Content-Type": "text/plain"})
    assert problem_of(text)["status"] == 415


def test_a_completed_order_cannot_be_cancelled(client: httpx.Client) -> None:
    for number in range(20):  # a few cards are refused, and a few products have no stock
        placed = client.post("/orders", json=NEW | {"customer_id": f"late-{number}"}).json()
        if ended(client, placed["order_id"])["state"] == "Completed":
            break
    problem = problem_of(client.delete(f"/orders/{placed['order_id']}"))
    assert (problem["status"], problem["code"]) == (409, "too_late")
    assert "the order is Completed" in problem["detail"]


def test_orders_wait_are_cancelled_and_make_room(stuck: Served) -> None:
    with httpx.Client(base_url=stuck.url, timeout=20) as client:
        first, second = (client.post("/orders", json=NEW).json()["order_id"] for _ in range(2))
        full = client.post("/orders", json=NEW)
        assert (problem_of(full)["code"], full.status_code) == ("full", 503)
        assert int(full.headers["Retry-After"]) > 0
        cancelled = client.delete(f"/orders/{first}", params={"reason": "changed my mind"})
        assert cancelled.status_code in {200, 202}
        order = ended(client, first)
        assert (order["state"], order["reason"]) == ("Cancelled", "changed my mind")
        assert client.delete(f"/orders/{first}").status_code == 200
        assert client.post("/orders", json=NEW).status_code == 201
        waiting = client.get("/orders?state=PaymentProcessing").json()["orders"]
        assert second in [each["order_id"] for each in waiting]


def test_killed_workers_lose_no_order(tmp_path: Path) -> None:
    with serving(tmp_path, order_processor={"retry_seconds": [0.05, 0.1]}) as served:
        codes: Counter[int] = Counter()

        def place(number: int) -> str:
            headers = {"Idempotency-Key": f"order {number}"}
            body = NEW | {"customer_id": f"c{number}"}

            def tried() -> str:
                answer = httpx.post(f"{served.url}/orders", json=body, headers=headers, timeout=20)
                codes[answer.status_code] += 1
                return str(answer.json()["order_id"]) if answer.is_success else ""

            return eventually(tried, f"order {number} is accepted", 20)

        with ThreadPoolExecutor(4) as pool:
            placed = pool.map(place, range(60))
            for _ in range(3):
                enough = sum(codes.values()) + 5
                os.kill(eventually(served.workers, "a worker lives")[0], signal.SIGKILL)
                eventually(partial(more_than, codes, enough), "orders go on", 20)
            ids = list(placed)
        assert len(set(ids)) == 60
        assert set(codes) <= {200, 201, 503}
        with httpx.Client(base_url=served.url, timeout=20) as client:
            for order_id in ids:
                ended(client, order_id)
        entries = read_ledgers(tmp_path / "orders-data" / "ledger")
        assert set(Counter(entry.key for entry in entries).values()) == {1}
        assert served.terminate() == 0


def more_than(codes: Counter[int], enough: int) -> bool:
    return codes.total() > enough


def test_orders_outlive_the_service(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        order_id = httpx.post(f"{served.url}/orders", json=NEW, timeout=20).json()["order_id"]
        assert served.terminate() == 0
        assert "stopped" in served.script.rest()
    with serving(tmp_path) as served, httpx.Client(base_url=served.url, timeout=20) as client:
        ended(client, order_id)
        served.script.interrupt()
        assert served.script.wait(30) == 130
    (tmp_path / "release.toml").write_bytes(
        settings_of({"node": {"workers": 1}}, free_port(), free_port())
    )
    script = Script(SERVE, tmp_path)
    assert script.wait() == 2
    script.end()
    assert "spread over 2 processors" in script.stderr


def test_sigterm_stops_a_service_that_starts(tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_bytes(settings_of({}, free_port(), free_port()))
    script = Script(SERVE, tmp_path)
    try:
        eventually(lambda: psutil.Process(script.pid).children(), "the supervisor process starts")
        os.kill(script.pid, signal.SIGTERM)
        assert script.wait() == 0, script.stderr
        assert "ready" not in script.rest()
    finally:
        script.end()


def test_a_port_in_use_is_one_clear_error(served: Served, tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_bytes(settings_of({}, served.http, free_port()))
    script = Script(SERVE, tmp_path)
    assert script.wait() == 2
    script.end()
    assert script.stderr == (
        f"error: can't listen on 127.0.0.1 port {served.http}: Address already in use; "
        "choose another [api] http_port\n"
    )
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_answers_leave_at_once_however_many_parts_they_have() -> None:
    port = free_port()
    with (
        _listening("127.0.0.1", port, "it") as listener,
        socket.create_connection(("127.0.0.1", port)),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_openapi_document_is_what_is_served(client: httpx.Client) -> None:
    served = client.get("/openapi.json").json()
    assert served == msgspec.json.decode(openapi())
    documented = {
        (path, method.upper())
        for path, operations in served["paths"].items()
        for method in operations
        if method != "parameters"
    }
    routes = {
        (route.path, method)
        for route in http_app(None).routes  # type: ignore[arg-type]  # only its routes are looked at
        for method in route.methods - {"HEAD"}
    }
    assert documented == routes - {("/openapi.json", "GET")}
    fields = served["components"]["schemas"]["NewOrder"]["properties"]
    assert set(fields) == set(NewOrder.__struct_fields__)


def test_a_deadline_that_passes_and_a_service_that_stops(tmp_path: Path) -> None:
    config = bootstrap().load(environ={}, overrides=ONE_WORKER)
    world = World(str(tmp_path / "ledger"), compute=False)

    async def ask(orders: Orders, timeout: float) -> Kind:
        with pytest.raises(ApiError) as caught:
            await orders.order("nobody", timeout=timeout)
        return caught.value.kind

    with OrderService(config, world, tmp_path / "journal") as service:
        orders = Orders(service)
        assert asyncio.run(ask(orders, 0.0)) is Kind.LATE
        assert asyncio.run(ask(orders, 5.0)) is Kind.NOT_FOUND
        orders.stopping = True
        assert asyncio.run(ask(orders, 5.0)) is Kind.UNAVAILABLE
