"""Faces of granularity reports: a page of charts, traces, Prometheus metrics, results for CI."""

from __future__ import annotations

from gristmill.reporting.page import page
from gristmill.reporting.prometheus import exposition
from gristmill.reporting.results import badge, junit, markdown
from gristmill.reporting.slices import MessageTrace
from gristmill.reporting.trace import trace

__all__ = ["MessageTrace", "badge", "exposition", "junit", "markdown", "page", "trace"]
