"""Settings of the comparison that decides whether a champion is to be retrained."""

from dataclasses import dataclass

from longtail.config.fields import number


@dataclass(frozen=True)
class DriftConfig:
    """What counts as a reason to train again, of the training images as they would be chosen now."""

    new_content: bool = False
    """Whether new content alone is a reason, without any change that was measured in it."""
    share_distance: float = number(0.1, minimum=0.0, maximum=1.0)
    """Total variation distance between the shares of the classes, then and now, that is a reason."""
    class_change: float = number(0.5, minimum=0.0)
    """Relative change of the number of a class's images that is a reason, if chance does not explain it."""
    shift: float = number(0.5, minimum=0.0)
    """Root mean square over the features, in standard deviations within a class, by which the mean of a class or of all
    classes has to move."""
    false_alarms: float = number(0.01, minimum=1e-6, maximum=0.5)
    """Chance that feature means are called moved, by however little, that did not move."""
    images_per_class: int = number(20, minimum=5, maximum=1000)
    """Images of a class that are turned into features; a class with fewer than five now is counted only."""
