"""The page of a run: its summary and table, what its steps drew, then timings, lineage and settings."""

from collections.abc import Mapping, Sequence

from longtail.pages import Details, Part, Section, Table, Text, html_report, parts
from longtail.run_report.facts import Facts
from longtail.run_report.tables import lineage, methods_rows, timings
from longtail.run_report.words import sentences, title

SECTIONS = {
    "data": "Data",
    "training": "Training",
    "evaluation": "Accuracy by class",
    "sampling": "Generated features",
    "curvature": "Curvature over depth",
    "head_curvature": "Curvature of the last layer",
    "promotion": "Promotion",
}
"""Heading of the part that each page becomes, in the order of the report."""
_SETTINGS = "Settings"
_EXPLAINED = (
    "Accuracy on the test set in percent. Many, medium and few are means over classes by their training examples. A "
    "gain is in points over the first classifier. In parentheses: bootstrap intervals of 95 %, over test examples of a "
    "class, in pairs for a gain. They do not tell how much another choice of training images or seed would change."
)


def run_page(facts: Facts, pages: Mapping[str, str]) -> str:
    """Return the report of a run as one HTML page.

    Args:
        facts: What it tells.
        pages: Pages of its steps, by the keys of `SECTIONS`.
    """
    header, *rows = methods_rows(facts)
    summary = Section("Summary", [*map(Text, sentences(facts)), Table(header, rows, _EXPLAINED)])
    drawn = {name: parts(pages[name]) for name in SECTIONS if name in pages}
    settings = dict.fromkeys(part.markup for found in drawn.values() for part in found if part.title == _SETTINGS)
    steps = [Section(SECTIONS[name], _shown(SECTIONS[name], found)) for name, found in drawn.items()]
    closing = [
        Section("Timings", [timings(facts)]),
        Section("Lineage", [lineage(facts), Details("all of it", facts.steps)]),
        Section(_SETTINGS, [Part("", markup) for markup in settings]),
    ]
    return html_report(title(facts), [summary, *steps, *closing])


def _shown(heading: str, found: Sequence[Part]) -> list[Part]:
    """Return the parts of a page but its settings; one that is called as all of them needs no heading."""
    return [Part("" if part.title == heading else part.title, part.markup) for part in found if part.title != _SETTINGS]
