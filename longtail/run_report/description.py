"""The description of a run in MLflow: Markdown with the summary, the table, and where the figures are."""

from collections.abc import Mapping, Sequence

from longtail.run_report.facts import Facts
from longtail.run_report.tables import methods_rows
from longtail.run_report.words import sentences


def description(facts: Facts, page: str, figures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return the description of a run as Markdown.

    Args:
        facts: What it tells.
        page: Address of the run's page; empty if it has none.
        figures: Name and address of each figure, by the label of its step.
    """
    header, *rows = methods_rows(facts)
    numeric = ["---", *["---:"] * (len(header) - 1)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (header, numeric, *rows))
    told = ["\n\n".join(sentences(facts)), f"**Accuracy on the test set, % (95 % interval)**\n\n{table}"]
    if page:
        told.append(f"**Report**: [report.html]({page})")
    if figures:
        lines = [
            f"- {label}: {', '.join(f'[{name}]({address})' for name, address in found)}"
            for label, found in figures.items()
        ]
        told.append("**Figures**\n\n" + "\n".join(lines))
    return "\n\n".join(told) + "\n"
