"""Everything that is wrong with the images and labels of a source, reported in one message."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from longtail.data.tables import ImageTable, Source
from longtail.errors import InputError

LISTED = 20


@dataclass
class Problems:
    """Names of what is wrong, one list a kind."""

    empty: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.empty or self.unknown or self.corrupt)

    def check(self, name: str) -> None:
        """Raise if there is any problem.

        Args:
            name: Name of the source.

        Raises:
            InputError: With the count of each kind and the first 20 names of it, in one line.
        """
        kinds = (("empty classes", self.empty), ("unknown labels", self.unknown), ("corrupt images", self.corrupt))
        found = "; ".join(f"{len(names)} {kind}: {listing(names)}" for kind, names in kinds if names)
        if found:
            raise InputError(f"{name} has {found}; repair or remove them")


def label_problems(source: Source) -> Problems:
    """Return the unknown labels of each split and the classes without an image in one of them."""
    problems = Problems()
    for split, table in source.tables.items():
        known = known_labels(table, len(source.class_names))
        rows = np.flatnonzero(~known)
        problems.unknown += [f"{table.names(int(row))!r} ({table.labels[row]})" for row in rows]
        counts = np.bincount(table.labels[known], minlength=len(source.class_names))
        problems.empty += [f"{source.class_names[c]!r} in {split}" for c in np.flatnonzero(counts == 0)]
    return problems


def known_labels(table: ImageTable, classes: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which labels lie in [0, classes), shape (N,)."""
    return (table.labels >= 0) & (table.labels < classes)


def listing(names: Sequence[str]) -> str:
    """Return names in one line, at most 20 of them."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
