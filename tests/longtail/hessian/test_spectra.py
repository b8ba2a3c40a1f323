import numpy as np
import pytest
import torch

from longtail.hessian.curvature import BlockOperator
from longtail.hessian.journal import Journal
from longtail.hessian.operators import measure
from longtail.hessian.spectra import exact_spectrum, iterative_spectra


def spectra(case, dense, accuracy, steps=30, seed=0):
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    operator = BlockOperator(objective, {name: [name] for name in case.weights}, "hessian")
    return iterative_spectra(
        operator,
        dense,
        steps=steps,
        runs=1,
        accuracy=accuracy,
        seed=seed,
        journal=Journal(None, ""),
        progress=lambda *_: None,
    )


@pytest.mark.parametrize("accuracy", [0.1, 0.01, 1e-4])
def test_runs_from_a_sketch_end_within_the_accuracy_asked(case, accuracy):
    """From below, as Ritz values are; 3 seeds of every network and layer.

    The bound by the gap cannot know of an eigenvalue nearer than those found; that by the residual always holds.
    """
    for seed in range(3):
        for name, found in spectra(case, set(), accuracy, seed=seed).items():
            top = float(torch.linalg.eigvalsh(case.block(name))[-1])
            error = max(accuracy * top, found.top_residual if accuracy < 0.01 else 0)
            assert top - 1.2 * error < found.top < top + 1e-9, name
            assert found.density is None


def test_a_sketch_saves_products(make_case):
    case = make_case("relu mlp, cross-entropy")
    sketched, random = spectra(case, set(), 1e-2), spectra(case, set(case.weights), 1e-2)
    assert all(sketched[name].products < random[name].products for name in case.weights)
    assert all(random[name].density is not None for name in case.weights)


def test_exact_spectrum_counts_zeros():
    found = exact_spectrum(np.array([1.0, 3.0]), 10, 20)
    assert (found.top, found.lowest, found.trace, found.exact) == (3, 0, 4, True)
    assert found.effective_rank == pytest.approx(1.6)
    assert found.density.weights[found.density.nodes == 0] == pytest.approx(0.8)
    assert exact_spectrum(np.array([1.0, 3.0]), 2, 20).lowest == 1
    nothing = exact_spectrum(np.array([]), 4, 20)
    assert (nothing.top, nothing.trace, nothing.outliers) == (0, 0, 0)
