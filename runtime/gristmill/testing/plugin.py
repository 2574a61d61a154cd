"""The pytest plugin: ``@pytest.mark.granularity(min=10)``.

A test with this marker fails if the nodes that it used did not reach the ratio: those that it
stopped, and those that it got from fixtures, of which only the time of the test counts.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest

T = TypeVar("T")

_MARKER = (
    "granularity(min=10, types={}, strict=False, min_messages=30, allow_contended=False): "
    "fail unless the nodes of the test reach this ratio of compute to coordination; types gives "
    "least ratios by name, as {'Pricer.GetQuote': 100}."
)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, T, T]:
    """Watch the nodes of a marked test, and judge them if it has passed."""
    marker = item.get_closest_marker("granularity")
    if marker is None:
        return (yield)
    from gristmill.metrics import render  # noqa: PLC0415 - only marked tests need it
    from gristmill.metrics.gate import Outcome, check  # noqa: PLC0415 - only marked tests need it
    from gristmill.node.node import Node  # noqa: PLC0415 - only marked tests need it
    from gristmill.testing import granularity  # noqa: PLC0415 - only marked tests need it

    fixtures = getattr(item, "funcargs", {}).values()
    limits = granularity.limits_of(marker.args, marker.kwargs)
    with granularity.watched(v for v in fixtures if isinstance(v, Node)) as reports:
        result = yield
    whole = granularity.whole_of(reports)
    checked = check([whole], limits)
    if checked.outcome is not Outcome.PASSED:
        item.add_report_section("call", "granularity", render(whole))
        pytest.fail(checked.verdict, pytrace=False)
    return result
