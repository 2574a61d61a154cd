"""A payment gateway and carriers behind a real HTTP server, which misbehaves by a seeded plan.

It keeps the same ledger as the simulated externals, so that an audit can hold a run against it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gristmill_orders import messages as msg
from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.externals.carriers import LabelRequest, SimulatedCarrier
from gristmill_orders.externals.faults import FaultPlan, draw
from gristmill_orders.externals.gateway import CardRefusedError, GatewayPlan, SimulatedGateway
from gristmill_orders.externals.http_carrier import LabelBody, MadeLabel
from gristmill_orders.externals.http_gateway import Amount, ChargeBody, RefundBody
from gristmill_orders.ledger import Label, Ledger

GATEWAY = "gateway"
DONE = ("error after", "no JSON", "wrong types", "cut off", "slow")
"""Ways to misbehave after the request was carried out."""
NOT_DONE = ("error before", "unavailable", "busy")
WAYS = (*NOT_DONE, *DONE)


class Misbehaviour(msgspec.Struct, frozen=True):
    """What goes wrong: ``share`` of the requests, each in one of ``ways``, by the seed."""

    share: float = 0.0
    ways: tuple[str, ...] = WAYS
    slow_seconds: float = 0.6

    def of(self, seed: int, *what: object) -> str:
        if draw(seed, "goes wrong", *what) >= self.share:
            return ""
        return self.ways[int(draw(seed, "how", *what) * len(self.ways))]


class _Cut(Response):
    """An answer whose connection ends in the middle of it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"cents":', "more_body": True})


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = msgspec.json.encode(value)
    return Response(content, status, headers, media_type="application/json")


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"detail": detail}, status, headers)


class ExternalsServer:
    """Serves from a thread of its own, inside a ``with`` block.

    Args:
        folder: the folder of the ledgers, as of ``World.ledger``.
        seed: fixes who misbehaves when.
        plan: how each external misbehaves, by name; ``gateway`` is one, the carriers the others.
        refused_share: the share of cards that are refused.
    """

    def __init__(
        self,
        folder: Path,
        seed: int = 0,
        plan: Mapping[str, Misbehaviour] | None = None,
        refused_share: float = 0.0,
    ) -> None:
        self._folder, self._seed = folder, seed
        self.plan = dict(plan or {})
        self._cards = GatewayPlan(0.0, refused_share=refused_share)
        self.requests: Counter[str] = Counter()
        """How many requests each external got."""
        self.seen: Counter[tuple[str, str]] = Counter()
        """How often each key was used at an external."""
        self.failing: set[str] = set()
        """Externals that answer everything with 500."""
        self.closed_for: dict[str, int] = {}
        """How many requests each external answers with 503, before it works."""

    @property
    def gateway_url(self) -> str:
        return f"{self.url}/{GATEWAY}"

    @property
    def carrier_urls(self) -> dict[str, str]:
        return {t.name: f"{self.url}/carriers/{t.name.replace(' ', '-')}" for t in CARRIERS}

    def __enter__(self) -> Self:
        gateway_books, carrier_books = (
            Ledger(self._folder / name) for name in ("gateway.jsonl", "carriers.jsonl")
        )
        self._books = (gateway_books, carrier_books)
        world: dict[str, Any] = {"clock": lambda: 0.0, "sleep": asyncio.sleep}
        self._gateway = SimulatedGateway(self._seed, gateway_books, self._cards, **world)
        self._carriers = {
            t.name: SimulatedCarrier(t.name, self._seed, carrier_books, FaultPlan(0.0), **world)
            for t in CARRIERS
        }
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        routes = [
            Route(f"/{GATEWAY}/charges", self._charge, methods=["POST"]),
            Route(f"/{GATEWAY}/refunds", self._refund, methods=["POST"]),
            Route("/carriers/{name}/labels", self._label, methods=["POST"]),
            Route("/carriers/{name}/labels", self._look_up, methods=["GET"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_level="critical",
            lifespan="off",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()
        for book in self._books:
            book.close()

    async def _charge(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=ChargeBody)
        key = request.headers["Idempotency-Key"]

        async def charge() -> Response:
            payment = msg.ProcessPayment(
                body.order_id, key, 1, body.cents, body.payment_method, body.customer_id, (), ""
            )
            try:
                return _json(Amount(await self._gateway.charge(payment)))
            except CardRefusedError as error:
                return problem(422 if "another payment" in str(error) else 402, str(error))

        return await self._serve(GATEWAY, key, charge)

    async def _refund(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=RefundBody)
        key = request.headers["Idempotency-Key"]

        async def refund() -> Response:
            command = msg.RefundPayment(body.order_id, body.charge_key, key, 1, body.cents)
            return _json(Amount(await self._gateway.refund(command)))

        return await self._serve(GATEWAY, key, refund)

    async def _label(self, request: Request) -> Response:
        name = request.path_params["name"].replace("-", " ")
        body = msgspec.json.decode(await request.body(), type=LabelBody)
        key = request.headers["Idempotency-Key"]

        async def make() -> Response:
            wanted = LabelRequest(body.order_id, key, name, body.service, body.cost_cents)
            return _made(await self._carriers[name].make_label(wanted))

        return await self._serve(name, key, make)

    async def _look_up(self, request: Request) -> Response:
        name = request.path_params["name"].replace("-", " ")
        self.requests[f"{name}, look-ups"] += 1
        if name in self.failing:
            return problem(500, "out of order")
        label = await self._carriers[name].find_label(request.query_params["key"])
        return problem(404, "no such label") if label is None else _made(label)

    async def _serve(self, name: str, key: str, do: Callable[[], Awaitable[Response]]) -> Response:
        self.requests[name] += 1
        self.seen[name, key] += 1
        if name in self.failing:
            return problem(500, "out of order")
        if self.requests[name] <= self.closed_for.get(name, 0):
            return problem(503, "closed for a while")
        plan = self.plan.get(name, _WELL)
        way = plan.of(self._seed, name, key, self.seen[name, key])
        match way:
            case "error before":
                return problem(500, "before anything was done")
            case "unavailable":
                return problem(503, "closed", {"Retry-After": "0"})
            case "busy":
                return problem(429, "too many requests", {"Retry-After": "0"})
        done = await do()
        match way:
            case "error after":
                return problem(502, "done, but who knows")
            case "no JSON":
                return Response("<html>", media_type="text/html")
            case "wrong types":
                return _json({"cents": "many", "order_id": 7})
            case "cut off":
                return _Cut()
            case "slow":
                await asyncio.sleep(plan.slow_seconds)
        return done


_WELL = Misbehaviour()


def _made(label: Label) -> Response:
    return _json(MadeLabel(label.order_id, label.service, label.tracking_number, label.cost_cents))


def unused_url() -> str:
    """Give an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
