"""Figures of a data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtail.drawing import clip_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHARACTERS = 60
"""Of class names that fit side by side."""


def counts_figure(counts: Sequence[int], class_names: Sequence[str]) -> "Figure":
    """Return a bar chart of training images by class, largest first, on a logarithmic axis."""
    from matplotlib.figure import Figure

    order = sorted(range(len(counts)), key=lambda label: -counts[label])
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(order)), [counts[label] for label in order], color="#4477AA", width=0.85)
    axes.set_yscale("log")
    axes.set_ylabel("training images")
    axes.set_xlim(-0.6, len(order) - 0.4)
    names = [clip_name(class_names[label]) for label in order]
    if len(order) <= 30:
        fits = sum(map(len, names)) <= _CHARACTERS
        axes.set_xticks(range(len(order)), names, rotation=0 if fits else 45, ha="center" if fits else "right")
    else:
        axes.set_xlabel("class, by number of training images")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
