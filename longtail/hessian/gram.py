"""Exact spectra of Gauss-Newton blocks of few samples, from a matrix over samples and outputs in place of parameters.

A block J_l^T S J_l with S = R R^T is A^T A, A = R^T J_l, and has the non-zero eigenvalues of K_l = A A^T. That matrix
has one row for each output of each sample, so it is small where the block itself is not, and those of several
parameters add up to the one of the block that holds them all.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.errors import InputError
from longtail.hessian.operators import BatchLoss, Objective
from longtail.hessian.outputs import curvature_root
from longtail.hessian.per_sample import output_count, pull_back
from longtail.hessian.processes import gathered, rank, total

MOST_ROWS = 2048
"""Rows of the largest matrix taken by default: 34 MB in float64, and seconds for its eigenvalues."""
_MEMORY = 512 * 2**20  # bytes of the factor held at once
_CHUNK = 4096  # columns multiplied in float64 at once
_STRIPES = 8  # of a product's lower triangle

_Piece = tuple[str, slice]  # some columns of a parameter's factor


def gram_size(objective: Objective) -> int:
    """Return the rows of the matrix that `gram_eigenvalues` would make: samples times outputs of a sample."""
    return objective.samples * output_count(objective)


def gram_eigenvalues(
    objective: Objective,
    blocks: Mapping[str, Sequence[str]],
    *,
    most_rows: int = MOST_ROWS,
    memory: int = _MEMORY,
) -> dict[str, NDArray[np.float64]]:
    """Return all non-zero eigenvalues of Gauss-Newton blocks J_l^T S J_l of the mean loss.

    J is the outputs' Jacobian, S the loss's second derivative in them; for softmax cross-entropy of N samples and
    C classes the rank is at most N (C - 1). A block is a block of the Hessian itself for the parameters that
    `longtail.hessian.first_order.affine_parameters` finds for the outputs.

    Memory is `memory`, two matrices of `gram_size` squared in float64, and a sample's gradients; the factor A is made
    for as many columns at a time as fit, so time is a backward pass for each row, as often as A exceeds `memory`, and
    `gram_size` squared operations for each parameter. In a process group every process makes the same matrix.

    Args:
        objective: The objective; call within `longtail.hessian.isolation.isolated`.
        blocks: Names of the parameters of each block, all of them in `objective.parameters`.
        most_rows: Largest `gram_size` accepted.
        memory: Bytes of the factor A held at once.

    Returns:
        For each block its eigenvalues above rounding, ascending; those that are missing from its size are zero.

    Raises:
        InputError: If there are too many rows, a sample's outputs depend on other samples, or S couples samples or has
            negative eigenvalues.
    """
    rows = gram_size(objective)
    if rows > most_rows:
        raise InputError(
            f"{objective.samples} samples with {rows // objective.samples} outputs make {rows} rows: "
            f"give at most {most_rows} for an exact spectrum, or use Lanczos"
        )
    wanted = {name for members in blocks.values() for name in members}
    sizes = {name: value.numel() for name, value in objective.parameters.items() if name in wanted}
    like = next(iter(objective.parameters.values()))
    totals: dict[str, Tensor] = {}
    left = {block: sum(sizes[name] for name in members) for block, members in blocks.items()}
    found: dict[str, NDArray[np.float64]] = {}
    for pieces in _passes(sizes, max(1, memory // (rows * like.element_size()))):
        for (name, columns), product in zip(pieces, _products(objective, rows, pieces), strict=True):
            for block in [block for block, members in blocks.items() if name in members]:
                totals[block] = totals[block].add_(product) if block in totals else product.clone()
                left[block] -= columns.stop - columns.start
                if not left[block]:
                    found[block] = _nonzero(totals.pop(block), like.dtype)
    return {block: found[block] for block in blocks}


def _passes(sizes: Mapping[str, int], columns: int) -> list[list[_Piece]]:
    """Return all parameters' columns, side by side, cut into passes of so many."""
    passes: list[list[_Piece]] = []
    room = 0
    for name, size in sizes.items():
        start = 0
        while start < size:
            if not room:
                passes.append([])
                room = columns
            stop = min(size, start + room)
            passes[-1].append((name, slice(start, stop)))
            room -= stop - start
            start = stop
    return passes


def _products(objective: Objective, rows: int, pieces: Sequence[_Piece]) -> Iterator[Tensor]:
    """Yield A A^T over each piece's columns of A, of which those of all pieces are made at once."""
    like = next(iter(objective.parameters.values()))
    widths = [columns.stop - columns.start for _, columns in pieces]
    whole = torch.zeros(rows, sum(widths), dtype=like.dtype, device=like.device)
    before = sum(gathered([sum(objective.sizes)])[: rank()])  # samples of earlier processes
    places = iter(whole.split(rows // objective.samples)[before:])  # each sample's (C, columns)
    readings = iter(objective.batches)
    names = [name for name, _ in pieces]

    def fill(batch: BatchLoss) -> None:
        inputs, _ = next(readings)
        samples = pull_back(objective, inputs, batch.outputs, _root_columns(batch), names)
        for gradients, place in zip(samples, places, strict=False):
            parts = [gradient[:, columns] for gradient, (_, columns) in zip(gradients, pieces, strict=True)]
            torch.cat(parts, 1, out=place)

    objective.over_batches(fill)
    yield from (_gram(factor) for factor in total(whole).split(widths, 1))


def _root_columns(batch: BatchLoss) -> Tensor:
    """Return the columns of R for each sample, (n, C, ...), with R R^T the batch's share of S."""
    root = curvature_root(batch.value, batch.outputs, torch.Generator().manual_seed(0))
    if root is None or root.negative is not None:
        raise InputError("the loss couples samples or is not convex in the outputs: take Lanczos for its spectrum")
    shape = batch.outputs.shape
    units = torch.eye(shape[1:].numel()).to(batch.outputs)
    columns = [root.positive(unit.reshape(shape[1:]).expand(shape)) for unit in units]
    return torch.stack(columns, 1).detach().mul(math.sqrt(batch.share))


def _gram(factor: Tensor) -> Tensor:
    """Return the lower triangle of A A^T in float64, in stripes, which are 9/16 of the whole product."""
    product = torch.zeros(len(factor), len(factor), dtype=torch.float64, device=factor.device)
    width = -(-len(factor) // _STRIPES)
    for columns in factor.split(_CHUNK, 1):
        part = columns.double()
        for start in range(0, len(factor), width):
            product[start:, start : start + width].addmm_(part[start:], part[start : start + width].T)
    return product


def _nonzero(gram: Tensor, dtype: torch.dtype) -> NDArray[np.float64]:
    """Return the eigenvalues above rounding: that of the matrix in float64, or that of the gradients squared."""
    values: NDArray[np.float64] = torch.linalg.eigvalsh(gram, UPLO="L").cpu().numpy()
    rounding = max(torch.finfo(torch.float64).eps, torch.finfo(dtype).eps ** 2)
    return np.asarray(values[values > len(values) * rounding * values[-1]])
