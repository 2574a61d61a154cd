"""A carrier over HTTP: ``POST /labels`` once per key, and ``GET /labels?key=``."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from gristmill_orders.externals.carriers import LabelRequest
from gristmill_orders.externals.faults import ExternalError
from gristmill_orders.externals.http import HttpExternal, Refusal
from gristmill_orders.ledger import Label


class LabelBody(msgspec.Struct, frozen=True):
    """What ``POST /labels`` sends. The key in the header is the label key."""

    order_id: str
    service: str
    cost_cents: int


class MadeLabel(msgspec.Struct, frozen=True):
    """What both answer."""

    order_id: str
    service: str
    tracking_number: str
    cost_cents: int


class HttpCarrier:
    """A :class:`~gristmill_orders.externals.carriers.Carrier` over HTTP."""

    def __init__(self, http: HttpExternal) -> None:
        self._http = http

    async def make_label(self, request: LabelRequest) -> Label:
        """Make a label, once per label key.

        Raises:
            ExternalError: there was no answer, or a refusal.
        """
        body = LabelBody(request.order_id, request.service, request.cost_cents)
        answer = await self._http.post("labels", request.label_key, body, MadeLabel)
        if isinstance(answer, Refusal):
            raise ExternalError(f"{self._http.name} answered {answer.status}: {answer.reason}")
        if answer.order_id != request.order_id:
            text = f"{self._http.name} made a label for another order, {answer.order_id!r}"
            raise ExternalError(text, uncertain=True)
        return self._label(request.label_key, answer)

    async def find_label(self, label_key: str) -> Label | None:
        """Look a label up in the carrier's records.

        Raises:
            ExternalError: there was no answer.
        """
        found = await self._http.get(f"labels?key={quote(label_key, safe='')}", MadeLabel)
        return None if found is None else self._label(label_key, found)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _label(self, key: str, made: MadeLabel) -> Label:
        return Label(
            f"{self._http.name}/{key}",
            made.order_id,
            self._http.name,
            made.service,
            made.tracking_number,
            made.cost_cents,
        )
