"""The operations of the service API, whatever face they are asked through."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from gristmill.errors import (
    ActorCrashed,
    ActorError,
    AskTimeoutError,
    MailboxFullError,
    NodeError,
    Reject,
)
from gristmill.ulid import crockford, ulid
from gristmill_orders import book
from gristmill_orders import messages as msg
from gristmill_orders.api import bodies
from gristmill_orders.api.problems import ApiError, Kind
from gristmill_orders.app import OrderService
from gristmill_orders.states import OrderState
from gristmill_orders.values import Address, OrderAnswer, OrderItem

TIMEOUT = 5.0
"""Seconds that a request may take if nothing else is said."""
MOST_OPEN = 1000
"""Requests that may be open at once; one more is refused."""
MOST_LISTED = 1000
LONGEST_KEY = 200
_LONGEST_REASON = 500


class Placed(NamedTuple):
    """An order that was accepted; ``new``: by this request and not by an earlier one."""

    order: bodies.Order
    new: bool


class Orders:
    """What clients can do to the orders of a running service. For one event loop.

    Every method raises ApiError, and nothing else, if the request was not carried out.

    Args:
        service: the running service.
        new_id: makes the id of an order that comes without a key.
    """

    def __init__(self, service: OrderService, new_id: Callable[[], str] | None = None) -> None:
        random = Random()
        self._service = service
        self._new_id = new_id or (lambda: ulid(time.time(), random.getrandbits(80)))
        self._open = 0
        self.stopping = False
        """No request is taken in any more."""

    async def place(
        self, order: bodies.NewOrder, key: str = "", timeout: float = TIMEOUT
    ) -> Placed:
        """Place an order; the same key never makes two of them.

        Args:
            order: what is ordered.
            key: the client's idempotency key; without one, each call makes a new order.
            timeout: seconds.
        """
        _check_key(key)
        order_id = _id_of(key) if key else self._new_id()
        with self._request(timeout):
            request = msg.PlaceOrder(_create(order_id, key or order_id, order))
            answer = await self._service.processor(order_id).ask_async(request, timeout=timeout)
        if answer.view is None:
            raise _refused(answer)
        return Placed(bodies.Order.of(answer.view), answer.new)

    async def order(self, order_id: str, timeout: float = TIMEOUT) -> bodies.Order:
        """Describe an order."""
        with self._request(timeout):
            processor = self._service.processor(order_id)
            view = await processor.ask_async(msg.GetOrder(order_id), timeout=timeout)
        return bodies.Order.of(view)

    async def status(self, order_id: str, timeout: float = TIMEOUT) -> bodies.Status:
        """Say where an order stands."""
        with self._request(timeout):
            processor = self._service.processor(order_id)
            state = await processor.ask_async(msg.GetOrderStatus(order_id), timeout=timeout)
        return bodies.Status(order_id, state)

    async def list(
        self, state: str = "", limit: int = 100, timeout: float = TIMEOUT
    ) -> bodies.OrderList:
        """List orders in one state, or in any; those of each processor in order of acceptance."""
        if not 1 <= limit <= MOST_LISTED:
            text = f"limit: it is from 1 to {MOST_LISTED}, not {limit}"
            raise ApiError(Kind.INVALID, text, field="limit")
        query = msg.ListOrders(_state(state), limit)
        with self._request(timeout):
            found = await asyncio.gather(
                *(
                    self._service.actor(name).ask_async(query, timeout=timeout)
                    for name in self._service.processors
                )
            )
        listed = [bodies.ListedOrder.of(summary) for part in found for summary in part]
        return bodies.OrderList(tuple(listed[:limit]))

    async def cancel(
        self, order_id: str, reason: str = "", timeout: float = TIMEOUT
    ) -> bodies.Order:
        """Cancel an order; what was done for it is undone first. Doing it again changes nothing."""
        if len(reason) > _LONGEST_REASON:
            text = f"reason: it has {len(reason)} characters, {_LONGEST_REASON} at most"
            raise ApiError(Kind.INVALID, text, field="reason")
        with self._request(timeout):
            request = msg.WithdrawOrder(msg.CancelOrder(order_id, reason or "the client asked"))
            answer = await self._service.processor(order_id).ask_async(request, timeout=timeout)
        view = answer.view
        assert view is not None, "only an order that is there can be asked to be cancelled"
        if answer.code and view.state is not OrderState.CANCELLED:
            raise ApiError(Kind.TOO_LATE, f"the order is {view.state}: {answer.reason}")
        return bodies.Order.of(view)

    @contextmanager
    def _request(self, timeout: float) -> Iterator[None]:
        """Count a request while it is open, and turn what goes wrong into an ApiError."""
        if self.stopping:
            raise ApiError(Kind.UNAVAILABLE, "the service is stopping")
        if self._open >= MOST_OPEN:
            raise ApiError(Kind.FULL, f"{self._open} requests are open, which is the limit")
        self._open += 1
        try:
            yield
        except Reject as reject:
            if reject.code in {book.UNKNOWN, book.REFUSED}:
                raise ApiError(Kind.NOT_FOUND, reject.reason) from None
            raise ApiError(Kind.TOO_LATE, reject.reason) from None
        except AskTimeoutError:
            text = f"no answer within {timeout:g} s; what was asked may still be done"
            raise ApiError(Kind.LATE, text) from None
        except MailboxFullError:
            raise ApiError(Kind.FULL, "as many messages wait as there may") from None
        except ActorCrashed:
            raise ApiError(Kind.INTERNAL, "the request could not be worked on") from None
        except ActorError:
            raise ApiError(Kind.UNAVAILABLE, "a part of the service is restarting") from None
        except NodeError:
            raise ApiError(Kind.UNAVAILABLE, "the service has stopped") from None
        finally:
            self._open -= 1


def _check_key(key: str) -> None:
    if len(key) > LONGEST_KEY:
        text = f"Idempotency-Key: it has {len(key)} characters, {LONGEST_KEY} at most"
        raise ApiError(Kind.INVALID, text, field="Idempotency-Key")


def _id_of(key: str) -> str:
    """Give the order id of a key, always the same; in the form of a ULID, without its time."""
    digest = hashlib.blake2b(key.encode(), digest_size=16, person=b"gristmill-order").digest()
    return crockford(int.from_bytes(digest))


def _create(order_id: str, key: str, order: bodies.NewOrder) -> msg.CreateOrder:
    items = tuple(
        OrderItem(item.sku, item.description, item.quantity, item.unit_price_cents)
        for item in order.items
    )
    to = order.address
    return msg.CreateOrder(
        order_id,
        order.order_key or order_id,
        order.customer_id,
        items,
        order.fees_cents,
        order.payment_method,
        Address(to.country, to.name, to.street, to.city, to.postcode),
        key,
    )


def _state(text: str) -> OrderState | None:
    try:
        return OrderState(text) if text else None
    except ValueError:
        known = ", ".join(OrderState)
        raise ApiError(Kind.INVALID, f"state: {text!r} is none of {known}", field="state") from None


def _refused(answer: OrderAnswer) -> ApiError:
    kinds = {book.FULL: Kind.FULL, book.KEY_IN_USE: Kind.KEY_IN_USE}
    kind = kinds.get(answer.code, Kind.INVALID)
    field = "Idempotency-Key" if kind is Kind.KEY_IN_USE else ""
    return ApiError(kind, answer.reason, field=field)
