"""Traces whose error falls faster than one over the root of the products, where a few eigenvalues make the most of it.

Both methods find the range of the large eigenvalues and probe only the rest. They need one vector for all of the data,
and memory for half or a third as many vectors as products: they are for final reports of trained networks. Near
initialisation, where spectra are indefinite and fall slowly, plain probes may be better.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.hessian.trace import TraceEstimate, signs

_DEPENDENT = 10  # units in the last place: smaller singular values of the probes' images are nothing but rounding

Products = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


def hutch_plus_plus(
    products: Products, like: Mapping[str, Tensor], count: int, generator: torch.Generator
) -> dict[str, TraceEstimate]:
    """Estimate traces of several symmetric matrices (Meyer et al. 2021, Hutch++, arXiv 2010.09649, algorithm 1).

    Args:
        products: Takes a vector for each matrix, (P,), and returns each matrix times its vector.
        like: A tensor of each matrix's vector shape, dtype and device.
        count: Products with each matrix, 6 or more; a third each for the range, its trace and the rest.
        generator: Source of the probes, on the CPU.

    Returns:
        The estimates; their standard errors are of the rest, and there is none for the choice of the samples.
    """
    third = count // 3
    images = _multiply(products, _probes(like, third, generator))
    bases = {name: torch.linalg.qr(rows.T).Q for name, rows in images.items()}
    inside = _multiply(products, {name: basis.T for name, basis in bases.items()})
    probes = _probes(like, count - 2 * third, generator)
    outside = {name: rows - rows @ bases[name] @ bases[name].T for name, rows in probes.items()}
    images = _multiply(products, outside)
    found = {}
    for name, basis in bases.items():
        rest = (outside[name] * images[name]).sum(1).double().cpu().numpy()
        found[name] = _estimate(float((basis.T * inside[name]).sum()) + rest)
    return found


def xtrace(
    products: Products, like: Mapping[str, Tensor], count: int, generator: torch.Generator
) -> dict[str, TraceEstimate]:
    """Estimate traces of several symmetric matrices (Epperly, Tropp and Webber 2024, XTrace, arXiv 2301.07825).

    Every probe is the test of the range that the others span, so each of count / 2 probes serves twice. If the images
    of the probes are linearly dependent they span the matrix's whole range, and the trace is exact.

    Args:
        products: Takes a vector for each matrix, (P,), and returns each matrix times its vector.
        like: A tensor of each matrix's vector shape, dtype and device.
        count: Products with each matrix, 4 or more.
        generator: Source of the probes, on the CPU.

    Returns:
        The estimates; the standard error takes the probes' estimates for independent, which makes it up to a third
        too small, and there is none for the choice of the samples.
    """
    probes = _directions(like, count // 2, generator)
    images = _multiply(products, probes)
    bases = {name: torch.linalg.qr(rows.double().T) for name, rows in images.items()}
    inside = _multiply(products, {name: basis.Q.T.to(images[name]) for name, basis in bases.items()})
    return {
        name: _estimate(
            _left_out(
                basis.Q, basis.R, inside[name].double(), probes[name].double(), torch.finfo(images[name].dtype).eps
            )
        )
        for name, basis in bases.items()
    }


def _left_out(Q: Tensor, R: Tensor, inside: Tensor, probes: Tensor, rounding: float) -> NDArray[np.float64]:
    """Return the estimate that each probe gives together with the range of all others, (k,).

    Without probe i the range is that of Q (I - s s^T), s the normalised i-th column of R^-T.
    """
    H, W = inside @ Q, Q.T @ probes.T  # Q^T A Q and Q^T of the probes
    sizes = torch.linalg.svdvals(R)
    if Q.shape[1] < len(probes) or bool(sizes[-1] <= _DEPENDENT * rounding * sizes[0]):
        return H.diagonal().sum().expand(len(probes)).cpu().numpy()
    S = torch.linalg.inv(R).T
    S = S / torch.linalg.vector_norm(S, dim=0)
    V = W - S * (S * W).sum(0)
    values = H.diagonal().sum() - (S * (H @ S)).sum(0) + (W * R).sum(0) - 2 * (V * R).sum(0) + (V * (H @ V)).sum(0)
    return np.asarray(values.cpu())


def _probes(like: Mapping[str, Tensor], count: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {name: signs((count, tensor.numel()), tensor, generator) for name, tensor in like.items()}


def _directions(like: Mapping[str, Tensor], count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return random vectors of length sqrt(P), of which none depends on the others as signs may."""
    found = {}
    for name, tensor in like.items():
        rows = torch.randn(count, tensor.numel(), generator=generator, dtype=torch.float64)
        found[name] = (tensor.numel() ** 0.5 * torch.nn.functional.normalize(rows, dim=1)).to(tensor)
    return found


def _multiply(products: Products, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each matrix times every row, as rows; matrices smaller than the count have fewer."""
    found: dict[str, list[Tensor]] = {name: [] for name in rows}
    for i in range(max(len(matrix) for matrix in rows.values())):
        for name, product in products({name: matrix[i] for name, matrix in rows.items() if i < len(matrix)}).items():
            found[name].append(product)
    return {name: torch.stack(vectors) for name, vectors in found.items()}


def _estimate(values: NDArray[np.float64]) -> TraceEstimate:
    """Return mean and standard error of single-probe estimates."""
    return TraceEstimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), None)
