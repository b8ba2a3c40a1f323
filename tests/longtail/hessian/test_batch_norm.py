import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.hessian.batch_norm import ComposedBatchNorm, batch_norm

SHAPES = [(7, 3), (5, 3, 4, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_it_is_pytorchs_and_moves_the_averages_alike(shape, training, affine, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight, bias = (torch.randn(3, generator=generator, dtype=torch.float64) if affine else None for _ in range(2))
    mine, theirs = ([torch.zeros(3).double(), torch.ones(3).double()] for _ in range(2))
    found = batch_norm(x, *mine, weight, bias, training, 0.3, 1e-3)
    torch.testing.assert_close(found, F.batch_norm(x, *theirs, weight, bias, training, 0.3, 1e-3))
    torch.testing.assert_close(mine, theirs)


def test_without_averages_statistics_are_those_of_the_batch(generator):
    x = torch.randn(6, 3, generator=generator)
    torch.testing.assert_close(batch_norm(x, None, None, training=True), F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize("training", [True, False])
def test_modules_have_third_derivatives_in_the_context_alone(training, generator):
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh()).double().train(training)
    x = torch.randn(6, 4, generator=generator).double()
    plain = module(x)
    with ComposedBatchNorm():
        value = module(x)
    torch.testing.assert_close(value, plain)
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value.square().sum(), module[0].weight, create_graph=True)
        value = gradient
    assert value.isfinite().all() and value.any()
    assert "Composed" not in type(module(x).grad_fn).__name__
