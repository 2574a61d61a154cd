"""The fraud score: the ensemble against a slow reference, and features that mean something."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gristmill.errors import UsageError
from gristmill_orders.compute.fraud import (
    FEATURES,
    FraudModel,
    OrderFacts,
    features_of,
    is_refused,
)

MODEL = FraudModel.seeded(7)
ORDER = OrderFacts("17850", "card", "United Kingdom", ("A", "B"), (6, 12), (255, 339), 0)
RISKY = OrderFacts("", "voucher", "Bahrain", ("A",), (800,), (9_999,), 0)


def reference_score(model: FraudModel, row: list[float]) -> float:
    margin = 0.0
    for feature, threshold, leaf in zip(model.feature, model.threshold, model.leaf, strict=True):
        node = 0
        while node < 15:
            node = 2 * node + (2 if row[feature[node]] > threshold[node] else 1)
        margin += float(leaf[node - 15])
    return 0.5 + 0.5 * (margin / (1.0 + abs(margin)))


def test_the_model_has_the_fixed_size() -> None:
    assert MODEL.feature.shape == MODEL.threshold.shape == (200, 15)
    assert MODEL.leaf.shape == (200, 16)
    assert len(FEATURES) == 40
    assert set(np.unique(MODEL.feature)) == set(range(40))


def test_scores_agree_exactly_with_the_reference() -> None:
    rows = np.random.default_rng(1).random((64, 40))
    rows[0] = MODEL.threshold.flat[0]  # a feature on a threshold goes left
    assert MODEL.score(rows).tolist() == [reference_score(MODEL, row) for row in rows.tolist()]


def test_a_batch_scores_as_its_rows_do() -> None:
    rows = np.random.default_rng(2).random((20, 40))
    alone = [float(MODEL.score(row[None])[0]) for row in rows]
    assert MODEL.score(rows).tolist() == alone
    assert MODEL.score(rows[:0]).shape == (0,)


def test_one_seed_one_model() -> None:
    again, other = FraudModel.seeded(7), FraudModel.seeded(8)
    rows = np.random.default_rng(3).random((20, 40))
    assert again.score(rows).tolist() == MODEL.score(rows).tolist()
    assert other.score(rows).tolist() != MODEL.score(rows).tolist()


def test_the_score_tells_risky_orders_from_usual_ones() -> None:
    for seed in range(5):
        model = FraudModel.seeded(seed)
        usual, risky = model.score(np.array([features_of(ORDER), features_of(RISKY)]))
        assert 0 <= usual < 0.5 < risky < 1


def test_the_default_threshold_refuses_nobody() -> None:
    (score,) = MODEL.score(features_of(RISKY)[None])
    assert not is_refused(float(score))
    assert is_refused(float(score), threshold=0.5)
    assert not is_refused(math.nextafter(1.0, 0.0))


def test_features_are_named_and_say_what_they_mean() -> None:
    facts = dict(zip(FEATURES, features_of(ORDER).tolist(), strict=True))
    assert all(0 <= value <= 1 for value in facts.values())
    assert facts["guest"] == 0
    assert facts["pays_by_card"] == facts["ships_home"] == facts["customer_id_is_numeric"] == 1
    assert facts["dozen_lines"] == 0.5
    assert facts["top_line_share"] == 12 * 339 / (6 * 255 + 12 * 339)
    risky = dict(zip(FEATURES, features_of(RISKY).tolist(), strict=True))
    assert risky["guest"] == risky["ships_overseas"] == risky["single_line"] == 1
    assert risky["amount"] > facts["amount"]
    assert features_of(OrderFacts("guest", "card", "", ("A",), (1,), (1,)))[0] == 1


@pytest.mark.parametrize(
    "order",
    [
        OrderFacts("1", "card", "Spain", (), (), ()),
        OrderFacts("1", "card", "Spain", ("A", "B"), (1,), (100, 100)),
    ],
)
def test_an_order_without_whole_lines_is_refused(order: OrderFacts) -> None:
    with pytest.raises(UsageError, match="at least one line"):
        features_of(order)


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(n, 40\)"):
        MODEL.score(np.zeros(40))
