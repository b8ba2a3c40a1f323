"""Accuracy over the settings and seeds of a sweep: mean and standard deviation, and the gain over the first method."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longtail.errors import InputError
from longtail.evaluation.metrics import GROUPS
from longtail.evaluation.table import NO_VALUE

METHODS = "retraining.methods"
"""A swept list of methods is no setting of its own: each method is a row whatever list it was in."""
SCORES = ("all", *GROUPS)
COLUMNS = (*SCORES, "gain few", "gain all")
_ANY = "any"

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Point:
    """What one run of the pipeline found.

    Attributes:
        settings: Value of each swept setting, as text.
        seed: Seed of the pipeline.
        scores: Accuracy in percent by method and by `SCORES`; None for a group without classes.
    """

    settings: Mapping[str, str]
    seed: int
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class Spread:
    """Values of one number over the seeds.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation with one less than their number as the divisor; None for a single seed.
        seeds: How many there are.
    """

    mean: float
    deviation: float | None
    seeds: int

    def text(self, sign: str = "") -> str:
        """Return `84.60 ± 0.53`; a sign of `+` is written before a mean that is not negative."""
        mean = f"{self.mean:{sign}.2f}"
        return mean if self.deviation is None else f"{mean} ± {self.deviation:.2f}"


@dataclass(frozen=True)
class Row:
    """One method at one value of every swept setting.

    Attributes:
        method: Its name.
        values: Value of each of `SweepTable.keys`.
        spreads: By `COLUMNS`, accuracies in percent and gains in points; None where there is no value.
    """

    method: str
    values: tuple[str, ...]
    spreads: Mapping[str, Spread | None]

    @property
    def seeds(self) -> int:
        """Number of seeds that have a result."""
        return self.spreads["all"].seeds if self.spreads["all"] else 0


@dataclass(frozen=True)
class SweepTable:
    """A sweep's accuracies.

    Attributes:
        keys: The swept settings but for `METHODS`.
        values: Values of each, in the order in which they were given.
        methods: All methods; gains are over the first.
        seeds: All seeds, ascending.
        rows: By method, then by settings.
    """

    keys: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    def find(self, method: str, values: Mapping[str, str]) -> Row | None:
        """Return the row of a method at a value of every key; None if no run of it ended."""
        wanted = tuple(values[key] for key in self.keys)
        return next((row for row in self.rows if (row.method, row.values) == (method, wanted)), None)


def tabulate(points: Sequence[Point]) -> SweepTable:
    """Return the mean and standard deviation over seeds of every accuracy and gain.

    A gain is taken seed by seed, a method less the first method at the same settings and seed, so that what a seed
    does to both cancels.

    Args:
        points: Results in the order of the sweep, all with the same swept settings; seeds may be missing.

    Raises:
        InputError: If there is no result, or two differ in what was swept.
    """
    if not points:
        raise InputError("the sweep has 0 results: give at least one")
    keys = tuple(key for key in points[0].settings if key != METHODS)
    cells: dict[tuple[str, ...], dict[int, dict[str, Scores]]] = {}
    for point in points:
        if set(point.settings) != set(points[0].settings):
            raise InputError(
                f"a result is of the settings {', '.join(point.settings) or 'none'}, the first of "
                f"{', '.join(points[0].settings) or 'none'}: give results of one sweep"
            )
        values = tuple(point.settings[key] for key in keys)
        cells.setdefault(values, {}).setdefault(point.seed, {}).update(point.scores)
    methods = tuple(dict.fromkeys(method for point in points for method in point.scores))
    rows = [
        Row(method, values, _spreads(method, methods[0], by_seed))
        for method in methods
        for values, by_seed in cells.items()
        if any(method in scores for scores in by_seed.values())
    ]
    seen = {key: tuple(dict.fromkeys(values[place] for values in cells)) for place, key in enumerate(keys)}
    return SweepTable(keys, seen, methods, tuple(sorted({point.seed for point in points})), tuple(rows))


def table_rows(table: SweepTable) -> list[list[str]]:
    """Return a header and one row for each method and setting, as text: `mean ± standard deviation`.

    A method that none of the swept settings touches gets one row, with `any` for their values. Where a seed is missing,
    a column says how many there are.
    """
    uneven = any(row.seeds < len(table.seeds) for row in table.rows)
    rows = [["method", *table.keys, *COLUMNS, *(["seeds"] if uneven else [])]]
    for method in table.methods:
        own = [row for row in table.rows if row.method == method]
        untouched = len(own) > 1 and all(row.spreads == own[0].spreads for row in own)
        for row in own[:1] if untouched else own:
            values = [_ANY] * len(table.keys) if untouched else row.values
            cells = [_cell(column, row.spreads[column]) for column in COLUMNS]
            rows.append([method, *values, *cells, *([str(row.seeds)] if uneven else [])])
    return rows


def table_text(table: SweepTable) -> str:
    """Return `table_rows` as aligned lines for a terminal."""
    rows = table_rows(table)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    left = 1 + len(table.keys)
    aligned = [str.ljust] * left + [str.rjust] * (len(widths) - left)
    return "\n".join(
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)) for row in rows
    )


def table_csv(table: SweepTable) -> str:
    """Return every row in full precision: settings, method, and mean, deviation and number of seeds by column."""
    names = [f"{column.replace(' ', '_')}_{part}" for column in COLUMNS for part in ("mean", "sd", "seeds")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *table.keys, *names])
    for row in table.rows:
        cells: list[float | None] = []
        for column in COLUMNS:
            spread = row.spreads[column]
            cells += [spread.mean, spread.deviation, spread.seeds] if spread else [None, None, 0]
        writer.writerow([row.method, *row.values, *cells])
    return text.getvalue()


def _spreads(method: str, first: str, by_seed: Mapping[int, Mapping[str, Scores]]) -> dict[str, Spread | None]:
    own = [scores[method] for scores in by_seed.values() if method in scores]
    spreads = {column: _spread([scores[column] for scores in own]) for column in SCORES}
    pairs = [(scores[method], scores[first]) for scores in by_seed.values() if {method, first} <= scores.keys()]
    for column in ("few", "all"):
        gains = [_difference(after[column], before[column]) for after, before in pairs]
        spreads[f"gain {column}"] = None if method == first else _spread(gains)
    return spreads


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _spread(values: Sequence[float | None]) -> Spread | None:
    found = [value for value in values if value is not None]
    if not found:
        return None
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return Spread(math.fsum(found) / len(found), deviation, len(found))


def _cell(column: str, spread: Spread | None) -> str:
    return NO_VALUE if spread is None else spread.text("+" if column.startswith("gain") else "")
