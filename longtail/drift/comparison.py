"""A source of images as it is now against what a champion was trained on: labels, then features of a few images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from longtail.config import DataConfig, DriftConfig
from longtail.data.digest import source_digest
from longtail.data.problems import listing
from longtail.drift.counts import CountChange, count_changes, share_distance
from longtail.drift.reasons import Drift, Reason
from longtail.drift.reference import Reference
from longtail.drift.sample import Chosen, features
from longtail.drift.shift import FEWEST, Moments, Shift, shifts

_MOST_IMAGES = 20_000
"""Images in all that are turned into features, unless five a class are more."""


def compare(
    model: str,
    digest_then: str,
    reference: Callable[[], Reference],
    data: DataConfig,
    config: DriftConfig,
    seed: int,
) -> Drift:
    """Return what changed since a champion's training; if no byte of the source did, nothing but that is computed.

    Args:
        model: The champion, such as `digits/3`.
        digest_then: SHA-256 of the source that it was trained on; empty if unknown.
        reference: Returns what the champion says of its training; called only if the content is new.
        data: The source, and how a training set is chosen from it.
        config: What counts as a reason.
        seed: Chooses the images that are looked at.

    Raises:
        InputError: If the source cannot be read, or its images do not fit the champion's network.
    """
    digest_now = source_digest(data)
    if digest_now == digest_then:
        return Drift(model, digest_then, digest_now)
    then, chosen = reference(), Chosen.of(data)
    counts = count_changes(then.counts, chosen.counts)
    whole, moved = _moves(then, chosen, config, seed)
    reasons = [
        *([_content(digest_then, digest_now)] if config.new_content else []),
        *_classes(counts),
        *_count_reasons(counts, config),
        *_feature_reasons(whole, moved, config),
    ]
    return Drift(model, digest_then, digest_now, tuple(reasons), counts, whole, moved)


def _content(then: str, now: str) -> Reason:
    sentence = f"The source has new content: digest {now[:12]}, not {then[:12] or 'known'}."
    return Reason("content", sentence, {"then": then, "now": now})


def _classes(changes: Sequence[CountChange]) -> list[Reason]:
    """Return a reason each for classes that appeared and classes that vanished."""
    appeared = [change.name for change in changes if not change.then]
    vanished = [change.name for change in changes if not change.now]
    return [
        Reason("classes", f"{len(names)} class{'es' * (len(names) > 1)} {verb}: {listing(names)}.", {verb: names})
        for names, verb in ((appeared, "appeared"), (vanished, "vanished"))
        if names
    ]


def _count_reasons(changes: Sequence[CountChange], config: DriftConfig) -> list[Reason]:
    reasons, distance = [], share_distance(changes)
    if distance > config.share_distance:
        bound = config.share_distance
        sentence = f"The shares of the classes moved by {distance:.3f} in total variation, more than {bound:g}."
        reasons.append(Reason("counts", sentence, {"share_distance": distance, "bound": bound}))
    changed = [change for change in changes if change.exceeds(config.class_change)]
    if changed:
        texts = [f"{change.name!r} from {change.then} to {change.now}" for change in changed]
        sentence = (
            f"{len(changed)} class{'es' * (len(changed) > 1)} changed by more than {config.class_change:.0%}: "
            f"{listing(texts)}."
        )
        numbers = {change.name: [change.then, change.now] for change in changed}
        reasons.append(Reason("counts", sentence, {"changed": numbers, "bound": config.class_change}))
    return reasons


def _moves(then: Reference, chosen: Chosen, config: DriftConfig, seed: int) -> tuple[Shift | None, tuple[Shift, ...]]:
    """Return how far the feature means moved; nothing if no class has images enough, then and now."""
    known = [name for name, count in chosen.counts.items() if count >= FEWEST and then.counts.get(name, 0) >= FEWEST]
    if not known:
        return None, ()
    most = max(FEWEST, min(config.images_per_class, _MOST_IMAGES // len(known)))
    generator, moments = np.random.default_rng(seed), []
    for name in known:
        found = features(then.network, chosen.images(chosen.rows(name, most, generator)))
        moments.append(Moments.of(name, then.standardised(name, found), then.counts[name]))
    return shifts(moments, then.means.shape[1], smallest=config.shift, level=config.false_alarms)


def _feature_reasons(whole: Shift | None, moved: Sequence[Shift], config: DriftConfig) -> list[Reason]:
    reasons = []
    numbers: dict[str, Any] = {"smallest": config.shift, "false_alarms": config.false_alarms}
    if whole is not None and whole.moved:
        sentence = (
            f"The feature means of all classes moved by {whole.distance:.2f} standard deviations "
            f"(p {whole.p_value:.1g}), {config.shift:g} or more."
        )
        reasons.append(Reason("features", sentence, numbers | {"distance": whole.distance, "p_value": whole.p_value}))
    found = sorted((shift for shift in moved if shift.moved), key=lambda shift: -shift.distance)
    if found:
        texts = [f"{shift.name!r} by {shift.distance:.2f} (p {shift.p_value:.1g})" for shift in found]
        sentence = (
            f"The feature mean of {len(found)} class{'es' * (len(found) > 1)} moved by {config.shift:g} standard "
            f"deviations or more: {listing(texts)}."
        )
        distances = {shift.name: shift.distance for shift in found}
        reasons.append(Reason("features", sentence, numbers | {"distances": distances}))
    return reasons
