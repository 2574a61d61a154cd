"""The report as data: the JSON schema ``granularity/1``.

All times are ints in ns. Everything but the ratios adds up, so reports can be merged.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from gristmill.errors import GristmillError
from gristmill.metrics.classes import NAMES
from gristmill.metrics.governor import Governed
from gristmill.metrics.histogram import BUCKETS, SCHEME
from gristmill.metrics.meter import Calibration
from gristmill.metrics.snapshot import Coordination, Kind

SCHEMA: Final = "granularity/1"

Natural = Annotated[int, msgspec.Meta(ge=0)]
ClassTimes = Annotated[
    dict[str, Natural],
    msgspec.Meta(
        description="The time of every time class, in ns.",
        extra_json_schema={"required": list(NAMES), "propertyNames": {"enum": list(NAMES)}},
    ),
]
Buckets = Annotated[
    dict[Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)], Natural],
    msgspec.Meta(
        description="Counts by log-linear bucket; a bucket that is missing holds none.",
        extra_json_schema={"propertyNames": {"pattern": "^[0-9]{1,3}$"}},
    ),
]


class ReportFormatError(GristmillError):
    """A file is no granularity report that this version can read."""

    exit_code = 2


class RunInfo(msgspec.Struct, frozen=True):
    """Which run a report is about."""

    id: str
    t0_unix_ns: int
    """When it began, by the calendar."""
    wall_ns: Natural
    host: str
    cpus: Natural
    """Cores that the run could use."""
    python: str
    runtime_version: str
    git: str | None = None
    """Revision of the user's code."""
    mode: Literal["on", "sampled"] = "on"
    sample_n: Annotated[int, msgspec.Meta(ge=1)] = 1
    """One message in so many was timed."""


class Pop(msgspec.Struct, frozen=True):
    """The POP metrics of the workers; None where no worker computed."""

    lb: float | None
    """Load balance: mean over maximum of compute."""
    comm_e: float
    """Communication efficiency: maximum of compute over wall."""
    pe: float
    """Parallel efficiency: mean of compute over wall."""
    loss: dict[str, float]
    """What the rest of the wall went into; adds up to 1 - ``pe``."""


class Totals(msgspec.Struct, frozen=True):
    """The whole run: times over all processes, messages as handled by the workers."""

    classes: ClassTimes
    messages: Natural
    ratio: float | None
    strict_ratio: float | None
    """With the time in which actors wait for answers counted as coordination."""
    efficiency: float | None
    pop: Pop | None

    def __post_init__(self) -> None:
        _check_names(self.classes)


class WorkerRow(msgspec.Struct, frozen=True):
    """One process."""

    id: str
    pid: int
    kind: Kind
    wall_ns: Natural
    cpu_ns: Natural
    classes: ClassTimes
    transitions: Natural
    probe_ns: Natural
    messages: Natural
    ratio: float | None
    contention: float | None
    """CPU time over busy wall time; below 0.95 others took the core. None: too little to say."""
    untracked_cpu_ns: Natural
    """CPU time of threads that are not metered."""
    complete: bool = True
    """False: it was killed, and this is what it last wrote down."""
    stood_still_ns: Natural = 0
    """The part of ``other`` in which others are known to have had its core."""

    def __post_init__(self) -> None:
        _check_names(self.classes)


class Fit(msgspec.Struct, frozen=True):
    """The cost model of a message: fixed part, and part per item. None where unknown."""

    o_f_ns: float | None = None
    o_v_ns_per_item: float | None = None
    o_v_ns_per_byte: float | None = None
    r2: float | None = None
    """Goodness of the regression; None if the parts are means of the classes."""


class Histograms(msgspec.Struct, frozen=True):
    """Durations in sparse log-linear buckets."""

    compute: Buckets = {}
    mailbox_wait: Buckets = {}
    scheme: Literal["loglin8"] = SCHEME


class Advice(msgspec.Struct, frozen=True):
    """What to change, and what it should bring."""

    rule: int
    text: str
    k_lo: int | None = None
    """Items per message, if the receiver stays awake."""
    k_hi: int | None = None
    """Items per message, if the receiver sleeps between messages."""
    predicted_ratio: float | None = None


class TypeRow(msgspec.Struct, frozen=True):
    """One (actor type, message type), with what it cost at both ends."""

    actor: str
    message: str
    messages: Natural
    items: Natural
    compute_ns: Natural
    coord_ns: Coordination
    ask_wait_ns: Natural
    gc_ns: Natural
    bytes_in: Natural
    bytes_out: Natural
    ratio: float | None
    strict_ratio: float | None
    grain_ns: float | None
    """Compute per message."""
    fit: Fit
    hist: Histograms
    advice: tuple[Advice, ...] = ()
    compute_cpu_ns: Natural | None = None
    batches: Natural = 0
    """Calls of a batch handler that the messages came in; 0: they came one by one."""
    governor: Governed | None = None
    """What the governor of the batches has come to; of several, the one with most messages."""


class Edge(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """Messages from one actor type to another."""

    source: str
    target: str
    messages: Natural
    bytes: Natural
    coord_ns: Natural


class Checks(msgspec.Struct, frozen=True):
    """Whether the figures can be trusted."""

    sum_over_wall: float | None
    """Sum of the classes over wall time, of the process where it is farthest from 1."""
    unattributed_pct: float | None
    """Coordination that belongs to no message type, in percent of busy time."""
    probe_pct: float | None
    """Cost of the accounting, in percent of wall time."""
    contention_ok: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A granularity report."""

    schema: Literal["granularity/1"] = SCHEMA
    run: RunInfo
    calibration: Calibration
    totals: Totals
    workers: tuple[WorkerRow, ...]
    types: tuple[TypeRow, ...]
    checks: Checks
    edges: tuple[Edge, ...] = ()

    def print(self, width: int | None = None) -> None:
        """Print the text report, as wide as the terminal if ``width`` is None."""
        from gristmill.metrics import text  # noqa: PLC0415 - the text is made of this

        print(text.render(self, width or text.terminal_width()))


def _check_names(classes: dict[str, int]) -> None:
    wrong = sorted(classes.keys() ^ set(NAMES))
    if wrong:
        raise ValueError(f"the time classes lack, or must not have, {', '.join(wrong)}")


class _Head(msgspec.Struct):
    schema: str = ""


def encode(report: Report) -> bytes:
    """Give the report as JSON."""
    return msgspec.json.encode(report)


def decode(data: bytes) -> Report:
    """Read a report from JSON.

    Raises:
        ReportFormatError: it is no JSON, another schema, or a field is missing or wrong.
    """
    try:
        schema = msgspec.json.decode(data, type=_Head).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportFormatError(f"this is no {SCHEMA} report: {error}") from None
    if schema != SCHEMA:
        found = f"its schema is {schema!r}" if schema else "it has no schema field"
        raise ReportFormatError(
            f"this is no {SCHEMA} report: {found}; "
            "give a JSON file that a granularity report was saved to"
        )
    try:
        return msgspec.json.decode(data, type=Report)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ReportFormatError(f"this {SCHEMA} report is damaged: {error}") from None


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema of a report; ``granularity-1.schema.json`` beside this module has it."""
    schema = msgspec.json.schema(Report)
    schema["$defs"]["Report"]["required"].insert(0, "schema")  # decode() insists on it
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Granularity report, {SCHEMA}",
        **schema,
    }
