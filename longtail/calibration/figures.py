"""Who lent whom its distribution."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longtail.calibration.artifact import Samples
from longtail.features import Features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LENDERS = 4


def borrowing(samples: Samples, classes: int) -> NDArray[np.float64]:
    """Return (C, C): the share of each class among the nearest classes that calibrated each generated class."""
    votes = np.zeros((classes, classes))
    for rank in range(samples.nearest.shape[1]):
        np.add.at(votes, (samples.labels, samples.nearest[:, rank]), 1.0)
    return votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)  # type: ignore[no-any-return]


def borrowing_rows(samples: Samples, features: Features) -> list[list[str | float | None]]:
    """Return a table row for each class that features were generated for, smallest class first."""
    names, shares = features.class_names, borrowing(samples, len(features.class_names))
    generated = np.bincount(samples.labels, minlength=len(names))
    rows: list[list[str | float | None]] = []
    for label in np.argsort(features.train_counts, kind="stable"):
        if generated[label]:
            lenders = np.argsort(-shares[label], kind="stable")[:_LENDERS]
            text = ", ".join(
                f"{names[lender]} ({shares[label, lender]:.0%})" for lender in lenders if shares[label, lender]
            )
            rows.append([names[label], f"{features.train_counts[label]}", f"{generated[label]}", text])
    return rows


def borrowing_figure(samples: Samples, features: Features) -> "Figure":
    """Return a heat map of `borrowing`, classes sorted by their number of training images."""
    from matplotlib.figure import Figure

    order = np.argsort(-features.train_counts, kind="stable")
    shares = borrowing(samples, len(order))[np.ix_(order, order)]
    side = 4.5 if len(order) <= 30 else 7.0
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0)
    figure.colorbar(image, ax=axes, label="share of its nearest classes, %", shrink=0.8)
    axes.set_xlabel("lending class, most training images first")
    axes.set_ylabel("calibrated class")
    if len(order) <= 30:
        names = [features.class_names[label] for label in order]
        axes.set_xticks(range(len(order)), names, rotation=90)
        axes.set_yticks(range(len(order)), names)
    return figure
