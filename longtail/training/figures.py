"""Figures of a training run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def history_figure(history: Sequence[Mapping[str, float]]) -> "Figure":
    """Return loss and accuracy by epoch, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) == 1 else None
    loss.plot(epochs, [entry["train/loss"] for entry in history], color="#4477AA", marker=marker)
    loss.set_ylabel("training loss")
    accuracy.plot(
        epochs, [entry["train/accuracy"] for entry in history], color="#4477AA", marker=marker, label="training"
    )
    if "validation/accuracy" in history[0]:
        values = [entry["validation/accuracy"] for entry in history]
        accuracy.plot(epochs, values, color="#EE6677", marker=marker, label="validation")
        accuracy.legend(frameon=False)
    accuracy.set_ylabel("accuracy, %")
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
