import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from longtail.hessian.convolution import LeanConvolution

PLAIN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# Dimensions, groups, stride, padding, dilation; 7 pixels, so that some strides leave a rest.
KINDS = [
    (2, 1, 1, 1, 1),
    (2, 1, 1, 0, 1),
    (2, 2, 2, 1, 1),
    (2, 4, 3, 1, 1),
    (2, 1, 2, 0, 2),
    (2, 1, (2, 1), (0, 2), (1, 2)),
    (1, 1, 1, 1, 1),
    (3, 2, 1, (1, 0, 1), 1),
]


def lean(function, *arguments, **settings):
    with LeanConvolution():
        return function(*arguments, **settings)


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    """A convolution as PyTorch makes it and as the context does, and inputs, weight and bias."""
    dimensions, groups, *settings = request.param
    torch.manual_seed(0)
    shapes = ((2, 4, *[7] * dimensions), (8, 4 // groups, *[3] * dimensions), (8,))
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return lambda *given: PLAIN[dimensions](*given, *settings, groups), arguments


def test_value_and_all_first_derivatives_are_pytorchs(kind):
    plain, arguments = kind
    expected, found = plain(*arguments), lean(plain, *arguments)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(expected)
    for mine, theirs in zip(*(torch.autograd.grad(y, arguments, cotangent) for y in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_second_derivatives_are_those_of_differences(kind):
    plain, arguments = kind
    assert torch.autograd.gradgradcheck(lambda *given: lean(plain, *given), arguments, fast_mode=True)


def test_third_derivatives_are_pytorchs(kind):
    plain, (x, weight, bias) = kind

    def third(y):
        (first,) = torch.autograd.grad(y.sin().sum(), weight, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), weight, create_graph=True)
        return torch.autograd.grad(second.square().sum(), (x, weight, bias))

    for mine, theirs in zip(third(lean(plain, x, weight, bias)), third(plain(x, weight, bias)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-8)


def kernels(layers, names, context):
    """Return how many convolution kernels one product with the curvature of some layers runs."""
    x = torch.randn(2, 3, 8, 8)
    for layer in layers:
        x = context(layer, x).relu()
    wanted = [layers[place].weight for place in names]
    gradients = torch.autograd.grad(x.square().sum(), wanted, create_graph=True)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        torch.autograd.grad(gradients, wanted, [torch.ones_like(weight) for weight in wanted])
    counted = ("aten::_convolution", "aten::convolution_backward")
    return sum(entry.count for entry in recorded.key_averages() if entry.key in counted)


@pytest.mark.parametrize("place", [0, 2])
def test_a_layers_product_passes_the_layers_above_it_twice_and_no_other(place):
    """Up from the layer and down to it: a convolution for each layer each way, the layer's own being its weight's."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(5)]
    above = len(layers) - place - 1
    assert kernels(layers, [place], lean) == 2 * (above + 1)
    assert kernels(layers, [place], lambda layer, x: layer(x)) > 2 * (above + 1)  # else PyTorch does it by itself now


def test_gradients_of_many_vectors_at_once(kind):
    plain, arguments = kind
    expected, found = plain(*arguments), lean(plain, *arguments)
    cotangents = torch.randn(3, *expected.shape, dtype=torch.float64)
    mine, theirs = (torch.autograd.grad(y, arguments, cotangents, is_grads_batched=True) for y in (found, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_what_is_computed_in_place_afterwards_is_allowed():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)).double(), torch.randn(2, 3, 5, 5).double()
    found, expected = lean(model, x), model(x)
    (mine,), (theirs,) = (torch.autograd.grad(y.square().sum(), model[0].weight) for y in (found, expected))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name_and_single_images_are_left_to_pytorch(padding):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 5, 5), torch.randn(2, 3, 3, 3, requires_grad=True)
    assert torch.equal(lean(F.conv2d, x, weight, padding=padding), F.conv2d(x, weight, padding=padding))
    assert torch.equal(lean(F.conv2d, x[None], weight, padding=padding), F.conv2d(x[None], weight, padding=padding))
    assert torch.equal(lean(F.conv2d, x, weight), F.conv2d(x, weight))


def test_frozen_arguments_get_no_gradient():
    x, weight = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 3, 3, requires_grad=True)
    assert not lean(F.conv2d, x, weight.detach()).requires_grad
    lean(F.conv2d, x, weight).sum().backward()
    assert x.grad is None and weight.grad is not None
    with torch.no_grad():
        assert not lean(F.conv2d, x, weight).requires_grad
