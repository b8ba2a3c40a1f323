"""All findings as a table for the terminal, as JSON and as one page."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from longtail.claims.rules import CLAIMS, Finding
from longtail.pages import Details, Plot, Section, Table, Text, html_report

_WIDTH = 110
_INDENT = " " * 6
_RULE = (
    "A criterion is met if the whole 95 % interval over the seeds lies on its side of the threshold. A claim holds if "
    "all its criteria are met, does not hold if no essential one is, and holds partly otherwise. Intervals are not "
    "corrected for their number."
)


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings for a terminal: a line with the verdict, and below it what was measured."""
    width = max(len(finding.verdict) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.claim:4}  {finding.verdict.ljust(width)}  {finding.networks}")
        for text in (finding.statement, finding.measured):
            lines += textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        lines.append("")
    return "\n".join(lines).rstrip()


def as_json(findings: Sequence[Finding], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the findings with what was asked for, as plain JSON values."""
    return {"settings": dict(settings), "findings": [dataclasses.asdict(finding) for finding in findings]}


def as_page(findings: Sequence[Finding], figures: Sequence[Plot], settings: Mapping[str, Any]) -> str:
    """Return one HTML page.

    Args:
        findings: In the order in which they are shown.
        figures: What they show.
        settings: What was asked for.
    """
    overview = Table(
        ["claim", "what the paper says", "networks", "here it"],
        [[finding.claim, finding.statement, finding.networks, finding.verdict] for finding in findings],
    )
    measured = [Text(f"{finding.claim}, {finding.networks}: {finding.measured}.") for finding in findings]
    return html_report(
        "Seven claims on the Hessian, put to the test",
        [
            Section("Verdicts", [Text(_RULE), overview]),
            Section("Figures", figures),
            Section("What was measured", measured),
            Section("Thresholds", [_thresholds([finding.claim for finding in findings])]),
            Section("Settings", [Details("settings", dict(settings))]),
        ],
    )


def _thresholds(claims: Sequence[str]) -> Table:
    return Table(
        ["claim", "measure", "must be", "essential"],
        [
            [name, entry.meaning, f"{entry.side} {entry.threshold:g}", "yes" if entry.essential else "no"]
            for name, claim in CLAIMS.items()
            if name in claims
            for entry in claim.criteria
        ],
    )
