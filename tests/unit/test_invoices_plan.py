"""The plan of a file: keys, rounds, points of cancellation, refunds."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill_orders.invoices import CancelPoint, InvoiceFile, plan, read_invoices
from gristmill_orders.invoices.sample import sample_path


@pytest.fixture(scope="module")
def file() -> InvoiceFile:
    return read_invoices(sample_path())


def test_only_what_the_file_undoes_is_cancelled_or_refunded(file: InvoiceFile) -> None:
    orders = plan(file, seed=1)
    assert [order.order_key for order in orders] == [i.number for i in file.invoices]
    cancelled = {order.order_key for order in orders if order.cancel}
    assert cancelled == {entry.undoes for entry in file.cancellations}
    refunds = [(order.order_key, r.number) for order in orders for r in order.refunds]
    assert sorted(refunds) == sorted((r.undoes, r.number) for r in file.refunds)


def test_a_share_adds_cancellations_at_all_points(file: InvoiceFile) -> None:
    some = plan(file, seed=1, cancel_share=0.5)
    points = Counter(order.cancel for order in some)
    assert 120 <= points[None] <= 180
    assert all(points[point] >= 25 for point in CancelPoint)
    assert all(order.cancel for order in plan(file, seed=1, cancel_share=1.0))


def test_a_larger_share_keeps_what_a_smaller_one_cancels(file: InvoiceFile) -> None:
    some, more = plan(file, seed=3, cancel_share=0.1), plan(file, seed=3, cancel_share=0.3)
    assert all(a.cancel is b.cancel for a, b in zip(some, more, strict=True) if a.cancel)


def test_draws_depend_on_seed_and_key_alone(file: InvoiceFile) -> None:
    all_of = {order.order_key: order for order in plan(file, seed=7, cancel_share=0.5, repeat=2)}
    part = msgspec.structs.replace(file, invoices=file.invoices[:50:-1])
    assert all(all_of[o.order_key] == o for o in plan(part, seed=7, cancel_share=0.5))
    other = {o.order_key: o.cancel for o in plan(file, seed=8, cancel_share=0.5)}
    assert any(all_of[key].cancel is not cancel for key, cancel in other.items())


def test_rounds_have_keys_and_draws_of_their_own(file: InvoiceFile) -> None:
    orders = plan(file, seed=1, cancel_share=0.5, repeat=3)
    first, second = orders[:300], orders[300:600]
    assert len({order.order_key for order in orders}) == 900
    assert [o.order_key for o in second] == [f"{o.order_key}#2" for o in first]
    assert [o.invoice for o in second] == [o.invoice for o in first]
    assert [o.cancel for o in second] != [o.cancel for o in first]


def test_a_draw_is_the_same_in_every_process_and_version(file: InvoiceFile) -> None:
    drawn = [(o.order_key, o.cancel) for o in plan(file, seed=1) if o.cancel][:3]
    assert drawn == [
        ("700017", CancelPoint.AFTER_PAYMENT),
        ("700099", CancelPoint.AFTER_PAYMENT),
        ("700151", CancelPoint.AFTER_COMPLETION),
    ]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(file: InvoiceFile, share: float) -> None:
    with pytest.raises(UsageError, match="cancel_share is"):
        plan(file, seed=1, cancel_share=share)


def test_no_rounds_and_keys_that_meet_are_refused(file: InvoiceFile) -> None:
    with pytest.raises(UsageError, match="repeat is 0"):
        plan(file, seed=1, repeat=0)
    twin = msgspec.structs.replace(file.invoices[0], number=f"{file.invoices[0].number}#2")
    both = msgspec.structs.replace(file, invoices=(file.invoices[0], twin))
    with pytest.raises(UsageError, match="stands for two orders"):
        plan(both, seed=1, repeat=2)
