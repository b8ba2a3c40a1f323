"""The axis that classes lie on: by falling training count, and in bins when there are too many to draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.drawing import INK, clip_name
from longtail.errors import InputError
from longtail.evaluation.metrics import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERS_UP_TO = 20
"""Classes up to which cells carry their number and curves pass through every class."""
_NAMES_UP_TO = 120
_BINNED_ABOVE, _BINS = 300, 150
_AXES_SHARE, _CHARACTER_INCHES = 0.85, 0.085
"""How much of a figure's width axes take, and how wide a character of 10 points is, with some room."""
_ROUNDS = 100


@dataclass(frozen=True)
class ClassAxis:
    """Classes by falling training count; a bin holds one class, or several neighbours of one group.

    Attributes:
        order: (K,) the classes.
        starts: (B,) where each bin begins in `order`.
        groups: Groups in order, each with its first bin and the bin past its last.
        names: (C,) names of all classes.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    groups: tuple[tuple[str, int, int], ...]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(B,) classes of each bin."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def binned(self) -> bool:
        """Whether bins hold several classes."""
        return len(self.starts) < len(self.order)

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return (B,) bin means of a value for each class, (C,)."""
        return np.add.reduceat(values[self.order].astype(float), self.starts) / self.sizes

    def group_mean(self, values: NDArray[Any], first: int, stop: int) -> float:
        """Return the mean over the classes of bins `first` to `stop - 1` of a value for each class, (C,)."""
        bounds = [*self.starts, len(self.order)]
        return float(values[self.order[bounds[first] : bounds[stop]]].mean())

    def sums(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Return (B, B) sums over pairs of bins of a value for each pair of classes, (C, C)."""
        if not self.binned:
            return matrix[np.ix_(self.order, self.order)].astype(float)
        from scipy import sparse

        bins = np.repeat(np.arange(len(self)), self.sizes)
        members = sparse.csr_array((np.ones(len(bins)), (bins, self.order)), (len(self), len(matrix)))
        return np.asarray((members @ (members @ matrix).T).T)

    def describe_bin(self) -> str:
        """Return what one mark stands for, such as `class` or `mean of 53 classes`."""
        return f"mean of {round(len(self.order) / len(self))} classes" if self.binned else "one class"

    def name_columns(self, axes: "Axes") -> None:
        """Set the horizontal axis: names where they can be read."""
        axes.set_xlim(-0.5, len(self) - 0.5)
        names = self._readable_names()
        if len(names) > NUMBERS_UP_TO:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6.5)
        else:
            upright = max(map(len, names), default=0) * len(names) <= 60
            place: dict[str, Any] = {} if upright else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(len(names)), names, **place)
        axes.set_xlabel("class, most training images first")

    def name_rows(self, axes: "Axes") -> None:
        """Set the vertical axis: names where they can be read."""
        names = self._readable_names()
        axes.set_yticks(range(len(names)), names, fontsize=6.5 if len(names) > NUMBERS_UP_TO else None)

    def mark_groups(self, axes: "Axes", texts: Sequence[str] = (), *, inside: bool = False, colour: str = INK) -> None:
        """Write each group's name, or the given texts, along the top, and draw a line where a group ends."""
        height, side = (0.97, "top") if inside else (1.01, "bottom")
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": side}
        if inside:
            place["bbox"] = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
        texts = texts or [name for name, _, _ in self.groups]
        inches = _AXES_SHARE * axes.get_figure().get_figwidth()  # type: ignore[union-attr]
        widths = [_CHARACTER_INCHES * (len(text) + 2) * len(self) / inches for text in texts]
        middles = spread([(first + stop - 1) / 2 for _, first, stop in self.groups], widths, len(self) - 1)
        for text, middle, (_, first, _) in zip(texts, middles, self.groups, strict=True):
            axes.text(middle, height, text, fontsize=9 if inside else 10, color=colour, **place)
            if first:
                axes.axvline(first - 0.5, color=colour, linewidth=1.0, linestyle=":" if colour == INK else "-")

    def _readable_names(self) -> list[str]:
        if self.binned or len(self) > _NAMES_UP_TO:
            return []
        return [clip_name(self.names[label]) for label in self.order]


def class_axis(
    evaluation: Evaluation, train_counts: ArrayLike, class_names: Sequence[str], *, tested: bool = False
) -> ClassAxis:
    """Return the axis of an evaluation's classes.

    Args:
        evaluation: Any of the evaluations that share the axis.
        train_counts: (C,) int, training images of each class.
        class_names: C names.
        tested: Leave out classes without test images.

    Returns:
        The axis; with more than 300 classes it has about 150 bins.

    Raises:
        InputError: If counts or names are not one per class.
    """
    counts, size = np.asarray(train_counts), len(evaluation.groups)
    if counts.shape != (size,) or len(class_names) != size:
        raise InputError(
            f"train_counts has shape {counts.shape} and class_names {len(class_names)} names: "
            f"the evaluation has {size} classes; give one of each per class"
        )
    order = np.argsort(-counts.astype(np.int64), kind="stable")
    if tested:
        order = order[evaluation.support[order] > 0]
    names = np.array(evaluation.groups)[order]
    bounds = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1), len(order)]
    starts: list[int] = []
    groups: list[tuple[str, int, int]] = []
    for first, stop in pairwise(bounds):
        bins = stop - first
        if len(order) > _BINNED_ABOVE:
            bins = min(bins, max(1, round(_BINS * bins / len(order))))
        groups.append((str(names[first]), len(starts), len(starts) + bins))
        starts += np.linspace(first, stop, bins, endpoint=False).astype(int).tolist()
    return ClassAxis(order, np.array(starts), tuple(groups), class_names)


def spread(middles: Sequence[float], widths: Sequence[float], last: float) -> NDArray[np.float64]:
    """Return where texts along a line stand so that neighbours do not overlap.

    Args:
        middles: (G,) where they want to stand, ascending.
        widths: (G,) how wide they are.
        last: Texts stay between zero and this, unless they are wider.

    Returns:
        (G,) their middles; those of texts that overlap nothing stay where they are.
    """
    moved, sizes = np.array(middles, dtype=float), np.array(widths, dtype=float)
    for _ in range(_ROUNDS):
        short = np.maximum((sizes[1:] + sizes[:-1]) / 2 - np.diff(moved), 0.0)
        if not short.any():
            break
        moved[:-1] -= short / 2
        moved[1:] += short / 2
        inside = np.minimum(np.maximum(moved, sizes / 2), last - sizes / 2)
        moved = np.where(sizes < last, inside, moved)
    return moved
