"""The gate: one decision from two models' predictions on the same held-out set, with the reason for each criterion.

A challenger takes the champion's place only if all of these hold:

* Evidence: both models' predictions on the same images are there. Nothing missing is ever taken for a pass.
* Rise: the accuracy of the classes with the fewest training images (few-shot; where none of these is tested, medium-
  shot, else many-shot) rises, the paired bootstrap interval excludes zero, and equal models would show such a rise with
  a probability of at most `level`. A model that only holds this accuracy is not promoted, as a model that is no better
  would be; so a model that looks better by chance alone passes at a rate of at most `level`.
* Overall: the interval of the difference over all test images excludes a fall of more than `overall_fall` points.
* Classes: no class falls by more than `class_fall` points, unless equal models would show such a fall in one of so many
  classes with a probability above `level` (Bonferroni).
* Flatness, if `flatness` is set: each curvature that is known of the challenger is at most that multiple of the
  champion's.

The first model has nothing to be compared with and passes only if `bootstrap` is set.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.config.promotion import PromotionConfig
from longtail.evaluation.intervals import WHOLE, class_weights, paired_intervals
from longtail.evaluation.metrics import GROUPS
from longtail.gate.chance import falls_by_chance, rise_by_chance
from longtail.gate.scores import Scores


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of the two models.

    Attributes:
        name: As it is shown, such as `fish/3`.
        scores: Its predictions; None if there are none on this held-out set.
        curvature: Numbers by name, such as `trace`; smaller is flatter.
    """

    name: str
    scores: Scores | None
    curvature: Mapping[str, float]


@dataclass(frozen=True)
class Criterion:
    """One reason for or against.

    Attributes:
        name: What is asked.
        passed: Whether it speaks for the challenger.
        sentence: What was found, in words.
        measured: The number it is about; None if there is none.
        low: Lower end of its interval.
        high: Upper end of its interval.
        bound: What the number, or the lower end, had to reach.
    """

    name: str
    passed: bool
    sentence: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Difference:
    """Accuracies of one group in percent, their difference in points and its interval."""

    challenger: float
    champion: float
    low: float
    high: float

    @property
    def points(self) -> float:
        """The challenger's accuracy less the champion's."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class Decision:
    """The gate's report.

    Attributes:
        promoted: Whether every criterion speaks for the challenger.
        challenger: Its name.
        champion: The other's name; empty if there is none.
        criteria: The reasons.
        differences: By `top1` and group; empty without evidence.
        test_digest: SHA-256 that identifies the held-out set; empty without evidence.
        test_images: Its size.
        level: One-sided level of the intervals and tests.
    """

    promoted: bool
    challenger: str
    champion: str
    criteria: tuple[Criterion, ...]
    differences: Mapping[str, Difference]
    test_digest: str
    test_images: int
    level: float

    @property
    def sentence(self) -> str:
        """The decision with its reasons."""
        if self.promoted:
            reasons = [criterion.sentence for criterion in self.criteria]
            return f"{self.challenger} passes the gate: {'; '.join(reasons)}."
        reasons = [criterion.sentence for criterion in self.criteria if not criterion.passed]
        return f"{self.challenger} does not pass the gate: {'; '.join(reasons)}."

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {**asdict(self), "sentence": self.sentence}


def decide(challenger: Candidate, champion: Candidate | None, config: PromotionConfig) -> Decision:
    """Return whether a challenger passes the gate, and why.

    Args:
        challenger: The new model.
        champion: The model in use, None if there is none.
        config: Bounds.
    """
    scores = challenger.scores
    digest, images = (scores.test_digest, len(scores.labels)) if scores else ("", 0)
    criteria = [_evidence(challenger, champion, config)]
    differences: Mapping[str, Difference] = {}
    if criteria[0].passed and champion is not None and scores is not None and champion.scores is not None:
        pair = _Pair.of(scores, champion.scores, config.level)
        differences = pair.differences
        criteria += [_rise(pair, config), _overall(pair, config), _classes(pair, config)]
    if config.flatness and champion is not None:
        criteria.append(_flatness(challenger, champion, config.flatness))
    return Decision(
        all(criterion.passed for criterion in criteria),
        challenger.name,
        champion.name if champion else "",
        tuple(criteria),
        differences,
        digest,
        images,
        config.level,
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two models on one held-out set: images that only one gets right, by class, and differences by group."""

    gained: NDArray[np.int64]  # (C,)
    lost: NDArray[np.int64]  # (C,)
    support: NDArray[np.int64]  # (C,)
    weights: Mapping[str, NDArray[np.float64]]  # (C,) each
    differences: Mapping[str, Difference]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, challenger: Scores, champion: Scores, level: float) -> "_Pair":
        labels, groups, size = challenger.labels, challenger.groups, len(challenger.class_names)
        right, other = challenger.predictions == labels, champion.predictions == labels
        support, mine, theirs, gained, lost = (
            np.bincount(labels[rows], minlength=size)
            for rows in (np.full(len(labels), True), right, other, right & ~other, other & ~right)
        )
        weights = class_weights(support, groups)
        ends = paired_intervals(labels, challenger.predictions, champion.predictions, groups, level=1 - 2 * level)
        differences = {
            name: Difference(float(mine @ weights[name]), float(theirs @ weights[name]), *ends[name])
            for name in weights
        }
        return cls(gained, lost, support, weights, differences, challenger.class_names)


def _evidence(challenger: Candidate, champion: Candidate | None, config: PromotionConfig) -> Criterion:
    if challenger.scores is None:
        return Criterion("evidence", False, f"there are no predictions of {challenger.name} on a held-out set")
    if champion is None:
        said = "it is the first model, and promotion.bootstrap is "
        return Criterion("evidence", config.bootstrap, said + ("set" if config.bootstrap else "not set"))
    if champion.scores is None:
        return Criterion("evidence", False, f"there are no predictions of {champion.name} on this held-out set")
    if challenger.scores.test_digest != champion.scores.test_digest or not np.array_equal(
        challenger.scores.labels, champion.scores.labels
    ):
        return Criterion("evidence", False, f"{champion.name} was tested on other images than {challenger.name}")
    images = len(challenger.scores.labels)
    return Criterion("evidence", True, f"both models were tested on the same {images:,} images")


def _rise(pair: _Pair, config: PromotionConfig) -> Criterion:
    group = next(name for name in reversed(GROUPS) if name in pair.differences)
    found = pair.differences[group]
    chance = rise_by_chance(pair.gained, pair.lost, pair.weights[group])
    passed = found.points > 0 and found.low > 0 and chance <= config.level
    said = f"{group}-shot accuracy {_moved(found)}"
    if not passed:
        said += f", which is no rise beyond chance (equal models show it with probability {chance:.2g})"
    return Criterion("rise", passed, said, found.points, found.low, found.high, 0.0)


def _overall(pair: _Pair, config: PromotionConfig) -> Criterion:
    found, bound = pair.differences[WHOLE], -config.overall_fall
    passed, said = found.low >= bound, f"accuracy over all images {_moved(found)}"
    if not passed:
        more = "a fall of" if found.points < bound else "which does not exclude a fall of"
        said += f", {more} more than {config.overall_fall:g} points"
    return Criterion("overall", passed, said, found.points, found.low, found.high, bound)


def _classes(pair: _Pair, config: PromotionConfig) -> Criterion:
    tested = pair.support > 0
    points = 100.0 * (pair.gained - pair.lost) / np.maximum(pair.support, 1)
    by_chance = falls_by_chance(pair.gained, pair.lost) * tested.sum()
    fallen = np.flatnonzero(tested & (points < -config.class_fall) & (by_chance <= config.level))
    worst = int(np.where(tested, points, np.inf).argmin())
    shown = int(fallen[points[fallen].argmin()]) if len(fallen) else worst
    said = f"no class falls by more than {config.class_fall:g} points beyond chance"
    if len(fallen):
        others = f" and {len(fallen) - 1} more" if len(fallen) > 1 else ""
        said = f"class {pair.class_names[shown]!r}{others} falls by {-points[shown]:.1f} points, more than the allowed "
        said += f"{config.class_fall:g}"
    return Criterion("classes", not len(fallen), said, float(points[shown]), bound=-config.class_fall)


def _flatness(challenger: Candidate, champion: Candidate, bound: float) -> Criterion:
    if not challenger.curvature:
        return Criterion("flatness", False, f"no curvature of {challenger.name} is known", bound=bound)
    for name, value in challenger.curvature.items():
        if not champion.curvature.get(name, 0.0) > 0 or not np.isfinite(value):
            said = f"{name} of {champion.name} and {challenger.name} cannot be compared"
            return Criterion("flatness", False, said, bound=bound)
    ratios = {name: value / champion.curvature[name] for name, value in challenger.curvature.items()}
    name = max(ratios, key=lambda key: ratios[key])
    said = f"its {name.replace('_', ' ')} is {ratios[name]:.2f} times the champion's"
    passed = ratios[name] <= bound
    return Criterion("flatness", passed, said if passed else f"{said}, more than {bound:g}", ratios[name], bound=bound)


def _moved(found: Difference) -> str:
    """Return a difference in words."""
    ends = f"[{found.low:+.2f}, {found.high:+.2f}]"
    return f"goes from {found.champion:.2f} to {found.challenger:.2f} ({found.points:+.2f} points, {ends})"
