"""Classifiers side by side: overall and group accuracy, and the gain over the first of them."""

from collections.abc import Mapping

from longtail.errors import InputError
from longtail.evaluation.metrics import GROUPS, Evaluation

NO_VALUE = "–"


def comparison_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Return a header row and one row per classifier, as text; accuracies in percent, gains in points.

    Args:
        evaluations: Evaluations on one data set by display name; the first is what the others are compared with.

    Raises:
        InputError: If there is no evaluation, or two of them are of different classes or test images.
    """
    baseline = check_comparable(evaluations)
    sizes = [f"{group} ({class_count(baseline, group)})" for group in GROUPS]
    rows = [["method", "all", *sizes, "gain few", "gain all"]]
    for name, evaluation in evaluations.items():
        accuracies = [evaluation.top1, evaluation.many, evaluation.medium, evaluation.few]
        gains = [NO_VALUE, NO_VALUE]
        if evaluation is not baseline:
            gains = [_gain(evaluation.few, baseline.few), _gain(evaluation.top1, baseline.top1)]
        rows.append([name, *(NO_VALUE if value is None else f"{value:.2f}" for value in accuracies), *gains])
    return rows


def comparison_table(evaluations: Mapping[str, Evaluation], *, style: str = "text") -> str:
    """Return `comparison_rows` as aligned lines for a terminal or as a Markdown table.

    Args:
        evaluations: Evaluations on one data set by display name; the first is what the others are compared with.
        style: `text` or `markdown`.

    Raises:
        InputError: If the style is unknown or the evaluations cannot be compared.
    """
    if style not in ("text", "markdown"):
        raise InputError(f"style is {style!r}: choose from text, markdown")
    rows = comparison_rows(evaluations)
    if style == "markdown":
        rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    if style == "markdown":
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
    rule = ["-" * width for width in widths]
    return "\n".join("  ".join(line) for line in [lines[0], rule, *lines[1:]])


def check_comparable(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Return the first evaluation if all are of the same test images and class groups.

    Raises:
        InputError: If there is no evaluation, or two of them are of different classes or test images.
    """
    if not evaluations:
        raise InputError("evaluations has 0 classifiers: give at least one")
    first_name, first = next(iter(evaluations.items()))
    for name, evaluation in evaluations.items():
        if evaluation.groups != first.groups or evaluation.support.tolist() != first.support.tolist():
            raise InputError(
                f"{name!r} and {first_name!r} were evaluated on different classes or test images: "
                "compare classifiers of one data set"
            )
    return first


def class_count(evaluation: Evaluation, group: str) -> str:
    """Return the size of a group in words, such as `35 classes`."""
    number = len(evaluation.members(group))
    return "1 class" if number == 1 else f"{number or 'no'} classes"


def _gain(value: float | None, baseline: float | None) -> str:
    return NO_VALUE if value is None or baseline is None else f"{value - baseline:+.2f}"
