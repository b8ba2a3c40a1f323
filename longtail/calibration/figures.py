"""Who lent whom its distribution."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from longtail.calibration.artifact import Samples
from longtail.drawing import INK, MUTED_INK, SEPARATOR, clip_name, new_figure
from longtail.features import Features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LENDERS = 5
_ROWS, _COLUMNS = 30, 44
"""Calibrated and lending classes of the heat map: with more, names cannot be read."""
_NUMBERS_UP_TO = 20
"""Columns up to which cells carry their number."""
_CHUNK_ROWS = 1 << 20


def borrowing(samples: Samples, classes: int) -> Any:
    """Return the share of each class among the nearest classes that calibrated each generated class.

    Args:
        samples: The generated set.
        classes: C.

    Returns:
        (C, C) float64, a `scipy.sparse` row matrix: with thousands of classes nearly all shares are zero. A row
        sums to one, or to zero if nothing was generated for its class.
    """
    from scipy import sparse

    votes = sparse.csr_array((classes, classes))
    for start in range(0, len(samples.labels), _CHUNK_ROWS):
        lenders = np.asarray(samples.nearest[start : start + _CHUNK_ROWS])
        borrowers = np.repeat(samples.labels[start : start + _CHUNK_ROWS], lenders.shape[1])
        pairs = (borrowers, lenders.ravel())
        votes += sparse.coo_array((np.ones(lenders.size), pairs), (classes, classes)).tocsr()
    return sparse.diags_array(1 / np.maximum(votes.sum(axis=1), 1)) @ votes


def borrowing_rows(shares: Any, samples: Samples, features: Features) -> list[list[str | float | None]]:
    """Return a table row for each class that features were generated for, smallest class first.

    Args:
        shares: See `borrowing`.
        samples: The generated set.
        features: Names and training counts.

    Returns:
        Name, training images, generated features, and up to five lenders with their shares.
    """
    names, counts = features.class_names, features.train_counts
    generated = np.bincount(samples.labels, minlength=len(names))
    rows: list[list[str | float | None]] = []
    for label in np.argsort(-counts, kind="stable")[::-1]:
        if generated[label]:
            row = slice(*shares.indptr[label : label + 2])
            text = _lenders(shares.indices[row], shares.data[row], label, names)
            rows.append([names[label], f"{counts[label]:,}", f"{generated[label]:,}", text])
    return rows


def _lenders(lenders: NDArray[np.int64], shares: NDArray[np.float64], label: int, names: tuple[str, ...]) -> str:
    """Return a class's lenders and their shares, largest first, as one text."""
    order = np.lexsort((lenders, -shares))
    parts = [f"{'itself' if lenders[i] == label else names[lenders[i]]} {shares[i]:.0%}" for i in order[:_LENDERS]]
    if others := len(order) - len(parts):
        parts.append(f"{others} other{'s' * (others > 1)} {shares[order[_LENDERS:]].sum():.0%}")
    return ", ".join(parts)


def borrowing_figure(shares: Any, features: Features) -> "Figure":
    """Draw a heat map of which classes calibrated the smallest ones, by name.

    Args:
        shares: See `borrowing`.
        features: Names and training counts.

    Returns:
        A figure with a row for each of up to 30 classes, a column for the class itself, and one for each of up to
        44 other classes that lent to them, largest class first. A line parts the lenders that are larger than
        every class of the rows from the others.
    """
    rows, columns, percent = _shown(shares, features.train_counts)
    figure = new_figure(3.2 + max(3.4, 0.2 * len(columns)), 2.3 + max(1.6, 0.2 * len(rows)))
    axes = figure.subplots()
    if not len(rows):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no features were generated", ha="center", va="center", transform=axes.transAxes)
        return figure
    _draw_shares(figure, axes, percent)
    _name(axes, rows, columns, features)
    larger = int((features.train_counts[columns] > features.train_counts[rows].max()).sum())
    parted = 0 < larger < len(columns)
    if parted:
        axes.axvline(larger + 0.5, color=SEPARATOR, linewidth=1.0)
    total = int((np.diff(shares.indptr) > 0).sum())
    shown = f"all {total:,}" if len(rows) == total else f"the {len(rows)} smallest of {total:,}"
    title = f"Which classes calibrated which: {shown} classes with generated features"
    axes.set_title(title, loc="left", fontsize=11, pad=22)
    hidden = 1 - percent.sum() / (100 * len(rows))
    notes = ["in brackets: training images"]
    notes += ["left of the line: larger than any calibrated class here"] if parted else []
    notes += [f"{hidden:.0%} came from other classes"] if hidden >= 0.005 else []
    note = axes.annotate("; ".join(notes), (0, 1), (0, 6), "axes fraction", "offset points", fontsize=9)
    note.set(color=MUTED_INK, in_layout=False)
    return figure


def _shown(shares: Any, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the classes of the rows, those of all columns but the first, largest first, and percents."""
    order = np.argsort(-counts, kind="stable")
    rows = order[np.diff(shares.indptr)[order] > 0][-_ROWS:]
    lent = shares[rows].toarray()  # (R, C)
    places = np.arange(len(rows))
    own = lent[places, rows]
    lent[places, rows] = 0
    total = lent.sum(axis=0)
    most = np.argsort(-total, kind="stable")[: min(_COLUMNS, int((total > 0).sum()))]
    columns = order[np.isin(order, most)]
    return rows, columns, 100 * np.column_stack([own, lent[:, columns]])


def _draw_shares(figure: "Figure", axes: "Axes", percent: NDArray[np.float64]) -> None:
    """Draw cells (R, 1 + L), with their numbers if there are few."""
    from matplotlib.colors import PowerNorm

    # The square root keeps shares of a few percent visible.
    most = max(10.0, float(percent.max()))
    norm = PowerNorm(0.5, vmin=0, vmax=most)
    image = axes.imshow(percent, cmap="Blues", norm=norm, aspect="auto")
    ticks = [tick for tick in (0, 1, 5, 10, 20, 30, 50, 70, 100) if tick <= most]
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=ticks)
    bar.set_label("% of the class's nearest classes")
    bar.outline.set_visible(False)
    axes.set_xticks(np.arange(1, percent.shape[1]) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, percent.shape[0]) - 0.5, minor=True)
    axes.grid(which="minor", color="#e4e4e4", linewidth=0.6)
    axes.axvline(0.5, color="white", linewidth=5)
    if percent.shape[1] <= _NUMBERS_UP_TO:
        for (row, column), share in np.ndenumerate(percent):
            if share >= 0.5:
                colour = "white" if norm(share) > 0.6 else INK
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color=colour)


def _name(axes: "Axes", rows: NDArray[np.int64], columns: NDArray[np.int64], features: Features) -> None:
    def name(label: int) -> str:
        return f"{clip_name(features.class_names[label])} ({features.train_counts[label]:,})"

    axes.set_xticks(range(1 + len(columns)), ["itself", *map(name, columns)], rotation=90)
    axes.set_yticks(range(len(rows)), [*map(name, rows)])
    axes.tick_params(which="both", length=0)
    axes.tick_params(labelsize=9 if len(columns) <= _NUMBERS_UP_TO else 8)
    axes.set_xlabel("class that lent, most training images first")
    axes.set_ylabel("class that was calibrated")
    axes.spines[:].set_visible(False)
