"""Accuracy of a classifier on a balanced test set, over all classes and by how many training images they had."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.errors import InputError

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one classifier on one test set; percentages are in [0, 100].

    A class without test images has no accuracy: it is in no mean, its entry of `per_class` is 0, and
    `untested` lists it.
    """

    top1: float
    """Correct over all test images, in percent."""
    many: float | None
    """Unweighted mean of the accuracies of the group's classes, in percent; None if it has no tested class."""
    medium: float | None
    few: float | None
    macro_f1: float
    """Unweighted mean of the tested classes' F1, in percent; F1 is 0 for a class that is never predicted."""
    per_class: NDArray[np.float64]  # (C,)
    support: NDArray[np.int64]  # (C,) test images
    confusion: NDArray[np.int64]  # (C, C), rows are the true classes
    groups: tuple[str, ...]  # (C,) of GROUPS

    @property
    def untested(self) -> tuple[int, ...]:
        """Classes without test images, ascending."""
        return tuple(int(label) for label in np.flatnonzero(self.support == 0))

    def members(self, group: str) -> NDArray[np.int64]:
        """Return the tested classes of one of `GROUPS`, ascending."""
        return np.flatnonzero((np.array(self.groups) == group) & (self.support > 0))

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain JSON values."""
        return {
            "top1": self.top1,
            "many": self.many,
            "medium": self.medium,
            "few": self.few,
            "macro_f1": self.macro_f1,
            "per_class": self.per_class.tolist(),
            "support": self.support.tolist(),
            "untested": list(self.untested),
            "groups": list(self.groups),
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Build the scores from `to_dict`'s values; all of them follow from `confusion` and `groups`.

        Returns:
            The scores, computed again.

        Raises:
            InputError: If `confusion` or `groups` is missing or malformed.
        """
        try:
            confusion, groups = np.array(values["confusion"]), tuple(values["groups"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not an evaluation ({error!r}): give what Evaluation.to_dict wrote") from None
        size = len(groups)
        if confusion.shape != (size, size) or confusion.dtype.kind not in "iu" or confusion.min() < 0:
            raise InputError(
                f"evaluation with a confusion matrix of shape {confusion.shape} and type {confusion.dtype} for "
                f"{size} groups: it must be square with whole numbers; evaluate again"
            )
        if unknown := [group for group in groups if group not in GROUPS]:
            raise InputError(f"evaluation with the group {unknown[0]!r}: choose from {', '.join(GROUPS)}")
        return _score(confusion.astype(np.int64), groups)


def evaluate(
    scores: ArrayLike, labels: ArrayLike, train_counts: ArrayLike, *, many_above: int = 100, few_below: int = 20
) -> Evaluation:
    """Score a classifier over all classes and by their number of training images.

    The groups are those of Liu et al. 2019 (OLTR, arXiv 1904.05160), as used by TailCalib (arXiv 2111.05956):
    many, medium and few have more than 100, 20 to 100, and fewer than 20 training images. Unlike the TailCalib
    authors' code, an empty group has no score rather than 0.

    Args:
        scores: (N, C) float, any monotone function of the class probabilities, the largest wins and the lower
            class wins a tie; or (N,) int, the predicted classes in `[0, C)`.
        labels: (N,) int, true classes in `[0, C)`.
        train_counts: (C,) int, training images of each class.
        many_above: A class with more training images belongs to `many`.
        few_below: A class with fewer training images belongs to `few`.

    Returns:
        The scores.

    Raises:
        InputError: If a shape, type, label or threshold is wrong, the split is empty, or a score is NaN.

    Example:
        >>> evaluate([0, 0, 1, 0], [0, 0, 1, 1], [500, 5]).few
        50.0
    """
    counts = np.asarray(train_counts)
    if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise InputError(
            f"train_counts has shape {counts.shape} and type {counts.dtype}: give one whole number >= 0 per class"
        )
    if few_below > many_above + 1:
        raise InputError(
            f"few_below is {few_below} and many_above is {many_above}: a class could be both; "
            f"set few_below to at most {many_above + 1}"
        )
    size = counts.size
    truth = _check_classes(np.asarray(labels), "labels", size)
    predictions = _predict(np.asarray(scores), size)
    if truth.size == 0:
        raise InputError("labels has 0 images: give a split with at least one test image")
    if predictions.size != truth.size:
        raise InputError(f"scores has {predictions.size} rows for {truth.size} labels: give one row per label")
    confusion = np.bincount(truth * size + predictions, minlength=size * size).reshape(size, size)
    return _score(confusion.astype(np.int64), class_groups(counts, many_above=many_above, few_below=few_below))


def class_groups(train_counts: NDArray[np.int64], *, many_above: int, few_below: int) -> tuple[str, ...]:
    """Return the one of `GROUPS` that each class belongs to, by its number of training images."""
    return tuple(
        "many" if count > many_above else "few" if count < few_below else "medium" for count in train_counts.tolist()
    )


def _predict(scores: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return (N,) predicted classes from scores or predictions."""
    if scores.ndim == 1:
        return _check_classes(scores, "predictions", size)
    if scores.ndim != 2 or scores.shape[1] != size or scores.dtype.kind != "f":
        raise InputError(
            f"scores has shape {scores.shape} and type {scores.dtype}: give (N, {size}) floats or (N,) class numbers"
        )
    if rows := int(np.isnan(scores).any(axis=1).sum()):
        raise InputError(f"scores has NaN in {rows} of {len(scores)} rows: the classifier diverged; lower its rate")
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def _check_classes(values: NDArray[Any], name: str, size: int) -> NDArray[np.int64]:
    """Return `values` as int64 if they are (N,) classes in `[0, size)`."""
    if values.size == 0 and values.ndim == 1:
        return values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(f"{name} has shape {values.shape} and type {values.dtype}: give (N,) whole class numbers")
    if values.min() < 0 or values.max() >= size:
        raise InputError(
            f"{name} has classes from {values.min()} to {values.max()}: with {size} train_counts they must be in "
            f"[0, {size})"
        )
    return values.astype(np.int64)


def _score(confusion: NDArray[np.int64], groups: tuple[str, ...]) -> Evaluation:
    """Return every score of a confusion matrix."""
    support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    tested = support > 0
    if not tested.any():
        raise InputError("the confusion matrix has 0 images: evaluate on a split with at least one test image")
    per_class = 100.0 * correct / np.maximum(support, 1)
    f1 = 200.0 * correct / np.maximum(support + predicted, 1)
    means: dict[str, float | None] = {}
    for group in GROUPS:
        members = (np.array(groups) == group) & tested
        means[group] = float(per_class[members].mean()) if members.any() else None
    return Evaluation(
        top1=100.0 * float(correct.sum()) / float(support.sum()),
        macro_f1=float(f1[tested].mean()),
        per_class=per_class,
        support=support,
        confusion=confusion,
        groups=groups,
        **means,
    )
