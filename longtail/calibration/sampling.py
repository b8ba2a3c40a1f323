"""Exact draws from calibrated distributions without forming, or factorising, a calibrated covariance.

The average of K class covariances is the covariance of a sum: if class c has the factor `F_c` (its centred rows
over sqrt(n_c - 1)) then `sum_c g_c @ F_c / sqrt(K)` with independent standard normal `g_c` has exactly that
covariance. All rows that have class c among their neighbours share one matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_PAIRS = 1 << 14
"""Pairs of normals transformed at once: the working set stays in a first- or second-level cache."""

_CHUNK_ROWS = 4096
"""Rows of a class that are converted to float64 at once."""

_BATCH = 1 << 17
"""Normals drawn at once for several small matrix products."""


@dataclass(frozen=True)
class Calibration:
    """What is done to features and covariances.

    Attributes:
        tukey: Power of Tukey's transform.
        isotropic: Variance added to the diagonal.
        common: Covariance added to every entry.
        clip: Whether negative entries of generated features become zero.
    """

    tukey: float
    isotropic: float
    common: float
    clip: bool = False


@dataclass(frozen=True)
class Recipe:
    """How each of S seeds is sampled; entry -1 stands for no factor.

    Attributes:
        entries: Which factors are added, `(S, K)`: class c, or C + c for class c with the isotropic noise folded in.
        scales: Factor of the correlated part, `(S,)`: sqrt(K / number of classes that contribute).
        noisy: Whether isotropic noise must be added separately, `(S,)`.
    """

    entries: np.ndarray
    scales: np.ndarray
    noisy: np.ndarray


def share_budget(
    counts: np.ndarray, members: Sequence[np.ndarray], rng: np.random.Generator, fill: float = 1.0
) -> np.ndarray:
    """Share out how many features are generated from each row.

    Each row of a class gets the floor of its share; the remainder goes to rows drawn uniformly with replacement.

    Args:
        counts: Rows of each class, `(C,)`.
        members: For each class its row indices.
        rng: Draws the remainder.
        fill: What share of its shortfall to the largest class a class gets, to the nearest whole number; 1 makes all
            classes equal.

    Returns:
        Features to generate from each row, `(N,)` int64.
    """
    shares = np.zeros(int(counts.sum()), np.int64)
    largest = int(counts.max())
    for count, rows in zip(counts.tolist(), members, strict=True):
        floor, remainder = divmod(round(fill * (largest - count)), count)
        shares[rows] = floor + np.bincount(rng.integers(count, size=remainder), minlength=count)
    return shares


def make_recipe(
    neighbours: np.ndarray,
    means: np.ndarray,
    counts: np.ndarray,
    isotropic: float,
    excluded: np.ndarray | None = None,
) -> Recipe:
    """Decide which factors make up each seed's calibrated covariance.

    A class of one sample has no covariance: the average is over the other neighbours, and if no neighbour has one,
    it is that of the class nearest to the first neighbour that has. The authors' code divides by zero there.

    Args:
        neighbours: Nearest classes of each seed, `(S, K)`, nearest first.
        means: Class means, `(C, D)`.
        counts: Rows of each class, `(C,)`.
        isotropic: Variance that is added to the diagonal.
        excluded: A class for each seed that may not lend to it, `(S,)`, or None.

    Returns:
        The recipe of each seed.
    """
    n_classes, n_neighbors, n_features = len(counts), neighbours.shape[1], means.shape[1]
    entries = np.where(counts[neighbours] > 1, neighbours, -1)
    for seed in np.flatnonzero((entries < 0).all(axis=1)):
        own = -1 if excluded is None else int(excluded[seed])
        entries[seed, 0] = _lender(int(neighbours[seed, 0]), own, means, counts)
    contributing = (entries >= 0).sum(axis=1)
    scales = np.sqrt(n_neighbors / np.maximum(contributing, 1))
    noisy = np.full(len(entries), isotropic > 0)
    if isotropic > 0:
        # A class of more than D rows has a full D x D factor: the noise goes into it and costs no normals.
        seeds = np.arange(len(entries))
        host = np.where(entries >= 0, counts[entries], 0).argmax(axis=1)
        folded = (contributing == n_neighbors) & (counts[entries[seeds, host]] > n_features)
        entries[seeds[folded], host[folded]] += n_classes
        noisy = ~folded
    # NumPy sorts 16-bit integers by radix.
    return Recipe(entries.astype(np.int16 if 2 * n_classes < 1 << 15 else np.int32), scales, noisy)


def _lender(index: int, excluded: int, means: np.ndarray, counts: np.ndarray) -> int:
    """Return the class nearest to one class that has a covariance and is not excluded, or -1 if there is none."""
    able = (counts > 1) & (np.arange(len(counts)) != excluded)
    if not able.any():
        return -1
    distances = np.where(able, np.square(means - means[index]).sum(axis=1), np.inf)
    return int(distances.argmin())


def thin_factor(rows: np.ndarray, mean: np.ndarray, share: float) -> np.ndarray:
    """Return the factor of a class of at most D rows: its centred rows, scaled.

    Args:
        rows: The class's features, `(n, D)`; not changed.
        mean: Its mean, `(D,)` float64.
        share: What the scatter is multiplied by, 1 / (K (n - 1)).

    Returns:
        `(n, D)` in the dtype of `rows`.
    """
    factor: np.ndarray = rows - mean.astype(rows.dtype)
    factor *= rows.dtype.type(np.sqrt(share))
    return factor


def full_factors(rows: np.ndarray, mean: np.ndarray, share: float, isotropic: Sequence[float]) -> list[np.ndarray]:
    """Return D x D factors of a class of more than D rows, with isotropic variance folded in.

    Args:
        rows: The class's features, `(n, D)`, n > D.
        mean: Its mean, `(D,)` float64.
        share: What the scatter is multiplied by, 1 / (K (n - 1)).
        isotropic: Variances added to the diagonal, one for each factor to return; 0 adds none.

    Returns:
        Factors `(D, D)` in the dtype of `rows`.
    """
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _CHUNK_ROWS):
        centred = rows[start : start + _CHUNK_ROWS] - mean
        covariance += centred.T @ centred
    covariance *= share
    return [_square_root(covariance, value).astype(rows.dtype, order="C") for value in isotropic]


def _square_root(covariance: np.ndarray, isotropic: float) -> np.ndarray:
    """Return F with `F.T @ F` equal to covariance + isotropic I, up to float64 rounding."""
    size = len(covariance)
    # A feature that never fires makes a covariance singular; what is added here is the size of rounding errors.
    rounding = 10 * size * np.finfo(np.float64).eps * covariance.diagonal().max() + np.finfo(np.float64).tiny
    shifted = covariance.copy()
    shifted.reshape(-1)[:: size + 1] += isotropic + rounding
    try:
        return np.linalg.cholesky(shifted).T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        root: np.ndarray = np.sqrt(np.maximum(values, 0) + isotropic)[:, None] * vectors.T
        return root


def fill_normals(rng: np.random.Generator, out: np.ndarray) -> None:
    """Fill a contiguous array with independent standard normals.

    float64 comes from NumPy's ziggurat. float32 comes from the Box-Muller transform on 32-bit integers, whose
    logarithm, sine and cosine NumPy vectorises: about three times faster, with tails to 6.6 standard deviations.

    Args:
        rng: Source of random bits.
        out: Contiguous float32 or float64 array; overwritten.

    Source:
        Box, Muller 1958, "A note on the generation of random normal deviates".
    """
    flat = out.reshape(-1)
    if flat.dtype != np.float32:
        rng.standard_normal(out=flat)
        return
    for start in range(0, len(flat), 2 * _PAIRS):
        _box_muller(rng, flat[start : start + 2 * _PAIRS])


def _box_muller(rng: np.random.Generator, out: np.ndarray) -> None:
    half = (len(out) + 1) // 2
    bits = rng.integers(1 << 64, size=half, dtype=np.uint64).view(np.int32)
    # The midpoints of 2**31 equal cells of (0, 1]: never zero, so the logarithm is finite.
    radius = np.bitwise_and(bits[:half], 0x7FFFFFFF).astype(np.float32)
    radius += np.float32(0.5)
    radius *= np.float32(2.0**-31)
    np.log(radius, out=radius)
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = bits[half:].astype(np.float32)
    angle *= np.float32(np.pi * 2.0**-31)
    sine = np.sin(angle)
    np.cos(angle, out=angle)
    np.multiply(radius, angle, out=out[:half])
    np.multiply(radius[: len(out) - half], sine[: len(out) - half], out=out[half:])


def add_correlated(
    out: np.ndarray,
    entries: np.ndarray,
    scales: np.ndarray,
    factor: Callable[[int], np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Add the correlated part of each row: for every neighbour class, normals times its factor.

    Args:
        out: Rows to add to, `(B, D)`.
        entries: Factors that each row needs, `(B, K)` (see `Recipe`).
        scales: What each row's correlated part is multiplied by, `(B,)`.
        factor: Returns the factor of an entry, `(r, D)`.
        rng: Source of the normals.
    """
    # Sorted by entry, all rows that need a factor lie together: one product for each factor, written in place.
    order = np.argsort(entries, axis=None, kind="stable")
    ordered = entries.ravel()[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-2)).tolist()
    products = np.empty((len(order), out.shape[1]), out.dtype)
    groups, size = [], 0
    for entry, start, stop in zip(ordered[starts].tolist(), starts, [*starts[1:], len(order)], strict=True):
        if entry < 0:
            products[start:stop] = 0
            continue
        groups.append((products[start:stop], factor(entry)))
        size += (stop - start) * len(groups[-1][1])
        if size >= _BATCH:
            _multiply(groups, size, rng)
            groups, size = [], 0
    _multiply(groups, size, rng)
    positions = np.empty_like(order)
    positions[order] = np.arange(len(order))
    gathered, scaled = np.empty_like(out), bool((scales != 1).any())
    for position in positions.reshape(entries.shape).T:
        np.take(products, position, axis=0, out=gathered, mode="clip")
        if scaled:
            gathered *= scales[:, None].astype(out.dtype)
        out += gathered


def _multiply(groups: list[tuple[np.ndarray, np.ndarray]], size: int, rng: np.random.Generator) -> None:
    """Write normals times factor into each group's rows; `size` is the number of normals they take together."""
    if not groups:
        return
    normals = np.empty(size, groups[0][0].dtype)
    fill_normals(rng, normals)
    offset = 0
    for rows, matrix in groups:
        stop = offset + len(rows) * len(matrix)
        np.matmul(normals[offset:stop].reshape(len(rows), len(matrix)), matrix, out=rows)
        offset = stop


def add_noise(out: np.ndarray, noisy: np.ndarray, isotropic: float, common: float, rng: np.random.Generator) -> None:
    """Add isotropic noise to some rows, and to each row one normal that all of its features share.

    Args:
        out: Rows to add to, `(B, D)`.
        noisy: Rows that get isotropic noise, `(B,)` bool.
        isotropic: Variance of each feature's own noise.
        common: Variance of the shared normal: a covariance of `common` in every entry.
        rng: Source of the normals.
    """
    rows = np.flatnonzero(noisy)
    if len(rows):
        normals = np.empty((len(rows), out.shape[1]), out.dtype)
        fill_normals(rng, normals)
        normals *= out.dtype.type(np.sqrt(isotropic))
        if len(rows) == len(out):
            out += normals
        else:
            out[rows] += normals
    if common > 0:
        shift = np.empty(len(out), out.dtype)
        fill_normals(rng, shift)
        shift *= out.dtype.type(np.sqrt(common))
        out += shift[:, None]
