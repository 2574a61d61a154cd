"""The service API as HTTP/JSON. Errors are problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gristmill_orders.api.bodies import NewOrder
from gristmill_orders.api.openapi import openapi
from gristmill_orders.api.operations import Orders
from gristmill_orders.api.problems import ApiError, Kind, Problem, invalid
from gristmill_orders.states import OrderState

LARGEST_BODY = 1 << 20
"""Bytes of a request's body."""
KEY_HEADER = "Idempotency-Key"

_log = logging.getLogger("gristmill.orders.api")
_KINDS = {404: Kind.NOT_FOUND, 405: Kind.NO_METHOD}


def http_app(orders: Orders) -> Starlette:
    """Make the application, for any ASGI server."""
    face = _Face(orders)
    return Starlette(
        routes=[
            Route("/orders", face.place, methods=["POST"]),
            Route("/orders", face.list, methods=["GET"]),
            Route("/orders/{order_id}", face.order, methods=["GET"]),
            Route("/orders/{order_id}", face.cancel, methods=["DELETE"]),
            Route("/orders/{order_id}/status", face.status, methods=["GET"]),
            Route("/health", face.health, methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
        ],
        exception_handlers={
            ApiError: _on_api_error,
            HTTPException: _on_http_error,
            Exception: _on_bug,
        },
    )


class _Face:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def place(self, request: Request) -> Response:
        order = _decode(await _body(request))
        placed = await self._orders.place(order, request.headers.get(KEY_HEADER, ""))
        location = {"Location": f"/orders/{placed.order.order_id}"}
        return _json(placed.order, 201 if placed.new else 200, location)

    async def list(self, request: Request) -> Response:
        query = request.query_params
        limit = query.get("limit", "100")
        if not (limit.isascii() and limit.isdecimal()):
            raise ApiError(Kind.INVALID, f"limit: {limit!r} is no number", field="limit")
        return _json(await self._orders.list(query.get("state", ""), int(limit)))

    async def order(self, request: Request) -> Response:
        return _json(await self._orders.order(request.path_params["order_id"]))

    async def status(self, request: Request) -> Response:
        return _json(await self._orders.status(request.path_params["order_id"]))

    async def cancel(self, request: Request) -> Response:
        reason = request.query_params.get("reason", "")
        order = await self._orders.cancel(request.path_params["order_id"], reason)
        return _json(order, 200 if order.state is OrderState.CANCELLED else 202)

    async def health(self, request: Request) -> Response:
        del request
        if self._orders.stopping:
            raise ApiError(Kind.UNAVAILABLE, "the service is stopping")
        return _json({"status": "serving"})


async def _openapi(request: Request) -> Response:
    del request
    return Response(openapi(), media_type="application/json")


async def _body(request: Request) -> bytes:
    kind = request.headers.get("Content-Type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise ApiError(Kind.NO_JSON, f"the body is {kind!r}; send application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise ApiError(Kind.TOO_LARGE, f"the body has more than {LARGEST_BODY} bytes")
    return bytes(body)


def _decode(body: bytes) -> NewOrder:
    try:
        return msgspec.json.decode(body, type=NewOrder)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(Kind.MALFORMED, f"the body is no JSON: {error}") from None


def _json(
    value: object,
    status: int = 200,
    headers: dict[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type)


def _problem(error: ApiError) -> Response:
    after = error.kind.retry_after
    headers = {} if after is None else {"Retry-After": str(after)}
    problem = Problem.of(error)
    return _json(problem, problem.status, headers, "application/problem+json")


async def _on_api_error(request: Request, error: Any) -> Response:  # noqa: ANN401 - starlette's
    del request
    return _problem(error)


async def _on_http_error(request: Request, error: Any) -> Response:  # noqa: ANN401 - starlette's
    kind = _KINDS.get(error.status_code, Kind.MALFORMED)
    answer = _problem(ApiError(kind, f"{request.method} {request.url.path}: {error.detail}"))
    answer.headers.update(error.headers or {})
    return answer


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _problem(ApiError(Kind.INTERNAL, "the request could not be worked on"))
