import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from longtail.hessian.density import spectral_density
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
