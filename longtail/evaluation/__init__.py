"""Scores of classifiers on a balanced test set, and the tables and figures that show them."""

from longtail.evaluation.figures import confusion_figure, groups_figure, per_class_figure, tail_figure, tail_rows
from longtail.evaluation.metrics import GROUPS, Evaluation, class_groups, evaluate
from longtail.evaluation.table import comparison_rows, comparison_table

__all__ = [
    "GROUPS",
    "Evaluation",
    "class_groups",
    "comparison_rows",
    "comparison_table",
    "confusion_figure",
    "evaluate",
    "groups_figure",
    "per_class_figure",
    "tail_figure",
    "tail_rows",
]
