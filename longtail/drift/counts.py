"""Class counts then and now: how far they are from each other, and which changes are more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_CHANCE = 3.0
"""Standard deviations of the difference of two counts of one rate, √(then + now), that chance explains."""


@dataclass(frozen=True)
class CountChange:
    """Images of one class then and now; 0 where there was, or is, no such class."""

    name: str
    then: int
    now: int

    @property
    def relative(self) -> float | None:
        """Change relative to then; None for a class that is new."""
        return (self.now - self.then) / self.then if self.then else None

    def exceeds(self, bound: float) -> bool:
        """Return whether a class that was and is there changed by more than a relative bound and more than chance."""
        if not self.then or not self.now:
            return False
        difference = abs(self.now - self.then)
        return difference > bound * self.then and difference > _CHANCE * math.sqrt(self.then + self.now)


def count_changes(then: Mapping[str, int], now: Mapping[str, int]) -> tuple[CountChange, ...]:
    """Return the change of every class by name: those there are, then those that vanished."""
    names = [*now, *(name for name in then if name not in now)]
    return tuple(CountChange(name, then.get(name, 0), now.get(name, 0)) for name in names)


def share_distance(changes: Sequence[CountChange]) -> float:
    """Return the total variation distance of the class shares, in [0, 1].

    >>> share_distance([CountChange("cat", 50, 30), CountChange("dog", 50, 70)])
    0.2
    """
    then, now = sum(change.then for change in changes), sum(change.now for change in changes)
    if not then or not now:
        return float(then != now)
    return sum(abs(change.now / now - change.then / then) for change in changes) / 2
