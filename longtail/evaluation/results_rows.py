"""Rows of the results table: one a classifier and run, in a CSV file that is kept with the code.

The columns are

* `method`: how the classifier was got from the trained network; `as trained` is the network's own.
* `base`: what the network was trained with, such as `CosineCE` or `BalancedSoftmax+AutoAugment+Cutout`.
* `imbalance_factor`, `seed` (of everything but the choice of images), `epochs` (of the network's training).
* `protocol`: `reference` if any setting copies a quirk of the paper's code (the preset `reference`), else `clean`.
* `top1`, `many`, `medium`, `few`: accuracy on the test set in percent; empty for a group without classes.
* `seconds`: the network's training, over all attempts, and this method's retraining; empty if not known.
* `subset_sha256`: of the chosen training images; `run_id`: the pipeline's run in MLflow.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from longtail.config import PipelineConfig
from longtail.errors import InputError
from longtail.evaluation.results_labels import METHODS, base_label, protocol


@dataclass(frozen=True)
class Row:
    """One classifier of one run; the module says what the fields are."""

    method: str
    base: str
    imbalance_factor: float
    seed: int
    protocol: str
    epochs: int
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    seconds: float | None
    subset_sha256: str
    run_id: str

    @property
    def group(self) -> tuple[float, int, str, str]:
        """What rows that are averaged have in common beside their method, in the order of the table."""
        return -self.imbalance_factor, self.epochs, self.base, self.protocol

    @property
    def trained(self) -> tuple[Any, ...]:
        """What identifies the network."""
        return *self.group, self.seed, self.subset_sha256


COLUMNS = tuple(field.name for field in fields(Row))


def rows_of_run(
    config: PipelineConfig,
    metrics: Mapping[str, float],
    seconds: Mapping[str, float | None],
    subset_sha256: str,
    run_id: str,
) -> list[Row]:
    """Return a row for each method of a run.

    Args:
        config: The run's settings.
        metrics: Its metrics, such as `test/crt_top1`.
        seconds: Training and retraining, by the method's setting.
        subset_sha256: Of the chosen images.
        run_id: Its id.

    Raises:
        InputError: If the accuracy of a method is not among the metrics.
    """
    missing = [method for method in config.retraining.methods if f"test/{method}_top1" not in metrics]
    if missing:
        raise InputError(f"it has no metric test/{missing[0]}_top1")

    def score(method: str, group: str) -> float | None:
        value = metrics.get(f"test/{method}_{group}")
        return None if value is None else round(value, 2)

    def row(method: str) -> Row:
        took = seconds.get(method)
        return Row(
            method=METHODS[method],
            base=base_label(config),
            imbalance_factor=config.data.imbalance_factor,
            seed=config.seed,
            protocol=protocol(config),
            epochs=config.backbone.epochs,
            top1=round(metrics[f"test/{method}_top1"], 2),
            many=score(method, "many"),
            medium=score(method, "medium"),
            few=score(method, "few"),
            seconds=None if took is None else round(took, 1),
            subset_sha256=subset_sha256,
            run_id=run_id,
        )

    return [row(method) for method in config.retraining.methods]


def merge(existing: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Return rows in the order of the table, new ones in place of existing ones of the same run and method.

    A run that took its results from the cache of another repeats them: a new row that only repeats is left out.

    Raises:
        InputError: If two rows claim different accuracies for the same classifier.
    """
    merged = {(row.run_id, row.method): row for row in existing}
    for row in new:
        others = [other for key, other in merged.items() if key != (row.run_id, row.method)]
        if not any(_claim(row) == _claim(other) and row.top1 == other.top1 for other in others):
            merged[row.run_id, row.method] = row
    return ordered(merged.values())


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Return rows by falling imbalance factor, then epochs, base, protocol, method, seed and run.

    Raises:
        InputError: If two rows claim different accuracies for the same classifier.
    """
    names = list(METHODS.values())
    result = sorted(rows, key=lambda row: (row.group, names.index(row.method), row.seed, row.subset_sha256, row.run_id))
    for row, following in itertools.pairwise(result):
        if _claim(row) == _claim(following):
            raise InputError(
                f"runs {row.run_id} and {following.run_id} are both {row.method} on {row.base}, imbalance factor "
                f"{row.imbalance_factor:g}, {row.epochs} epochs, seed {row.seed}: collect one of them with --run, or "
                "take the other's rows out of the file"
            )
    return result


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_cell(getattr(row, name)) for name in COLUMNS)
    return stream.getvalue()


def read_rows(text: str, name: str) -> list[Row]:
    """Return the rows of a CSV file, in the order of the table.

    Args:
        text: What `csv_text` returned.
        name: The file's name, for errors.

    Raises:
        InputError: If the header or a value is not as it should be, or two rows contradict each other.
    """
    header, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    if tuple(header) != COLUMNS:
        raise InputError(f"{name} has the columns {','.join(header)!r}: they must be {','.join(COLUMNS)}")
    return ordered(_row(cells, f"{name}, line {number}") for number, cells in enumerate(lines, start=2))


def _cell(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _row(cells: Sequence[str], where: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise InputError(f"{where} has {len(cells)} cells: a row has {len(COLUMNS)}")
    values: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
    if values["method"] not in METHODS.values():
        raise InputError(f"{where}: the method is {values['method']!r}: choose from {', '.join(METHODS.values())}")
    for key in ("imbalance_factor", "seed", "epochs", "top1"):
        values[key] = number(values[key], f"{where}: {key}")
    for key in ("many", "medium", "few", "seconds"):
        values[key] = number(values[key], f"{where}: {key}") if values[key] else None
    for key in ("seed", "epochs"):
        values[key] = int(values[key])
    return Row(**values)


def number(text: str, what: str) -> float:
    """Return a number from a cell.

    Raises:
        InputError: If it is none, or is not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} is {text!r}: give a number")
    return value


def _claim(row: Row) -> tuple[Any, ...]:
    """Return what two rows may not have in common."""
    return *row.trained, row.method
