"""The confusion matrix in percent of each true class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from longtail.drawing import INK, SEPARATOR, new_figure
from longtail.evaluation.figures.axis import NUMBERS_UP_TO, class_axis
from longtail.evaluation.metrics import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def confusion_figure(evaluation: Evaluation, class_names: Sequence[str], train_counts: ArrayLike) -> "Figure":
    """Draw the confusion matrix in percent of each true class, from the largest to the smallest class.

    Args:
        evaluation: The classifier's evaluation.
        class_names: C names.
        train_counts: (C,) int, training images of each class.

    Returns:
        A figure with numbers in the cells of a small matrix, and lines between many, medium and few. The row of
        a class without test images is grey. With more than 300 classes rows and columns are bins of classes.

    Raises:
        InputError: If counts or names are not one per class.
    """
    from matplotlib.colors import PowerNorm

    axis = class_axis(evaluation, train_counts, class_names)
    images = axis.sums(evaluation.confusion)
    support = images.sum(axis=1, keepdims=True)
    percent = 100.0 * images / np.maximum(support, 1)
    shares = np.ma.masked_array(percent, np.broadcast_to(support == 0, percent.shape))
    small = len(axis) <= NUMBERS_UP_TO
    side = 4.0 + 0.34 * len(axis) if small else 10.4
    figure = new_figure(side + 0.9, side)
    axes = figure.subplots()
    axes.set_facecolor("#dddddd")
    # The square root keeps errors of a few percent visible beside a diagonal of eighty.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100), interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("% of the true class's test images")
    bar.outline.set_visible(False)
    if small:
        _number_cells(axes, shares)
    axis.name_columns(axes)
    axis.name_rows(axes)
    for _, first, _ in axis.groups[1:]:
        axes.axhline(first - 0.5, color=SEPARATOR, linewidth=1.0)
    axis.mark_groups(axes, colour=SEPARATOR)
    note = f" (a cell: {axis.describe_bin()})" if axis.binned else ""
    axes.set_xlabel("predicted class")
    axes.set_ylabel(f"true class, most training images first{note}")
    return figure


def _number_cells(axes: "Axes", shares: Any) -> None:
    """Write whole percents into the cells; a cell that rounds to nothing stays empty."""
    for (row, column), share in np.ndenumerate(np.ma.filled(shares, 0.0)):
        if share >= 0.5:
            colour = "white" if share > 35 else INK
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color=colour)
