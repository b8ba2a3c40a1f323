import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from longtail.hessian.density import exact_density, spectral_density
from longtail.hessian.lanczos import Spectrum, lanczos

SIZE = 40


def runs(matrix: torch.Tensor, count: int, steps: int) -> list[Spectrum]:
    generator = torch.Generator().manual_seed(5)
    starts = {i: torch.randn(len(matrix), dtype=torch.float64, generator=generator) for i in range(count)}
    return list(lanczos(lambda v: {i: matrix @ x for i, x in v.items()}, starts, steps).values())


@pytest.fixture
def matrix() -> torch.Tensor:
    factor = torch.randn(SIZE, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    return factor @ factor.T - 0.3 * torch.eye(SIZE, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_integrates_to_one_14(matrix, steps):
    density = spectral_density(runs(matrix, 3, steps), steps)
    assert np.trapezoid(density.curve, density.grid) == pytest.approx(1, abs=1e-2)
    assert density.weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(np.diff(density.nodes) >= 0)


def test_first_moment_is_the_mean_eigenvalue_14(matrix):
    spectra = runs(matrix, 200, 10)
    moments = np.array([run.values @ run.weights for run in spectra])
    density = spectral_density(spectra, 10)
    assert density.nodes @ density.weights == pytest.approx(moments.mean(), abs=1e-10)
    assert abs(moments.mean() - float(matrix.trace()) / SIZE) < 4 * moments.std() / len(moments) ** 0.5


def test_mass_above_a_gap_is_the_share_of_outliers_14(matrix):
    density = spectral_density(runs(matrix, 400, 12), 12)
    assert density.weights[density.nodes > 1].sum() == pytest.approx(6 / SIZE, abs=0.02)


def test_distance_to_itself_and_to_the_mirror_image_14(matrix):
    """Heights alone cannot tell a spectrum from its mirror image; nodes and weights can."""
    density = spectral_density(runs(matrix, 2, 12), 12)
    assert wasserstein_distance(density.nodes, density.nodes, density.weights, density.weights) == 0
    assert wasserstein_distance(density.nodes, -density.nodes, density.weights, density.weights) > 0.1


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-9])
def test_a_single_eigenvalue_has_a_curve(value):
    density = spectral_density([Spectrum(np.array([value]), np.ones(1), np.zeros(1))], 20)
    assert np.trapezoid(density.curve, density.grid) == pytest.approx(1, abs=1e-2)
    assert density.grid[np.argmax(density.curve)] == pytest.approx(value, abs=abs(value) * 1e-3 + 1e-2 * (value == 0))


@pytest.mark.parametrize("parameters", [30, 1000])
def test_exact_density_has_its_mass_at_zero_14(parameters):
    values = np.random.default_rng(0).exponential(size=30)
    density = exact_density(values, parameters, 20)
    assert density.weights[density.nodes == 0].sum() == pytest.approx((parameters - 30) / parameters, abs=1e-12)
    assert density.weights.sum() == pytest.approx(1, abs=1e-12)
    assert density.nodes @ density.weights * parameters == pytest.approx(values.sum(), abs=1e-9)
    assert np.trapezoid(density.curve, density.grid) == pytest.approx(1, abs=1e-2)
    assert np.all(np.diff(density.nodes) >= 0)


def test_exact_density_is_that_of_a_lanczos_run_to_the_end(matrix):
    """In the mean over starts a run of as many steps as rows has the weights 1 / rows."""
    found = exact_density(torch.linalg.eigvalsh(matrix).numpy(), SIZE, 20)
    sampled = spectral_density(runs(matrix, 400, SIZE), 20)
    assert wasserstein_distance(found.nodes, sampled.nodes, found.weights, sampled.weights) < 0.03 * np.ptp(found.nodes)
    np.testing.assert_allclose(sampled.curve, found.curve, atol=0.1 * found.curve.max())


def test_exact_density_of_a_zero_matrix_is_all_at_zero():
    density = exact_density(np.zeros(0), 7, 20)
    assert (density.nodes.tolist(), density.weights.tolist()) == ([0.0], [1.0])
