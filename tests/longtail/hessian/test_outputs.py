import pytest
import torch
from torch.nn import functional as F

from longtail.hessian.outputs import curvature_root

LOSSES = {
    "softmax": F.cross_entropy,
    "smoothed softmax": lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2),
    "weighted softmax": lambda z, t: F.cross_entropy(z, t, weight=torch.tensor([1.0, 5.0, 0.5]).double()),
    "adjusted softmax": lambda z, t: F.cross_entropy(z + torch.tensor([0.0, 2.0, -1.0]), t),
    "squares": lambda z, t: (z - t[:, None]).square().mean(),
    "linear": lambda z, t: (z.sum(1) * t).mean(),
    "not convex": lambda z, t: (z.sin() + z.prod(1, keepdim=True)).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_roots_give_the_second_derivative(name, generator):
    """All unit vectors through the factors give S, whatever the loss."""
    torch.manual_seed(0)
    values, targets = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    expected = torch.func.hessian(lambda z: LOSSES[name](z, targets))(values).reshape(12, 12)
    z = values.clone().requires_grad_()
    root = curvature_root(LOSSES[name](z, targets), z, generator)
    found = torch.zeros(12, 12, dtype=torch.float64)
    for c in range(3):  # samples are separate: one unit vector serves all of them
        unit = F.one_hot(torch.tensor(c), 3).double().expand(4, 3)
        found += torch.block_diag(*(torch.outer(row, row) for row in root.positive(unit)))
        if root.negative is not None:
            found -= torch.block_diag(*(torch.outer(row, row) for row in root.negative(unit)))
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_only_a_loss_that_is_not_convex_has_a_negative_root(name, generator):
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    root = curvature_root(LOSSES[name](z, torch.tensor([0, 2, 1, 1])), z, generator)
    assert (root.negative is not None) == (name == "not convex")


def test_samples_that_depend_on_each_other_have_no_root(generator):
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert curvature_root(z.sum(0).square().mean(), z, generator) is None


def test_too_many_outputs_have_no_root(generator):
    z = torch.randn(2, 600, dtype=torch.float64, requires_grad=True)
    assert curvature_root(z.square().mean(), z, generator) is None
