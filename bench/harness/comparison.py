"""The table of all peers: a column for each, a row for each job, and how they compare with us."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report import Result, number

OURS, FLOOR = "gristmill", "raw pyzmq"
LEGEND = f"(Nx): N times slower than {OURS}; -: there is no such thing, or no answer within 10 s"
_RATE = "1/s"


def matrix(results: Sequence[Result]) -> list[list[str]]:
    """Arrange results named ``PEER.JOB``: a heading with the peers, then a row for each job.

    In brackets stands by what factor a peer is slower than we are, whatever the unit; under one it
    is faster.
    """
    cells = by_peer_and_job(results)
    peers = dict.fromkeys(peer for peer, _ in cells)
    jobs = {job: result.unit for (_, job), result in cells.items()}
    rows = [["", *peers]]
    for job, unit in jobs.items():
        ours = cells.get((OURS, job))
        rows.append([f"{job}, {unit}", *(_cell(cells.get((peer, job)), ours) for peer in peers)])
    return rows


def by_peer_and_job(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    """Find each result by the two parts of its name."""
    found = {}
    for result in results:
        peer, _, job = result.name.rpartition(".")
        found[peer, job] = result
    return found


def slower(theirs: Result, ours: Result) -> float:
    """Give by what factor they are slower than we are."""
    if theirs.unit == _RATE:
        return ours.median / theirs.median
    return theirs.median / ours.median


def _cell(theirs: Result | None, ours: Result | None) -> str:
    if theirs is None:
        return "-"
    if ours is None or ours is theirs:
        return number(theirs.median)
    two_digits = float(f"{slower(theirs, ours):.2g}")
    return f"{number(theirs.median)} ({number(two_digits)}x)"
