"""What a report says of types whose messages are handled in batches."""

from __future__ import annotations

from typing import Final

from gristmill.metrics.governor import Governed, Limit
from gristmill.metrics.ratios import quotient
from gristmill.metrics.schema import TypeRow
from gristmill.metrics.units import duration, multiple

HEAD: Final = (
    "BATCHES", "calls", "mean", "size", "stands at", "waits", "measured", "predicted", "target"
)  # fmt: skip
"""The columns: calls of the handler; messages of one call, on average and at most; why not more."""
ALIGNS: Final = "<>>><>>>>"


def cells(row: TypeRow) -> tuple[str, ...]:
    """Give what stands behind the name of a batched type."""
    mean = quotient(row.messages, row.batches)
    first = (f"{row.batches:,}", "-" if mean is None else f"{mean:.1f}")
    found = row.governor
    if found is None:
        return (*first, "-", "fixed", "-", "-", "-", "-")
    return (
        *first,
        f"{found.size:,}",
        found.limit.value,
        duration(found.wait_ns) if found.waits else "no",
        multiple(found.ratio),
        multiple(found.predicted_ratio),
        multiple(found.target),
    )


def why(found: Governed) -> str:
    """Say why a governor has not reached its target, and what would help; empty if it has."""
    if found.ratio is None or found.ratio >= found.target:
        return ""
    bound, wanted = duration(found.wait_ns), f"{found.wanted:,}"
    match found.limit:
        case Limit.PAYLOAD:
            return (
                f"batches of {found.size:,} save what batches can; each message costs too much "
                "for what it computes: let one message ask for more, or shrink its payload"
            )
        case Limit.LATENCY:
            return (
                f"{found.size:,} messages fit into the bound of {bound} and it takes {wanted}: "
                "raise batch_wait"
            )
        case Limit.FILL:
            return (
                f"it takes batches of {wanted} and no more than {found.size:,} messages come "
                f"within {bound}: raise batch_wait, or have more under way"
            )
        case Limit.MAILBOX:
            return f"it takes batches of {wanted} and the mailbox holds {found.size:,}: enlarge it"
    return ""
