"""A feature table written as a features artifact, block by block."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import new_artifact, write_array
from longtail.config import TableConfig
from longtail.data.imbalance import subset_sha256
from longtail.data.table_files import table_digest
from longtail.features.extraction import EXAMPLE, SCALING, SCHEMA, SCHEMA_VERSION
from longtail.features.table import SPLITS, FeatureTable

Progress = Callable[[int, int], None]


def import_table(config: TableConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write a table of features as an artifact, with one view of each split.

    Args:
        config: Where it is, its columns, how test rows are chosen and features scaled.
        out: Where the artifact appears.
        progress: Called with rows done and rows in all.

    Returns:
        The manifest's fields.

    Raises:
        InputError: If the table cannot be used; the message names the row.
    """
    table = FeatureTable.open(config)
    scaling = _statistics(table) if config.scaling == "standard" else None
    train = table.rows("train")
    fields: dict[str, Any] = {
        "class_names": list(table.class_names),
        "train_counts": np.bincount(table.labels[train], minlength=len(table.class_names)).tolist(),
        "views": 0,
        "dataset_digest": table_digest(config),
        "subset_sha256": subset_sha256(train),
        "splits": {name: len(rows) for name in SPLITS if len(rows := table.rows(name))},
        "held_out": table.held_out,
        "size": table.size,
    }
    with new_artifact(out, SCHEMA, SCHEMA_VERSION, fields) as folder:
        np.save(folder / EXAMPLE, _first_rows(table))
        if scaling is not None:
            np.save(folder / SCALING, scaling)
        blocks = _Blocks(table, scaling, progress)
        for name, rows in fields["splits"].items():
            (folder / name).mkdir()
            np.save(folder / name / "labels.npy", table.labels[table.rows(name)])
            np.save(folder / name / "ids.npy", table.rows(name))
            write_array(folder / name / "view-0.npy", (rows, table.size), np.float32, blocks.of(name))
    return fields


class _Blocks:
    """A table's blocks, scaled, with progress over all splits."""

    def __init__(self, table: FeatureTable, scaling: NDArray[np.float32] | None, progress: Progress | None) -> None:
        self.table, self.scaling, self.progress = table, scaling, progress
        self.done = 0

    def of(self, split: str) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks (n, D) of a split."""
        for block in self.table.blocks(split):
            yield block if self.scaling is None else (block - self.scaling[0]) / self.scaling[1]
            self.done += len(block)
            if self.progress is not None:
                self.progress(self.done, len(self.table.labels))


def _statistics(table: FeatureTable) -> NDArray[np.float32]:
    """Return (2, D): mean and standard deviation of each feature over the training rows; 1 for one that is constant.

    Blocks are merged by their means and sums of squares (Chan, Golub and LeVeque 1983), which does not cancel.
    """
    count, mean, squares = 0, np.zeros(table.size), np.zeros(table.size)
    for block in table.blocks("train"):
        values = block.astype(np.float64)
        own = values.mean(axis=0)
        total = count + len(values)
        squares += ((values - own) ** 2).sum(axis=0) + (own - mean) ** 2 * (count * len(values) / total)
        mean += (own - mean) * (len(values) / total)
        count = total
    deviation = np.sqrt(squares / count)
    constant = deviation <= 1e-7 * np.abs(mean)  # rounding in float32 alone
    return np.stack([mean, np.where(constant, 1.0, deviation)]).astype(np.float32)


def _first_rows(table: FeatureTable) -> NDArray[np.float32]:
    """Return the first two training rows (2, D) as they are in the table."""
    found = np.empty((0, table.size), dtype=np.float32)
    for block in table.blocks("train"):
        found = np.concatenate([found, block[:2]])[:2]
        if len(found) == 2:
            break
    return found
