"""The service API over gRPC, against the real command, its server and its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import gristmill_orders
from gristmill_orders.api import orders_pb2 as pb
from gristmill_orders.api.rpc import LARGEST_MESSAGE, SERVICE
from gristmill_orders.states import TERMINAL
from support.externals_server import unused_url
from support.scripts import Script
from support.serving import SERVE, Served, free_port, serving, settings_of
from support.waiting import eventually

ENDED = {f"ORDER_STATE_{state.name}" for state in TERMINAL}


class Client:
    """Calls the methods of the service by name, within a deadline."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        methods = pb.DESCRIPTOR.services_by_name["Orders"].methods_by_name
        self._calls = {
            name: self.channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=message_factory.GetMessageClass(
                    method.input_type
                ).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(
                    method.output_type
                ).FromString,
            )
            for name, method in methods.items()
        }

    def __call__(self, method: str, request: Any, timeout: float = 20.0) -> Any:
        return self._calls[method](request, timeout=timeout)

    def ended(self, order_id: str) -> Any:
        def look() -> Any:
            order = self("GetOrder", pb.GetOrderRequest(order_id=order_id))
            return order if state_of(order) in ENDED else None

        return eventually(look, f"order {order_id} ends", 20)


def state_of(order: Any) -> str:
    return str(pb.OrderState.Name(order.state))


def new(**changes: Any) -> Any:
    items = [pb.Item(sku="85123A", quantity=3, unit_price_cents=255)]
    fields = {"customer_id": "c1", "items": items, "address": pb.Address(country="France")}
    return pb.PlaceOrderRequest(**fields | changes)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as started:
        yield started


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    made = Client(served.grpc)
    with made.channel:
        yield made


def failure(client: Client, method: str, request: Any, timeout: float = 20.0) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        client(method, request, timeout)
    return caught.value


def told(error: Any) -> dict[str, str]:
    return dict(error.trailing_metadata())


def test_an_order_is_placed_and_goes_all_the_way(client: Client) -> None:
    reply = client("PlaceOrder", new(order_key="A-1", fees_cents=250, idempotency_key="k"))
    assert reply.created
    order = client.ended(reply.order.order_id)
    assert (order.total_cents, order.order_key) == (3 * 255 + 250, "A-1")
    assert order.items == new().items
    status = client("GetOrderStatus", pb.GetOrderRequest(order_id=order.order_id))
    assert status.state == order.state
    listed = client("ListOrders", pb.ListOrdersRequest(state=order.state)).orders
    assert order.order_id in [each.order_id for each in listed]
    assert len(client("ListOrders", pb.ListOrdersRequest(limit=1)).orders) == 1
    again = client("PlaceOrder", new(order_key="A-1", fees_cents=250, idempotency_key="k"))
    assert (again.created, again.order.order_id) == (False, order.order_id)
    other = failure(client, "PlaceOrder", new(idempotency_key="k"))
    assert other.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("PlaceOrder", new(customer_id=""), "customer_id"),
        ("PlaceOrder", new(items=[]), "items"),
        ("PlaceOrder", new(items=[pb.Item(sku="A", quantity=1)]), "items[0].unit_price_cents"),
        ("PlaceOrder", new(address=None), "address.country"),
        ("PlaceOrder", new(fees_cents=-1), "fees_cents"),
        ("PlaceOrder", new(idempotency_key="k" * 201), "Idempotency-Key"),
        ("ListOrders", pb.ListOrdersRequest(limit=-1), "limit"),
        ("ListOrders", pb.ListOrdersRequest(state=77), "state"),
        ("CancelOrder", pb.CancelOrderRequest(order_id="x", reason="r" * 501), "reason"),
    ],
)
def test_a_wrong_field_is_named(client: Client, method: str, request_: Any, field: str) -> None:
    error = failure(client, method, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert told(error)["problem-field"] == field
    assert error.details().startswith(f"{field}: ")


def test_unknown_orders_and_methods(client: Client) -> None:
    for method in ("GetOrder", "GetOrderStatus"):
        error = failure(client, method, pb.GetOrderRequest(order_id="nobody"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    error = failure(client, "CancelOrder", pb.CancelOrderRequest(order_id="nobody"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    nowhere = client.channel.unary_unary(f"/{SERVICE}/Nothing")
    with pytest.raises(grpc.RpcError) as caught:
        nowhere(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]  # grpc's own


def test_a_deadline_that_passes_is_told(served: Served, client: Client) -> None:
    workers = served.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        error = failure(client, "GetOrder", pb.GetOrderRequest(order_id="nobody"), 0.3)
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):  # one that stands still for long is replaced
                os.kill(pid, signal.SIGCONT)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_request_that_is_too_large(client: Client) -> None:
    error = failure(client, "PlaceOrder", new(customer_id="c" * (LARGEST_MESSAGE + 1)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_too_many_open_orders_cancelling_and_the_health_service(tmp_path: Path) -> None:
    settings = {"retry_seconds": [600.0], "max_orders": 1}
    gateway = {"gateway_url": unused_url(), "attempts": 1}
    node = {"workers": 1}
    with serving(tmp_path, order_processor=settings, externals=gateway, node=node) as served:
        client = Client(served.grpc)
        with client.channel:
            health = health_pb2_grpc.HealthStub(client.channel)
            for name in ("", SERVICE):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            first = client("PlaceOrder", new()).order.order_id
            full = failure(client, "PlaceOrder", new())
            assert full.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(told(full)["retry-after"]) > 0
            client("CancelOrder", pb.CancelOrderRequest(order_id=first, reason="no more"))
            assert client.ended(first).reason == "no more"
            assert client("PlaceOrder", new()).created
        assert served.terminate() == 0


def test_reflection_tells_what_there_is(client: Client) -> None:
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert SERVICE in database.get_services()
    file = database.FindFileContainingSymbol(SERVICE)
    methods = {method.name for method in file.service[0].method}
    assert methods == set(pb.DESCRIPTOR.services_by_name["Orders"].methods_by_name)


def test_a_port_in_use_is_one_clear_error(served: Served, tmp_path: Path) -> None:
    for grpc_port, culprit in ((served.grpc, "choose another [node] grpc_port"), (0, "both")):
        http = free_port()
        (tmp_path / "release.toml").write_bytes(settings_of({}, http, grpc_port or http))
        script = Script(SERVE, tmp_path)
        assert script.wait() == 2
        script.end()
        assert script.stderr.startswith("error: ")
        assert culprit in script.stderr
        assert "Traceback" not in script.stderr


def test_what_is_checked_in_is_what_the_proto_compiles_to(tmp_path: Path) -> None:
    source = Path(gristmill_orders.__file__).parent.parent
    proto = "gristmill_orders/api/orders.proto"
    compiled = tmp_path / "orders.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(source)]
    subprocess.run([*command, f"--descriptor_set_out={compiled}", proto], check=True)
    ours = (source / "gristmill_orders/api/orders.binpb").read_bytes()
    assert FileDescriptorSet.FromString(ours) == FileDescriptorSet.FromString(compiled.read_bytes())
