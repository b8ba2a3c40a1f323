import pytest
import torch

from longtail.hessian.low_rank_traces import hutch_plus_plus, xtrace

SIZE, COUNT = 120, 24
ESTIMATORS = [hutch_plus_plus, xtrace]
SPECTRA = {
    "fast decay": torch.exp(-torch.arange(SIZE) / 4.0).double(),
    "indefinite": torch.linspace(-1, 2, SIZE).double(),
}


def matrix(values: torch.Tensor) -> torch.Tensor:
    draw = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64)).Q
    return basis @ torch.diag(values) @ basis.T


def estimates(estimator, A, seeds, count=COUNT):
    def products(vectors):
        return {name: A @ vector for name, vector in vectors.items()}

    return [estimator(products, {"a": A[0]}, count, torch.Generator().manual_seed(seed))["a"] for seed in seeds]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", SPECTRA)
def test_mean_and_stated_error_10(estimator, name):
    A = matrix(SPECTRA[name])
    found = estimates(estimator, A, range(150))
    values = torch.tensor([estimate.value for estimate in found])
    stated = torch.tensor([estimate.stderr for estimate in found]).square().mean().sqrt()
    assert abs(values.mean() - A.trace()) < 4 * values.std() / len(values) ** 0.5
    assert float(stated) == pytest.approx(float(values.std()), rel=0.5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_error_of_a_fast_decaying_spectrum_is_far_below_that_of_plain_probes(estimator):
    A = matrix(SPECTRA["fast decay"])
    errors = torch.tensor([estimate.value for estimate in estimates(estimator, A, range(50))]) - A.trace()
    plain = (2 * (A.square().sum() - A.diagonal().square().sum()) / COUNT).sqrt()
    assert errors.square().mean().sqrt() < plain / 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [0, 1, 5])
def test_exact_where_the_rank_is_small(estimator, dtype, rank):
    A = matrix(torch.cat([torch.ones(rank), torch.zeros(SIZE - rank)]).double()).to(dtype)
    (estimate,) = estimates(estimator, A, [0])
    assert estimate.value == pytest.approx(rank, abs=1e-5)
    assert estimate.stderr == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_exact_with_more_probes_than_rows(estimator):
    A = matrix(torch.tensor([3.0, -1.0, 0.5]).double())
    (estimate,) = estimates(estimator, A, [0])
    assert estimate.value == pytest.approx(2.5, abs=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_several_matrices_at_once(estimator):
    matrices = {"a": matrix(SPECTRA["fast decay"]), "b": matrix(torch.ones(4).double())}

    def products(vectors):
        return {name: matrices[name] @ vector for name, vector in vectors.items()}

    found = estimator(products, {name: A[0] for name, A in matrices.items()}, COUNT, torch.Generator().manual_seed(0))
    assert found["b"].value == pytest.approx(4, abs=1e-10)
    assert found["a"].value == pytest.approx(float(matrices["a"].trace()), rel=0.1)
