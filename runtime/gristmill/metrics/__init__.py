"""Accounting of time, and the granularity report: how much is compute, how much coordination."""

from __future__ import annotations

from gristmill.metrics.attribution import attributed
from gristmill.metrics.classes import TimeClass
from gristmill.metrics.governor import Governed, Governor
from gristmill.metrics.merging import merge, windows
from gristmill.metrics.meter import Calibration, Meter, calibrate, split
from gristmill.metrics.ratios import Verdict
from gristmill.metrics.report import build_report
from gristmill.metrics.sampling import Sampling
from gristmill.metrics.schema import Report, ReportFormatError, RunInfo, decode, encode, json_schema
from gristmill.metrics.sent import CLIENT, MeteredTable, SentSnapshot, SentTable
from gristmill.metrics.shared_page import CounterPage, CounterPageError
from gristmill.metrics.snapshot import Coordination, TypeSnapshot, WorkerSnapshot
from gristmill.metrics.text import render
from gristmill.metrics.tracker import CoordinationComputeTracker, TrackerSummary
from gristmill.metrics.type_stats import TypeStats

__all__ = [
    "CLIENT",
    "Calibration",
    "Coordination",
    "CoordinationComputeTracker",
    "CounterPage",
    "CounterPageError",
    "Governed",
    "Governor",
    "Meter",
    "MeteredTable",
    "Report",
    "ReportFormatError",
    "RunInfo",
    "Sampling",
    "SentSnapshot",
    "SentTable",
    "TimeClass",
    "TrackerSummary",
    "TypeSnapshot",
    "TypeStats",
    "Verdict",
    "WorkerSnapshot",
    "attributed",
    "build_report",
    "calibrate",
    "decode",
    "encode",
    "json_schema",
    "merge",
    "render",
    "split",
    "windows",
]
