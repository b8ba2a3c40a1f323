import numpy as np
import pytest
import torch

from longtail.hessian.trace import combine, factored, hutchinson


def symmetric(size: int) -> torch.Tensor:
    matrix = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return matrix + matrix.T


def test_diagonal_matrix_is_exact_from_one_probe_2(generator):
    diagonal = torch.randn(30, dtype=torch.float64)
    samples = hutchinson(lambda v: {"a": diagonal * v["a"]}, {"a": diagonal}, 1, generator)
    assert samples["a"][0] == pytest.approx(float(diagonal.sum()), abs=1e-12)


def test_hutchinson_mean_and_variance_10(generator):
    matrix = symmetric(12)
    samples = hutchinson(lambda v: {"a": matrix @ v["a"]}, {"a": matrix[0]}, 20_000, generator)["a"]
    variance = 2 * float(matrix.square().sum() - matrix.diagonal().square().sum())
    assert abs(samples.mean() - float(matrix.trace())) < 4 * samples.std() / len(samples) ** 0.5
    assert samples.var() == pytest.approx(variance, rel=0.1)


def test_factored_mean_and_variance_10(generator):
    factor = torch.randn(8, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gram = factor @ factor.T
    samples = factored(lambda e: {"a": float((factor.T @ e).square().sum())}, factor[:, 0], 20_000, generator)["a"]
    variance = 2 * float(gram.square().sum() - gram.diagonal().square().sum())
    assert abs(samples.mean() - float(gram.trace())) < 4 * samples.std() / len(samples) ** 0.5
    assert samples.var() == pytest.approx(variance, rel=0.1)


def test_combine_weighs_parts_and_adds_their_variances():
    parts = [np.array([1.0, 3.0]), np.array([10.0, 10.0])]
    estimate = combine(parts, [0.25, 0.75])
    assert estimate.value == pytest.approx(0.25 * 2 + 0.75 * 10)
    assert estimate.stderr == pytest.approx(0.25 * 1.0)
    assert combine(parts[:1], [1.0]).sampling_stderr is None


def test_sampling_error_is_that_of_a_mean_of_independent_parts():
    """Equal parts: the textbook standard error of the mean of their estimates."""
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=4) for _ in range(25)]
    means = np.array([part.mean() for part in parts])
    estimate = combine(parts, [1 / 25] * 25)
    assert estimate.sampling_stderr == pytest.approx(means.std(ddof=1) / 5)


def test_same_seed_same_samples():
    matrix = symmetric(5)
    first, second = (
        hutchinson(lambda v: {"a": matrix @ v["a"]}, {"a": matrix[0]}, 3, torch.Generator().manual_seed(8))["a"]
        for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()
