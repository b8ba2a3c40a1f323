import numpy as np
import pytest
import torch

from longtail.hessian.density import exact_density
from longtail.hessian.lanczos import lanczos
from longtail.hessian.scalars import density_effective_rank, effective_rank, outlier_count

CLASSES = 10


@pytest.mark.parametrize("rank", [1, 3, 50])
def test_equal_eigenvalues_have_their_number_for_effective_rank(rank):
    values = np.full(rank, 2.5)
    assert effective_rank(values.sum(), (values**2).sum()) == pytest.approx(rank, abs=1e-12)
    assert density_effective_rank(exact_density(values, 70, 20), 70) == pytest.approx(rank, abs=1e-12)


def test_effective_rank_is_the_same_from_sums_and_quadrature():
    values = np.random.default_rng(0).exponential(size=40)
    expected = values.sum() ** 2 / (values**2).sum()
    assert effective_rank(values.sum(), (values**2).sum()) == pytest.approx(expected, abs=1e-12)
    assert density_effective_rank(exact_density(values, 1000, 20), 1000) == pytest.approx(expected, abs=1e-9)
    assert 1 < expected < 40


def test_a_zero_matrix_has_effective_rank_zero():
    assert effective_rank(0.0, 0.0) == 0
    assert density_effective_rank(exact_density(np.zeros(0), 5, 20), 5) == 0


def planted(seed: int) -> np.ndarray:
    """CLASSES outliers between 8 and 20 over the bulk of a 200 x 400 Wishart matrix, whose edge is at 2.9."""
    random = np.random.default_rng(seed)
    factor = random.standard_normal((200, 400)) / 20
    return np.concatenate([np.linalg.eigvalsh(factor @ factor.T), random.uniform(8, 20, CLASSES)])


@pytest.mark.parametrize("seed", range(10))
def test_counts_planted_outliers(seed):
    values = planted(seed)
    assert outlier_count(values) == CLASSES
    assert outlier_count(np.append(values, np.zeros(500))) == CLASSES
    assert outlier_count(values[:200]) == 0


@pytest.mark.parametrize("seed", range(5))
def test_counts_planted_outliers_among_ritz_values(seed):
    """Values of the bulk have not converged, and open no gap."""
    matrix = torch.diag(torch.from_numpy(planted(seed)))
    start = torch.randn(len(matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    run = lanczos(lambda v: {0: matrix @ v[0]}, {0: start}, 40)[0]
    assert outlier_count(run.values, run.residuals) == CLASSES


def test_a_gap_within_the_residuals_is_none():
    values = np.array([10.0, 9.0, 1.0, 0.9])
    assert outlier_count(values) == 2
    assert outlier_count(values, np.array([0.0, 0.0, 4.0, 0.0])) == 0


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0.0], 0),
        ([5.0], 0),  # a multiple of the identity
        ([5.0, 5.0, 5.0], 0),
        ([5.0, 0.0], 1),  # rank one
        ([5.0, 5.0, 0.0], 2),
        ([-3.0, -1.0], 0),
        ([4.0, -9.0], 1),
        ([1.0, 1e-6, 1e-12], 1),  # no gap below a hundredth of the largest
    ],
)
def test_counts_at_the_borders(values, count):
    assert outlier_count(np.array(values)) == count
