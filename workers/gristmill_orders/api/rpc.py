"""The service API as gRPC: the operations of ``orders.proto``, health and reflection."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import msgspec
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gristmill.errors import NodeStartError
from gristmill_orders.api import bodies, orders_pb2
from gristmill_orders.api.operations import MOST_OPEN, TIMEOUT, Orders
from gristmill_orders.api.problems import ApiError, Kind, invalid
from gristmill_orders.states import OrderState

M = TypeVar("M", bound=Message)
Ask = Callable[[Any, float], Awaitable[Message]]
"""Carries out a request within so many seconds."""

SERVICE = "gristmill.orders.v1.Orders"
LARGEST_MESSAGE = 1 << 20
"""Bytes of a request."""

_log = logging.getLogger("gristmill.orders.api")
_STATES = {state: f"ORDER_STATE_{state.name}" for state in OrderState}
_NAMES = {orders_pb2.OrderState.Value(name): str(state) for state, name in _STATES.items()}


class GrpcServer:
    """The gRPC face of a running service, on the event loop that runs when it is started.

    Args:
        orders: the operations.
        host: the address to listen on.
        port: the port; 0 for a free one.
    """

    def __init__(self, orders: Orders, host: str, port: int) -> None:
        self._face = _Face(orders)
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._health = health.aio.HealthServicer()
        self.port = port

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            NodeStartError: the port is in use.
        """
        server = self._server = grpc.aio.server(
            maximum_concurrent_rpcs=MOST_OPEN,  # one more is RESOURCE_EXHAUSTED
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ),
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, self._face.handlers()),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            self.port = server.add_insecure_port(self._address)
        except RuntimeError:
            raise NodeStartError(
                f"can't listen on {self._address}; choose another [node] grpc_port"
            ) from None
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await server.start()

    async def stop(self, grace: float) -> None:
        """Take no calls in any more; those that are open have ``grace`` seconds to end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)


class _Face:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Give the handlers of all methods of the service, by name."""
        asks: dict[str, Ask] = {
            "PlaceOrder": self.place,
            "GetOrder": self.order,
            "GetOrderStatus": self.status,
            "ListOrders": self.list,
            "CancelOrder": self.cancel,
        }
        methods = orders_pb2.DESCRIPTOR.services_by_name["Orders"].methods_by_name
        return {
            name: grpc.unary_unary_rpc_method_handler(
                _handler(asks[name]),
                request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
                response_serializer=message_factory.GetMessageClass(
                    method.output_type
                ).SerializeToString,
            )
            for name, method in methods.items()
        }

    async def place(self, request: orders_pb2.PlaceOrderRequest, timeout: float) -> Message:
        placed = await self._orders.place(_new_order(request), request.idempotency_key, timeout)
        return orders_pb2.PlaceOrderReply(order=_order(placed.order), created=placed.new)

    async def order(self, request: orders_pb2.GetOrderRequest, timeout: float) -> Message:
        return _order(await self._orders.order(request.order_id, timeout))

    async def status(self, request: orders_pb2.GetOrderRequest, timeout: float) -> Message:
        status = await self._orders.status(request.order_id, timeout)
        return orders_pb2.OrderStatus(order_id=status.order_id, state=_STATES[status.state])

    async def list(self, request: orders_pb2.ListOrdersRequest, timeout: float) -> Message:
        state = _NAMES.get(request.state, str(request.state)) if request.state else ""
        found = await self._orders.list(state, request.limit or 100, timeout)
        return orders_pb2.OrderList(
            orders=[
                orders_pb2.ListedOrder(**msgspec.structs.asdict(each) | _state(each.state))
                for each in found.orders
            ]
        )

    async def cancel(self, request: orders_pb2.CancelOrderRequest, timeout: float) -> Message:
        return _order(await self._orders.cancel(request.order_id, request.reason, timeout))


def _handler(ask: Ask) -> Callable[[Any, Any], Awaitable[Message]]:
    """Carry requests out within the client's deadline, and answer errors with their status."""

    async def handle(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        remaining = context.time_remaining()
        try:
            return await ask(request, TIMEOUT if remaining is None else max(0.0, remaining))
        except ApiError as problem:
            error = problem
        except Exception:
            _log.exception("%s", type(request).__name__)
            error = ApiError(Kind.INTERNAL, "the request could not be worked on")
        kind = error.kind
        told = {"problem": kind.code, "problem-field": error.field}
        if kind.retry_after is not None:
            told["retry-after"] = str(kind.retry_after)
        metadata = tuple((key, value) for key, value in told.items() if value)
        await context.abort(grpc.StatusCode[kind.grpc], error.detail, metadata)
        raise AssertionError("abort raises")

    return handle


def _new_order(request: orders_pb2.PlaceOrderRequest) -> bodies.NewOrder:
    """Check a request against the same types as the JSON face does."""
    items = [
        _fields(item, "sku", "quantity", "unit_price_cents", "description")
        for item in request.items
    ]
    content: dict[str, object] = {
        "customer_id": request.customer_id,
        "items": items,
        "address": _fields(request.address, "country", "name", "street", "city", "postcode"),
        "fees_cents": request.fees_cents,
        "order_key": request.order_key,
    }
    if request.payment_method:
        content["payment_method"] = request.payment_method
    try:
        return msgspec.convert(content, bodies.NewOrder)
    except msgspec.ValidationError as error:
        raise invalid(error) from None


def _fields(message: Message, *names: str) -> dict[str, object]:
    return {name: getattr(message, name) for name in names}


def _order(order: bodies.Order) -> orders_pb2.Order:
    items = [orders_pb2.Item(**msgspec.structs.asdict(item)) for item in order.items]
    fields = msgspec.structs.asdict(order) | _state(order.state) | {"items": items}
    return orders_pb2.Order(**fields)


def _state(state: OrderState) -> dict[str, Any]:
    return {"state": _STATES[state]}
