"""Settings of what becomes of a run's model: its name in the registry, and when it replaces the champion."""

from dataclasses import dataclass

from longtail.config.fields import number


@dataclass(frozen=True)
class PromotionConfig:
    """Which model a run registers, and the bounds of the gate that decides whether it becomes the champion."""

    model: str = ""
    """Name of the registered model; empty registers none."""
    method: str = ""
    """Retraining method whose model is registered; empty takes the last of `retraining.methods`. It is never chosen by
    test accuracy."""
    promote: bool = True
    """Whether a model that passes becomes the champion; without it the gate's report is all there is."""
    bootstrap: bool = False
    """Whether the first model, which has nothing to be compared with, becomes the champion."""
    level: float = number(0.05, minimum=0.0001, maximum=0.5)
    """Chance at which a model that is no better than the champion may be promoted; ends of intervals leave out as
    much."""
    overall_fall: float = number(1.0, minimum=0.0, maximum=100.0)
    """Points that the accuracy over all test images may fall at most; the interval of the difference must exclude
    more."""
    class_fall: float = number(20.0, minimum=0.0, maximum=100.0)
    """Points that the accuracy of a single class may fall at most, unless chance explains it."""
    flatness: float = number(0.0, minimum=0.0)
    """Largest ratio of the challenger's trace and top eigenvalue to the champion's; 0 does not ask for it."""
