"""The gate's report for readers: rows of a table, a figure, a page."""

from typing import TYPE_CHECKING

from longtail.drawing import INK, SEPARATOR, new_figure, quiet
from longtail.evaluation.intervals import WHOLE
from longtail.gate.decision import Criterion, Decision
from longtail.pages import Plot, Section, Table, Text, html_report
from longtail.text_table import text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADER = ("criterion", "measured", "interval", "bound", "passed")
_GROUPS = ("group", "challenger, %", "champion, %", "difference, points", "interval")


def gate_table(decision: Decision) -> str:
    """Return the criteria as aligned lines for a terminal."""
    return text_table([_HEADER, *(_row(criterion) for criterion in decision.criteria)])


def gate_page(decision: Decision) -> str:
    """Return the report as one HTML page."""
    outcome = Section("Decision", [Text(decision.sentence), Table(_HEADER, [_row(one) for one in decision.criteria])])
    if not decision.differences:
        return html_report("Promotion", [outcome])
    level = f"{100 * (1 - 2 * decision.level):g} %"
    caption = f"Difference of accuracy by group, {decision.challenger} less {decision.champion}, with {level} intervals"
    rows = [
        [name, f"{found.challenger:.2f}", f"{found.champion:.2f}", f"{found.points:+.2f}", _ends(found.low, found.high)]
        for name, found in decision.differences.items()
    ]
    how = (
        f"On the same {decision.test_images:,} test images, by a bootstrap of pairs within each class "
        f"(held-out set {decision.test_digest[:12]}). {WHOLE} counts every image alike, a group every class."
    )
    plot = Plot(_figure(decision), caption, caption)
    return html_report("Promotion", [outcome, Section("Difference by group", [plot, Table(_GROUPS, rows), Text(how)])])


def _row(criterion: Criterion) -> list[str]:
    low, high = criterion.low, criterion.high
    return [
        criterion.name,
        "–" if criterion.measured is None else f"{criterion.measured:+.2f}",
        "–" if low is None or high is None else _ends(low, high),
        "–" if criterion.bound is None else f"{criterion.bound:+g}",
        "yes" if criterion.passed else "no",
    ]


def _ends(low: float, high: float) -> str:
    return f"[{low:+.2f}, {high:+.2f}]"


def _figure(decision: Decision) -> "Figure":
    names, found = list(decision.differences), list(decision.differences.values())
    figure = new_figure(7.0, 1.2 + 0.5 * len(names))
    axes = figure.subplots()
    places = list(range(len(names)))[::-1]
    axes.hlines(places, [one.low for one in found], [one.high for one in found], color=INK, linewidth=1.5)
    axes.plot([one.points for one in found], places, "o", color=INK)
    axes.axvline(0, color=SEPARATOR, linewidth=1)
    axes.set_yticks(places, ["all images" if name == WHOLE else name for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("challenger less champion, points")
    quiet(axes, "x")
    return figure
