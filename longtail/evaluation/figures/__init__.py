"""Figures of an evaluation; classes run from the largest to the smallest training count."""

from longtail.evaluation.figures.classes import per_class_figure
from longtail.evaluation.figures.confusion import confusion_figure
from longtail.evaluation.figures.groups import groups_figure
from longtail.evaluation.figures.tail import tail_figure, tail_rows

__all__ = ["confusion_figure", "groups_figure", "per_class_figure", "tail_figure", "tail_rows"]
