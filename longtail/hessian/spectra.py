"""Spectra of all blocks: found side by side over one graph, or exact where few samples make that cheap."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.hessian.curvature import BlockOperator
from longtail.hessian.davidson import DavidsonRun
from longtail.hessian.density import exact_density, spectral_density
from longtail.hessian.journal import Journal
from longtail.hessian.lanczos import LanczosRun, Run, Spectrum, side_by_side
from longtail.hessian.report import Density
from longtail.hessian.scalars import density_effective_rank, effective_rank, outlier_count
from longtail.hessian.sketch import sketches

_Key = tuple[str, int]  # block and run


@dataclass(frozen=True)
class BlockSpectrum:
    """What is known of one block's eigenvalues."""

    top: float
    top_residual: float
    lowest: float
    lowest_residual: float
    products: int  # of the longest run; 0 if exact
    density: Density | None
    effective_rank: float | None  # None without a density
    outliers: int
    trace: float | None  # the eigenvalues' sum if all are known
    exact: bool


def exact_spectrum(values: NDArray[np.float64], parameters: int, steps: int) -> BlockSpectrum:
    """Return the spectrum of a block of which all non-zero eigenvalues are known.

    Args:
        values: The non-zero eigenvalues, ascending.
        parameters: Rows of the block.
        steps: Resolution of the density, as of a Lanczos run of so many steps.
    """
    extremes = values if len(values) == parameters else np.sort(np.append(values, 0.0))
    return BlockSpectrum(
        top=float(extremes[-1]),
        top_residual=0.0,
        lowest=float(extremes[0]),
        lowest_residual=0.0,
        products=0,
        density=exact_density(values, parameters, steps),
        effective_rank=effective_rank(float(values.sum()), float(np.square(values).sum())),
        outliers=outlier_count(extremes),
        trace=float(values.sum()),
        exact=True,
    )


def iterative_spectra(
    operator: BlockOperator,
    dense: Set[str],
    *,
    steps: int,
    runs: int,
    accuracy: float,
    seed: int,
    journal: Journal,
    progress: Callable[[int, int], None],
) -> dict[str, BlockSpectrum]:
    """Return the spectrum of each block; all runs advance together over one graph a batch.

    Args:
        operator: The blocks.
        dense: Blocks whose density is wanted: Lanczos takes all steps from Gaussian vectors. For the others Davidson's
            method goes from a sketch until the top eigenvalue is known.
        steps: Most products of a run.
        runs: Runs of each block whose density is wanted.
        accuracy: Relative error of the top eigenvalue at which Davidson's method may end.
        seed: Of the start vectors.
        journal: Keeps the products.
        progress: Called after every step with the steps done and the most there can be.
    """
    keys = [(block, run) for block in operator.blocks for run in range(runs if block in dense else 1)]
    sketched = {block: names for block, names in operator.blocks.items() if block not in dense}
    known = sketched and operator.curvature != "residual"  # of which a sketch knows nothing
    estimates = sketches(operator.objective, sketched, seed, journal) if known else {}
    generator = torch.Generator().manual_seed(seed)
    searches: dict[_Key, Run] = {}
    for block, run in keys:
        like = operator.like(block)
        start = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
        searches[block, run] = (
            DavidsonRun(estimates.get(block), start, steps, accuracy) if block in sketched else LanczosRun(start, steps)
        )
    step = iter(range(steps))

    def products(vectors: Mapping[_Key, Tensor]) -> dict[_Key, Tensor]:
        stored = journal.result(f"products-{next(step)}", lambda: operator.numbered(vectors, keys, lambda key: key[0]))
        return {key: stored[str(keys.index(key))].to(vector) for key, vector in vectors.items()}

    ritz = side_by_side(searches, products, steps, progress)
    return {
        block: _spectrum(
            [ritz[key] for key in keys if key[0] == block], operator.like(block).numel(), steps, block in dense
        )
        for block in operator.blocks
    }


def _spectrum(ritz: Sequence[Spectrum], parameters: int, steps: int, dense: bool) -> BlockSpectrum:
    """Return a block's numbers gathered; the extreme eigenvalues are the most extreme of all runs."""
    top = max(ritz, key=lambda run: float(run.values[-1]))
    lowest = min(ritz, key=lambda run: float(run.values[0]))
    density = spectral_density(ritz, steps) if dense else None
    return BlockSpectrum(
        top=float(top.values[-1]),
        top_residual=float(top.residuals[-1]),
        lowest=float(lowest.values[0]),
        lowest_residual=float(lowest.residuals[0]),
        products=max(len(run.values) for run in ritz),
        density=density,
        effective_rank=None if density is None else density_effective_rank(density, parameters),
        outliers=outlier_count(top.values, top.residuals),
        trace=None,
        exact=False,
    )
