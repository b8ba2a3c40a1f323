"""The oracle is the dense second derivative in the outputs."""

import pytest
import torch
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian.root import differentiable_root

N, C = 5, 4
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 3, 1, 2])
SOFT = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * N, dtype=torch.float64)
LOSSES = {
    "cross-entropy": lambda f: F.cross_entropy(f, LABELS),
    "of class weights": lambda f: F.cross_entropy(f, LABELS, WEIGHTS),
    "smoothed": lambda f: F.cross_entropy(f, LABELS, label_smoothing=0.1),
    "of soft labels": lambda f: F.cross_entropy(f, SOFT),
    "of a share of labels": lambda f: 0.3 * F.cross_entropy(f, LABELS) + 0.7 * F.cross_entropy(f, SOFT),
    "squares": lambda f: F.mse_loss(f, SOFT),
    "binary": lambda f: F.binary_cross_entropy_with_logits(f, SOFT),
    "fourth powers": lambda f: (f - SOFT).pow(4).mean(),
    "linear": lambda f: f.sum(),
}


def focal(f):
    return ((1 - f.softmax(1)).pow(2) * -f.log_softmax(1))[torch.arange(N), LABELS % f.shape[1]].mean()


@pytest.fixture
def outputs(generator):
    return torch.randn(N, C, generator=generator, dtype=torch.float64).requires_grad_()


def columns(root, outputs):
    units = torch.eye(outputs.numel(), dtype=outputs.dtype)
    return torch.stack([root(unit.view_as(outputs)).reshape(-1) for unit in units], 1)


@pytest.mark.parametrize("name", LOSSES)
def test_its_square_is_the_second_derivative(name, outputs, generator):
    loss = LOSSES[name]
    factor = columns(differentiable_root(loss(outputs), outputs, generator), outputs)
    dense = torch.func.hessian(loss)(outputs.detach()).reshape(N * C, N * C)
    torch.testing.assert_close((factor @ factor.T).detach(), dense, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("squares", "linear")])
def test_it_moves_with_the_outputs_as_the_second_derivative_does(name, outputs, generator):
    """A third derivative: of the trace in a random metric, so that the directions count."""
    loss, metric = LOSSES[name], torch.randn(N * C, N * C, generator=generator, dtype=torch.float64)
    factor = columns(differentiable_root(loss(outputs), outputs, generator), outputs)
    (found,) = torch.autograd.grad((metric.T @ factor).square().sum(), outputs)

    def exact(f):
        return (metric.T @ torch.func.hessian(loss)(f).reshape(N * C, N * C) @ metric).trace()

    torch.testing.assert_close(found, torch.func.grad(exact)(outputs.detach()), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "loss", [focal, lambda f: F.cross_entropy(f, LABELS % f.shape[1]).square(), lambda f: -f.square().mean()]
)
def test_other_losses_are_told_so(loss, classes, generator):
    """A focal loss of two classes has the second derivative of a weighted softmax, but its weights move."""
    outputs = torch.randn(N, classes, generator=generator, dtype=torch.float64).requires_grad_()
    with pytest.raises(InputError, match=r"^the loss is neither a softmax cross-entropy .* choose form='hutchinson'"):
        differentiable_root(loss(outputs), outputs, generator)


@pytest.mark.parametrize("saturated", [1, N])
def test_saturated_samples_in_float32_are_still_a_softmax(saturated, generator):
    outputs = torch.randn(N, C, generator=generator)
    outputs[:saturated] *= 1e4
    root = differentiable_root(F.cross_entropy(outputs.requires_grad_(), LABELS), outputs, generator)
    value = columns(root, outputs).square().sum()
    p = outputs.detach().double().softmax(1)
    assert float(value.detach()) == pytest.approx(float((p - p * p).sum() / N), rel=1e-4, abs=1e-12)
    assert torch.autograd.grad(value, outputs)[0].isfinite().all()


def test_outputs_with_further_axes_are_served_one_by_one(generator):
    outputs = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    factor = columns(differentiable_root(outputs.exp().mean(), outputs, generator), outputs)
    torch.testing.assert_close((factor @ factor.T).diagonal(), outputs.exp().flatten() / 24)
