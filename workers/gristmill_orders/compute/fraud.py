"""Scores an order for fraud: a gradient-boosted ensemble of 200 depth-4 trees over 40 features.

The model is made from a seed and not learned: the project has no labelled frauds. Its splits and
leaves follow a known direction of risk for each feature, so the score rises with the usual signs.
All of its arithmetic is exact or correctly rounded, so a score is the same on every machine.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gristmill.errors import UsageError
from gristmill_orders.compute.zones import Zone, zone_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TREES: Final = 200
DEPTH: Final = 4
NODES: Final = 2**DEPTH - 1
LEAVES: Final = 2**DEPTH
DEFAULT_THRESHOLD: Final = 1.0
"""The score from which on an order is refused. No score reaches 1, so this refuses nobody."""

_LEAF_UNIT: Final = 2.0**-20
"""Leaves are multiples of this, so that their sum is exact in any order."""

_RISKS: Final[dict[str, float]] = {
    "guest": 1.5,
    "customer_id_is_numeric": -0.5,
    "pays_by_card": 0.4,
    "pays_by_wallet": 0.2,
    "pays_by_transfer": -0.8,
    "pays_on_invoice": -0.6,
    "pays_by_voucher": 1.2,
    "pays_otherwise": 0.8,
    "ships_home": -0.8,
    "ships_near": 0.0,
    "ships_to_europe": 0.3,
    "ships_overseas": 1.2,
    "amount": 1.0,
    "amount_is_round": 0.5,
    "amount_per_line": 0.8,
    "amount_per_unit": 0.6,
    "fees": -0.2,
    "fee_share": -0.1,
    "lines": -0.6,
    "single_line": 0.7,
    "units": 0.5,
    "units_per_line": 0.5,
    "largest_quantity": 0.7,
    "median_quantity": 0.2,
    "quantity_spread": 0.3,
    "single_unit_lines": 0.2,
    "dozen_lines": -0.4,
    "bulk_lines": 0.4,
    "largest_price": 0.8,
    "smallest_price": 0.3,
    "median_price": 0.4,
    "price_spread": 0.2,
    "dear_lines": 0.9,
    "usual_price_endings": -0.3,
    "top_line_share": 0.6,
    "concentration": 0.5,
    "repeated_skus": 0.3,
    "lettered_skus": 0.1,
    "guest_amount": 1.0,
    "overseas_amount": 1.0,
}
FEATURES: Final = tuple(_RISKS)
"""The names of the 40 features, in order. Each lies in [0, 1]."""

_METHODS: Final = ("card", "wallet", "transfer", "invoice", "voucher")


class OrderFacts(msgspec.Struct, frozen=True):
    """What is known of an order when it is to be paid. One SKU, quantity and price a line."""

    customer_id: str
    """Empty or ``guest`` for a guest."""
    payment_method: str
    country: str
    skus: tuple[str, ...]
    quantities: tuple[int, ...]
    unit_prices_cents: tuple[int, ...]
    fees_cents: int = 0


def features_of(order: OrderFacts) -> Floats:
    """Give the 40 features of an order, named by :data:`FEATURES`.

    Raises:
        UsageError: the order has no lines, or its lines are not of one length.
    """
    lines = len(order.skus)
    if not lines or len(order.quantities) != lines or len(order.unit_prices_cents) != lines:
        raise UsageError(
            "an order to score needs at least one line, and a SKU, a quantity and a price for each"
        )
    amounts = [q * p for q, p in zip(order.quantities, order.unit_prices_cents, strict=True)]
    goods = sum(amounts)
    features = (
        _customer_and_way(order, goods)
        | _sums(order, goods)
        | _quantities(order.quantities)
        | _prices(order.unit_prices_cents)
        | _mixture(order.skus, amounts, goods)
    )
    return np.array([features[name] for name in FEATURES])


def _customer_and_way(order: OrderFacts, goods: int) -> dict[str, float]:
    guest = order.customer_id in {"", "guest"}
    method, zone = order.payment_method, zone_of(order.country)
    amount = _scaled(goods, 1_000_000)
    return {
        "guest": float(guest),
        "customer_id_is_numeric": float(order.customer_id.isdecimal()),
        "pays_by_card": float(method == "card"),
        "pays_by_wallet": float(method == "wallet"),
        "pays_by_transfer": float(method == "transfer"),
        "pays_on_invoice": float(method == "invoice"),
        "pays_by_voucher": float(method == "voucher"),
        "pays_otherwise": float(method not in _METHODS),
        "ships_home": float(zone is Zone.HOME),
        "ships_near": float(zone is Zone.NEAR),
        "ships_to_europe": float(zone in {Zone.EUROPE, Zone.OUTER_EUROPE}),
        "ships_overseas": float(zone is Zone.WORLD),
        "guest_amount": guest * amount,
        "overseas_amount": (zone is Zone.WORLD) * amount,
    }


def _sums(order: OrderFacts, goods: int) -> dict[str, float]:
    lines, units, total = len(order.skus), sum(order.quantities), goods + order.fees_cents
    return {
        "amount": _scaled(goods, 1_000_000),
        "amount_is_round": float(total % 100 == 0),
        "amount_per_line": _scaled(goods / lines, 100_000),
        "amount_per_unit": _scaled(goods / max(units, 1), 20_000),
        "fees": _scaled(order.fees_cents, 50_000),
        "fee_share": order.fees_cents / max(total, 1),
        "lines": _scaled(lines, 500),
        "single_line": float(lines == 1),
        "units": _scaled(units, 10_000),
        "units_per_line": _scaled(units / lines, 2_000),
    }


def _quantities(quantities: Sequence[int]) -> dict[str, float]:
    lines, largest = len(quantities), max(quantities)
    return {
        "largest_quantity": _scaled(largest, 5_000),
        "median_quantity": _scaled(statistics.median(quantities), 1_000),
        "quantity_spread": (largest - min(quantities)) / max(largest, 1),
        "single_unit_lines": sum(q == 1 for q in quantities) / lines,
        "dozen_lines": sum(q % 12 == 0 for q in quantities) / lines,
        "bulk_lines": sum(q >= 48 for q in quantities) / lines,
    }


def _prices(prices: Sequence[int]) -> dict[str, float]:
    lines, largest, smallest = len(prices), max(prices), min(prices)
    return {
        "largest_price": _scaled(largest, 50_000),
        "smallest_price": _scaled(smallest, 10_000),
        "median_price": _scaled(statistics.median(prices), 20_000),
        "price_spread": (largest - smallest) / max(largest, 1),
        "dear_lines": sum(p >= 2_000 for p in prices) / lines,
        "usual_price_endings": sum(p % 10 in {5, 9} for p in prices) / lines,
    }


def _mixture(skus: Sequence[str], amounts: Sequence[int], goods: int) -> dict[str, float]:
    lines, total = len(skus), max(goods, 1)
    return {
        "top_line_share": max(amounts) / total,
        "concentration": sum(amount * amount for amount in amounts) / (total * total),
        "repeated_skus": 1 - len(set(skus)) / lines,
        "lettered_skus": sum(not sku.isdecimal() for sku in skus) / lines,
    }


def _scaled(value: float, ceiling: float) -> float:
    """Map 0..ceiling to 0..1 by orders of magnitude: the octave, and linear within it."""
    mantissa, exponent = math.frexp(max(value, 0.0) + 1.0)
    top_mantissa, top_exponent = math.frexp(ceiling + 1.0)
    return min(1.0, (exponent + 2 * mantissa - 2) / (top_exponent + 2 * top_mantissa - 2))


class FraudModel:
    """An ensemble of complete binary trees, held as arrays and evaluated level by level.

    Node ``i`` of a tree has the children ``2i + 1`` (feature <= threshold) and ``2i + 2``.

    Attributes:
        feature: (200, 15), the feature that a node splits on.
        threshold: (200, 15), the value that it is split at.
        leaf: (200, 16), what a leaf adds to the margin.
    """

    def __init__(self, feature: Ints, threshold: Floats, leaf: Floats) -> None:
        self.feature = feature
        self.threshold = threshold
        self.leaf = leaf
        trees = np.arange(TREES)
        self._node_base: Ints = trees * NODES
        self._leaf_base: Ints = trees * LEAVES - NODES

    @classmethod
    def seeded(cls, seed: int) -> FraudModel:
        """Make the model of ``seed``; a process does it once."""
        rng = random.Random(seed)
        risks = [_RISKS[name] for name in FEATURES]
        feature = [[rng.randrange(len(FEATURES)) for _ in range(NODES)] for _ in range(TREES)]
        threshold = [[rng.uniform(0.05, 0.95) for _ in range(NODES)] for _ in range(TREES)]
        leaf = [[_leaf(nodes, index, risks, rng) for index in range(LEAVES)] for nodes in feature]
        return cls(np.array(feature), np.array(threshold), np.array(leaf))

    def score(self, features: Floats) -> Floats:
        """Score orders for fraud.

        Args:
            features: (n, 40), one row an order.

        Returns:
            (n,) scores in [0, 1), 0.5 being neutral.

        Raises:
            UsageError: the array has another shape.
        """
        if features.ndim != 2 or features.shape[1] != len(FEATURES):
            raise UsageError(
                f"features have shape {features.shape}, but must have (n, {len(FEATURES)})"
            )
        rows = np.arange(len(features))[:, None]
        split, at = self.feature.ravel(), self.threshold.ravel()
        node: Ints = np.zeros((len(features), TREES), dtype=np.int64)
        for _ in range(DEPTH):
            position = node + self._node_base
            right = features[rows, split[position]] > at[position]
            node = 2 * node + 1 + right
        return squash(self.leaf.ravel()[node + self._leaf_base].sum(axis=1))


def squash(margin: Floats) -> Floats:
    """Map margins to (0, 1) by a softsign, which unlike exp is rounded alike on every machine."""
    squashed: Floats = 0.5 + 0.5 * (margin / (1.0 + np.abs(margin)))
    return squashed


def is_refused(score: float, threshold: float = DEFAULT_THRESHOLD) -> bool:
    """Tell whether a score is high enough for the order to be refused."""
    return score >= threshold


def _leaf(nodes: Sequence[int], leaf: int, risks: Sequence[float], rng: random.Random) -> float:
    """Add up the risk along the path to a leaf, with some noise, in units that sum exactly."""
    value, node = rng.uniform(-0.2, 0.2), 0
    for level in reversed(range(DEPTH)):
        right = leaf >> level & 1
        value += risks[nodes[node]] * (1.0 if right else -1.0)
        node = 2 * node + 1 + right
    return round(value / TREES / _LEAF_UNIT) * _LEAF_UNIT
