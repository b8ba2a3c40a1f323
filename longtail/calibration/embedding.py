"""t-SNE of the smallest classes, real and generated features, among the classes that calibrated them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from longtail.calibration.artifact import Samples
from longtail.drawing import MUTED_INK, clip_name, new_figure
from longtail.features import Features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TAIL, _LENDERS = 8, 12
"""Classes with a colour of their own, and grey classes around them: more cannot be told apart."""
_ROWS, _LENDER_ROWS = 60, 45
"""Real, and again generated, features of a tail class, and real ones of a lender: at most 1,500 in all."""
_FEWEST = 8
"""Points below which there is no structure to show."""
_PRINCIPAL = 50
_PERPLEXITY = 30.0
_ITERATIONS = 600
_COLOURS = ("#0077BB", "#EE7733", "#117733", "#AA4499", "#882255", "#1FA3D6", "#332288", "#CC3311")
"""From Paul Tol's vibrant and muted schemes, which readers with colour-blindness can tell apart."""
_GREY = "#c4c4c4"
_SCARCE = 20
"""Names are kept clear of the real features of classes with at most so many images."""
_MARKER_PIXELS = 6
_ROUNDS = 300


@dataclass(frozen=True)
class Embedding:
    """Points of a t-SNE map.

    Attributes:
        points: (P, 2) float32.
        labels: (P,) int64 their classes.
        generated: (P,) bool, whether a feature was generated.
        tail: The classes in colour, smallest first.
        lenders: The classes that calibrated them most often, in grey; their generated features are left out.
        available: Features that the points were drawn from.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    generated: NDArray[np.bool_]
    tail: tuple[int, ...]
    lenders: tuple[int, ...]
    available: int

    def summary(self, classes: int) -> str:
        """Return how much is shown of how much, of a data set of so many classes."""
        real = int((~self.generated).sum())
        return (
            f"{real:,} real and {len(self.points) - real:,} generated features out of {self.available:,}, "
            f"{len(self.tail) + len(self.lenders)} of {classes:,} classes"
        )


def embed(samples: Samples, features: Features, shares: Any, seed: int) -> Embedding | None:
    """Return a t-SNE map of the smallest classes that features were generated for, and of their lenders.

    Features are in the space that the retrained head sees: as the generated ones are, and of unit length if the
    head looks at directions alone. They are projected onto their 50 first principal components before t-SNE.

    Args:
        samples: The generated set.
        features: The real features; the clean view of the training split is shown.
        shares: (C, C) sparse, see `longtail.calibration.figures.borrowing`.
        seed: Of the choice of features and of t-SNE.

    Returns:
        The map of at most 1,500 points; None if nothing was generated or there are too few features.

    Source:
        van der Maaten, Hinton 2008, "Visualizing data using t-SNE".
    """
    rng, real_labels = np.random.default_rng(seed), features.labels("train")
    tail, lenders = _choose(samples, features, shares)
    real = [_draw(real_labels, label, _ROWS, rng) for label in tail]
    real += [_draw(real_labels, label, _LENDER_ROWS, rng) for label in lenders]
    made = [_draw(samples.labels, label, _ROWS, rng) for label in tail]
    real_rows, made_rows = (np.sort(np.concatenate([*rows, np.empty(0, np.int64)])) for rows in (real, made))
    if not len(made_rows) or len(real_rows) + len(made_rows) < _FEWEST:
        return None
    X = np.concatenate([samples.transform(features.train()[real_rows]), samples.rows[made_rows]])
    if samples.normalise:
        X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    generated_counts = np.bincount(samples.labels, minlength=len(features.class_names))
    return Embedding(
        _tsne(X, seed),
        np.concatenate([real_labels[real_rows], samples.labels[made_rows]]),
        np.arange(len(X)) >= len(real_rows),
        tail,
        lenders,
        int(features.train_counts[[*tail, *lenders]].sum() + generated_counts[list(tail)].sum()),
    )


def _choose(samples: Samples, features: Features, shares: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the smallest classes with generated features, and the classes that lent to them most."""
    generated = np.bincount(samples.labels, minlength=len(features.class_names)) > 0
    order = np.argsort(-features.train_counts, kind="stable")[::-1]
    most = min(_TAIL, max(1, len(order) // 2))
    tail = order[generated[order]][:most]
    lent = np.asarray(shares[tail].sum(axis=0)).ravel()
    lent[tail] = 0
    lenders = np.argsort(-lent, kind="stable")[: min(_LENDERS, int((lent > 0).sum()))]
    return tuple(tail.tolist()), tuple(lenders.tolist())


def _draw(labels: NDArray[np.int64], label: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return up to so many rows of a class."""
    rows = np.flatnonzero(labels == label)
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _tsne(X: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    with np.errstate(invalid="ignore"):  # of features that are all the same, whose shares of variance are not used
        principal = PCA(min(_PRINCIPAL, *X.shape), random_state=seed).fit_transform(X)
    start = np.zeros((len(X), 2), np.float32)
    plane = principal[:, :2]
    start[:, : plane.shape[1]] = 1e-4 * plane / max(float(plane[:, 0].std()), float(np.finfo(np.float32).tiny))
    perplexity = min(_PERPLEXITY, (len(X) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init=start, max_iter=_ITERATIONS, random_state=seed, n_jobs=1)
    return tsne.fit_transform(principal)  # type: ignore[no-any-return]


def embedding_figure(embedding: Embedding, features: Features) -> "Figure":
    """Draw the map: tail classes in colour, real features filled and generated ones light, lenders in grey.

    Args:
        embedding: The map.
        features: Their names and training counts.

    Returns:
        A figure with every class's name beside its points, and its number of training images.
    """
    figure = new_figure(10.0, 7.6)
    axes = figure.subplots()
    grey = np.isin(embedding.labels, embedding.lenders)
    _dots(axes, embedding.points[grey], s=12, color=_GREY, linewidth=0)
    for label, colour in zip(embedding.tail, _COLOURS, strict=False):
        mine = embedding.labels == label
        made, real = mine & embedding.generated, mine & ~embedding.generated
        _dots(axes, embedding.points[made], s=26, color=colour, alpha=0.35, linewidth=0)
        _dots(axes, embedding.points[real], s=60, color=colour, edgecolor="white", linewidth=0.8, zorder=3)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.06)
    _explain(figure, axes, embedding, len(features.class_names))
    _name_clusters(figure, axes, embedding, features)
    return figure


def _dots(axes: "Axes", points: NDArray[np.float32], **style: Any) -> None:
    axes.scatter(points[:, 0], points[:, 1], **style)


def _explain(figure: "Figure", axes: "Axes", embedding: Embedding, classes: int) -> None:
    """Say what is shown above the map, and what the markers mean below it."""
    from matplotlib.lines import Line2D

    tail = len(embedding.tail)
    small = "The smallest class" if tail == 1 else f"The {tail} smallest classes"
    title = f"{small}, real and generated, among the classes that calibrated them"
    axes.set_title(title, loc="left", fontsize=13, pad=22)
    note = f"t-SNE of {embedding.summary(classes)}; in brackets: training images"
    axes.text(0, 1.01, note, transform=axes.transAxes, va="bottom", fontsize=9.5, color=MUTED_INK)
    dot: dict[str, Any] = {"marker": "o", "linewidth": 0, "markeredgewidth": 0}
    handles = [
        Line2D([], [], color=_COLOURS[0], markersize=8, label="real feature of a small class", **dot),
        Line2D([], [], color=_COLOURS[0], alpha=0.35, markersize=6, label="generated for it", **dot),
        Line2D([], [], color=_GREY, markersize=4.5, label="real feature of a class that calibrated it", **dot),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)


def _name_clusters(figure: "Figure", axes: "Axes", embedding: Embedding, features: Features) -> None:
    """Write names with training counts at the classes' medians, moved apart where they would overlap."""
    from matplotlib.patheffects import withStroke

    halo, names, counts = [withStroke(linewidth=3, foreground="white")], features.class_names, features.train_counts
    inks = dict.fromkeys(embedding.lenders, MUTED_INK) | dict(zip(embedding.tail, _COLOURS, strict=False))
    texts = []
    for label, ink in inks.items():
        x, y = np.median(embedding.points[embedding.labels == label], axis=0)
        weight = "bold" if label in embedding.tail else "normal"
        name = f"{clip_name(names[label])} ({counts[label]:,})"
        style: dict[str, Any] = {"fontsize": 10, "fontweight": weight, "path_effects": halo, "zorder": 4}
        texts.append(axes.text(x, y, name, color=ink, ha="center", va="center", **style))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    centres = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
    kept = (counts[embedding.labels] <= _SCARCE) & ~embedding.generated
    fixed = axes.transData.transform(embedding.points[kept])
    moved = move_apart(centres, np.array([[box.width, box.height] for box in boxes]), fixed)
    for text, place in zip(texts, axes.transData.inverted().transform(moved), strict=True):
        text.set_position(place)


def move_apart(
    centres: NDArray[np.float64], sizes: NDArray[np.float64], fixed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return boxes' centres, moved up or down until no two boxes overlap, and up until they cover no fixed point.

    Args:
        centres: (N, 2), pixels.
        sizes: (N, 2) widths and heights, pixels.
        fixed: (M, 2), pixels.

    Returns:
        (N, 2); boxes that cover nothing stay where they are. Where there is no room, some may still overlap.
    """
    moved, reach = centres.astype(float), (sizes[:, None] + sizes[None]) / 2  # (N, N, 2)
    rank = np.subtract.outer(np.arange(len(moved)), np.arange(len(moved)))
    for _ in range(_ROUNDS):
        offset = moved[:, None] - moved[None]
        overlap = np.where(rank[..., None] != 0, reach - np.abs(offset), 0.0)
        over_point = sizes[:, None] / 2 + _MARKER_PIXELS - np.abs(moved[:, None] - fixed[None])  # (N, M, 2)
        clash, covers = (overlap > 0).all(axis=2), (over_point > 0).all(axis=2)
        if not clash.any() and not covers.any():
            break
        side = np.sign(np.where(offset[..., 1] == 0, rank, offset[..., 1]))
        moved[:, 1] += np.where(clash, side * (overlap[..., 1] / 2 + 0.5), 0.0).sum(axis=1)
        moved[:, 1] += np.where(covers, over_point[..., 1], 0.0).max(axis=1, initial=0.0)
    return moved
