"""Learning-rate schedules as functions of progress."""

import math


def learning_rate(schedule: str, peak: float, progress: float, warmup: float = 0.0) -> float:
    """Return the learning rate of a step.

    Args:
        schedule: `constant`; `cosine`, peak · (1 + cos πt)/2; or `onecycle`, a linear rise over the first
            `warmup` of the steps and a cosine fall to zero over the rest.
        peak: Largest rate.
        progress: Steps done over all steps, in [0, 1).
        warmup: Share of the steps in [0, 1], for `onecycle`.
    """
    if schedule == "constant":
        return peak
    if schedule == "onecycle":
        if progress < warmup:
            return peak * max(progress / warmup, 0.01)
        progress = (progress - warmup) / (1 - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
