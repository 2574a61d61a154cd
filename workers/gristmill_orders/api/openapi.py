"""The OpenAPI document of the HTTP face, made from the types that requests are checked against."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from gristmill_orders.api.bodies import NewOrder, Order, OrderList, Status
from gristmill_orders.api.operations import LONGEST_KEY, MOST_LISTED
from gristmill_orders.api.problems import Problem
from gristmill_orders.states import OrderState

_ID = {"name": "order_id", "in": "path", "required": True, "schema": {"type": "string"}}


@cache
def openapi() -> bytes:
    """Give the document, as JSON."""
    (new, order, listed, status, problem), schemas = msgspec.json.schema_components(
        (NewOrder, Order, OrderList, Status, Problem), ref_template="#/components/schemas/{name}"
    )

    def answers(ok: dict[str, Any], *problems: int) -> dict[str, Any]:
        return ok | {
            str(number): _answer(_PROBLEMS[number], problem, "application/problem+json")
            for number in (*problems, 503)
        }

    def one(text: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"200": _answer(text, schema)}

    accepted = {
        "201": _answer("The order was accepted.", order),
        "200": _answer("The order of this key, accepted before.", order),
    }
    cancelled = {
        "200": _answer("The order is cancelled.", order),
        "202": _answer("What was done for the order is being undone.", order),
    }
    place = {
        "operationId": "placeOrder",
        "summary": "Place an order; the same key never makes two of them.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "maxLength": LONGEST_KEY},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": new}}},
        "responses": answers(accepted, 400, 413, 415, 422),
    }
    listing = {
        "operationId": "listOrders",
        "summary": "List orders; those of each processor in order of acceptance.",
        "parameters": [
            _query("state", {"type": "string", "enum": list(OrderState)}),
            _query(
                "limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": 100}
            ),
        ],
        "responses": answers(one("The orders.", listed), 422),
    }
    get = {
        "operationId": "getOrder",
        "summary": "Describe an order.",
        "responses": answers(one("The order.", order), 404),
    }
    cancel = {
        "operationId": "cancelOrder",
        "summary": "Cancel an order that is not yet shipped; again: nothing changes.",
        "parameters": [_query("reason", {"type": "string", "maxLength": 500})],
        "responses": answers(cancelled, 404, 409, 422),
    }
    state = {
        "operationId": "getOrderStatus",
        "summary": "Say where an order stands.",
        "responses": answers(one("Its state.", status), 404),
    }
    health = {
        "operationId": "health",
        "summary": "Whether requests are taken in.",
        "responses": {"200": {"description": "They are."}, "503": {"description": "Not now."}},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "gristmill orders", "version": "1"},
        "paths": {
            "/orders": {"post": place, "get": listing},
            "/orders/{order_id}": {"parameters": [_ID], "get": get, "delete": cancel},
            "/orders/{order_id}/status": {"parameters": [_ID], "get": state},
            "/health": {"get": health},
        },
        "components": {"schemas": schemas},
    }
    return msgspec.json.encode(document)


_PROBLEMS = {
    400: "The body is no JSON.",
    404: "There is no such order.",
    409: "The order can't be cancelled any more.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "A field is wrong, which `field` names; or the key belongs to another order.",
    503: "Too much is open, no answer came in time, or a part restarts: see Retry-After.",
}


def _answer(text: str, schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema}}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
