import pytest
import torch

from longtail.hessian.davidson import DavidsonRun
from longtail.hessian.lanczos import lanczos
from longtail.hessian.sketch import Sketch

SIZE = 300


def matrix_of(values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))
    return basis @ torch.diag(values) @ basis.T


def decaying(ratio):
    """Top eigenvalues 1 and `ratio`, then a tail like that of a network's layer."""
    return torch.cat([torch.tensor([1.0, ratio]), 0.6 / torch.arange(1, SIZE - 1)]).double().flip(0)


def sketch_of(matrix, rows=128, seed=1):
    """An estimate of a positive semi-definite matrix from Gaussian vectors of its covariance."""
    values, vectors = torch.linalg.eigh(matrix)
    draws = torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = (draws * values.clamp(min=0).sqrt()) @ vectors.T / rows**0.5
    eigen = torch.linalg.eigh(found @ found.T)
    return Sketch(found, eigen.eigenvalues.clamp(min=0), eigen.eigenvectors)


def search(matrix, sketch, *, steps=60, accuracy=0.01, seed=2):
    start = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    run = DavidsonRun(sketch, start, steps, accuracy)
    while not run.done:
        run.advance(matrix @ run.vector)
    return run.spectrum()


@pytest.mark.parametrize("accuracy", [0.01, 1e-6])
@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.99])
def test_finds_the_top_eigenvalue(ratio, accuracy):
    for seed in range(5):
        matrix = matrix_of(decaying(ratio), seed)
        for sketch in (sketch_of(matrix, seed=seed), None):
            found = search(matrix, sketch, accuracy=accuracy)
            assert 1 - 1.1 * accuracy < found.values[-1] < 1 + 1e-12
            assert len(found.values) < 60


def test_the_sketch_saves_products():
    saved = []
    for seed in range(5):
        matrix = matrix_of(decaying(0.9), seed)
        known, unknown = search(matrix, sketch_of(matrix), accuracy=1e-4), search(matrix, None, accuracy=1e-4)
        saved.append(len(unknown.values) - len(known.values))
    assert sum(saved) / len(saved) >= 1.5


def test_without_a_sketch_it_spans_what_lanczos_spans():
    """Its residual is a multiple of the next Lanczos vector."""
    matrix = matrix_of(decaying(0.8))
    start = torch.randn(SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = lanczos(lambda vectors: {0: matrix @ vectors[0]}, {0: start}, 7)[0]
    found = search(matrix, None, steps=7, accuracy=0)
    assert found.values == pytest.approx(expected.values, abs=1e-10)
    assert found.residuals == pytest.approx(expected.residuals, abs=1e-8)


def test_a_misleading_sketch_only_costs_products():
    matrix, other = matrix_of(decaying(0.7)), matrix_of(decaying(0.7), seed=9)
    assert search(matrix, sketch_of(other), accuracy=1e-6).values[-1] == pytest.approx(1, rel=1e-5)


def test_negative_definite():
    found = search(-matrix_of(decaying(0.5)), None, steps=SIZE, accuracy=1e-3)
    assert found.values[-1] == pytest.approx(-float(decaying(0.5)[0]), abs=5e-3)


def test_ends_when_nothing_is_left():
    matrix = matrix_of(torch.cat([torch.zeros(SIZE - 2), torch.tensor([1.0, 2.0])]).double())
    found = search(matrix, None, accuracy=0)
    assert len(found.values) <= 4
    assert found.values[-1] == pytest.approx(2)


def test_refuses_what_is_not_finite():
    run = DavidsonRun(None, torch.ones(SIZE), 5, 0.01)
    with pytest.raises(RuntimeError, match="product 1 is not finite"):
        run.advance(torch.full((SIZE,), torch.nan))
