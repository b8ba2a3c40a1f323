"""MODALS as the TailCalib paper compares with it: training features with a little Gaussian noise."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longtail.artifacts import write_array
from longtail.calibration.statistics import group_rows

_BLOCK_ROWS = 4096

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def class_deviations(features: Floats, labels: Rows, classes: int) -> Floats:
    """Return the standard deviation of each feature within each class, (C, D).

    A class of one row, or none, has no deviation of its own and gets the mean of the others'; all are zero if no
    class has two rows.

    Args:
        features: (N, D).
        labels: (N,) in [0, C).
        classes: C.
    """
    order, starts = group_rows(labels, classes)
    deviations = np.zeros((classes, features.shape[1]), np.float32)
    counts = np.diff(starts)
    able = np.flatnonzero(counts > 1)
    for label in able:
        own = features[order[starts[label] : starts[label + 1]]]
        deviations[label] = own.std(axis=0, ddof=1, dtype=np.float64)
    if len(able):
        deviations[counts < 2] = deviations[able].mean(axis=0)
    return deviations


def write_perturbed(
    path: Path, features: Floats, labels: Rows, seed_rows: Rows, noise: float, rng: np.random.Generator
) -> None:
    """Write x + noise · e ⊙ s for each seed x as an npy file (M, D), e standard normal and s its class's deviations.

    This is the Gaussian operator alone of Cheung, Yeung 2021, "MODALS: Modality-agnostic automated data augmentation
    in the latent space" (ICLR), as in the code of Vigneswaran et al. 2021, arXiv 2111.05956.

    Args:
        path: File to write.
        features: (N, D).
        labels: (N,) in [0, C).
        seed_rows: (M,) the row that each generated one comes from.
        noise: Factor on the deviations.
        rng: Draws the noise.
    """
    deviations = np.float32(noise) * class_deviations(features, labels, int(labels.max()) + 1)

    def blocks() -> Iterator[Floats]:
        for start in range(0, len(seed_rows), _BLOCK_ROWS):
            rows = seed_rows[start : start + _BLOCK_ROWS]
            normals = rng.standard_normal((len(rows), features.shape[1]), np.float32)
            yield features[rows] + normals * deviations[labels[rows]]

    write_array(path, (len(seed_rows), features.shape[1]), np.float32, blocks())
