"""What a check found, for CI: Markdown, JUnit XML and a badge."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec

from gristmill.metrics.gate import Checked, Finding, Outcome
from gristmill.metrics.units import multiple

_BADGES = {
    Outcome.PASSED: "brightgreen",
    Outcome.BELOW: "red",
    Outcome.UNTRUSTWORTHY: "lightgrey",
}


def markdown(checked: Checked) -> str:
    """Write a check as a Markdown table under its verdict."""
    rows = "".join(
        f"| {'ok' if found.passed else '**below**'} | {_cell(found.name)} | "
        f"{multiple(found.ratio)} | {multiple(found.needed)} | {_cell(found.source)} | "
        f"{found.messages:,} |\n"
        for found in checked.findings
    )
    return (
        f"**Granularity** {_cell(checked.verdict)}\n\n"
        "| | what | compute/coordinate | needs | because of | messages |\n"
        f"|---|---|--:|--:|---|--:|\n{rows}"
    )


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def junit(checked: Checked) -> str:
    """Write a check as JUnit XML: a case for each ratio; doubts are errors of a case of theirs."""
    failures = [found for found in checked.findings if not found.passed]
    suite = ET.Element(
        "testsuite",
        name="granularity",
        tests=str(len(checked.findings) + 1),
        failures=str(len(failures)),
        errors=str(int(bool(checked.doubts))),
    )
    trust = ET.SubElement(suite, "testcase", classname="granularity", name="trustworthy")
    if checked.doubts:
        ET.SubElement(trust, "error", message="; ".join(checked.doubts))
    for found in checked.findings:
        _case(suite, found)
    ET.indent(suite)
    return f"{ET.tostring(suite, encoding='unicode', xml_declaration=True)}\n"


def _case(suite: ET.Element, found: Finding) -> None:
    name = f"{found.name} ({found.source})"
    case = ET.SubElement(suite, "testcase", classname="granularity", name=name)
    if not found.passed:
        ET.SubElement(case, "failure", message=str(found))


def badge(checked: Checked) -> bytes:
    """Write the ratio of the run as the JSON of a shields.io endpoint badge."""
    outcome = checked.outcome
    doubtful = outcome is Outcome.UNTRUSTWORTHY
    return msgspec.json.encode(
        {
            "schemaVersion": 1,
            "label": "compute/coordinate",
            "message": "untrustworthy" if doubtful else multiple(checked.findings[0].ratio),
            "color": _BADGES[outcome],
        }
    )
