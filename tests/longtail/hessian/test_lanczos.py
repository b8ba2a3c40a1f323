import math

import numpy as np
import pytest
import torch
from torch import Tensor

from longtail.hessian.lanczos import Spectrum, lanczos

DIM = 50


def symmetric(values: Tensor) -> Tensor:
    basis = torch.linalg.qr(
        torch.randn(len(values), len(values), dtype=values.dtype, generator=torch.Generator().manual_seed(0))
    )[0]
    return basis @ torch.diag(values) @ basis.T


def run(matrix: Tensor, steps: int = DIM, **options: float) -> Spectrum:
    start = torch.randn(len(matrix), dtype=matrix.dtype, generator=torch.Generator().manual_seed(1))
    return lanczos(lambda vectors: {0: matrix @ vectors[0]}, {0: start}, steps, **options)[0]


def test_all_steps_give_all_eigenvalues_13():
    values = torch.linspace(-3, 40, DIM, dtype=torch.float64)
    spectrum = run(symmetric(values))
    np.testing.assert_allclose(spectrum.values, values, atol=1e-8)
    assert spectrum.residuals.max() < 1e-8


def test_repeated_eigenvalues_stop_early_with_right_values_13():
    values = torch.tensor([5.0] * 10 + [1.0] * 39 + [-2.0], dtype=torch.float64)
    spectrum = run(symmetric(values))
    np.testing.assert_allclose(spectrum.values, [-2, 1, 5], atol=1e-8)


def test_zero_matrix_gives_zero_13():
    spectrum = run(torch.zeros(DIM, DIM, dtype=torch.float64))
    assert spectrum.values.tolist() == [0]
    assert spectrum.weights.tolist() == [1]


def test_rank_one_13():
    vector = torch.arange(1.0, DIM + 1, dtype=torch.float64)
    spectrum = run(torch.outer(vector, vector))
    np.testing.assert_allclose(spectrum.values, [0, float(vector @ vector)], atol=1e-7)
    assert np.isfinite(spectrum.weights).all()


def test_float32_has_no_ghosts_13():
    """Without reorthogonalisation a well separated top eigenvalue comes out several times."""
    values = torch.cat([torch.linspace(0, 1, DIM - 2), torch.tensor([100.0, 1000.0])])
    spectrum = run(symmetric(values))
    assert (spectrum.values > 500).sum() == 1
    assert (spectrum.values > 50).sum() == 2


def test_more_steps_than_rows():
    assert len(run(symmetric(torch.arange(4.0).double()), steps=9).values) == 4


def test_residual_bounds_the_distance_to_an_eigenvalue():
    values = torch.logspace(-3, 1, DIM, dtype=torch.float64)
    spectrum = run(symmetric(values), steps=6)
    for value, residual in zip(spectrum.values, spectrum.residuals, strict=True):
        assert (values - value).abs().min() <= residual + 1e-12


def test_runs_side_by_side_equal_single_runs():
    matrices = {name: symmetric(torch.linspace(0, top, DIM).double()) for name, top in (("a", 1), ("b", 9))}
    matrices["short"] = torch.eye(7, dtype=torch.float64)
    starts = {name: torch.ones(len(matrix), dtype=torch.float64) for name, matrix in matrices.items()}

    def products(vectors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: matrices[name] @ vector for name, vector in vectors.items()}

    together = lanczos(products, starts, 12)
    for name, matrix in matrices.items():
        alone = lanczos(lambda vectors, matrix=matrix: {0: matrix @ vectors[0]}, {0: starts[name]}, 12)[0]
        np.testing.assert_array_equal(together[name].values, alone.values)
    assert len(together["short"].values) == 1


def test_tolerance_ends_a_run():
    matrix = symmetric(torch.logspace(-6, 0, DIM, dtype=torch.float64))
    assert len(run(matrix, tolerance=0.05).values) < len(run(matrix).values)


def test_infinite_product_is_an_error():
    with pytest.raises(RuntimeError, match="step 1: the product is not finite"):
        run(torch.full((3, 3), math.inf, dtype=torch.float64))
