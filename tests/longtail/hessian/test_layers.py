import pytest
import torch
from torch import nn

from longtail.errors import InputError
from longtail.hessian.layers import select, trainable


@pytest.fixture
def parameters():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.scale = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(()))

    return trainable(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3), Head()))


def test_weights_leaves_out_biases_and_normalisation(parameters):
    assert select(parameters, "weights") == ["0.weight", "2.weight", "3.weight"]


def test_patterns_and_functions(parameters):
    assert select(parameters, "2.*") == ["2.weight", "2.bias"]
    assert select(parameters, ["3.scale", "0.w*"]) == ["0.weight", "3.scale"]
    assert select(parameters, lambda name, value: value.dim() == 0) == ["3.scale"]


@pytest.mark.parametrize("layers", ["conv9*", ["0.weight", "conv9*"], [], lambda name, value: False])
def test_no_match_names_what_there_is(parameters, layers):
    with pytest.raises(InputError, match=r"no trainable parameter matches layers=.*: 8 are there, such as 0.weight"):
        select(parameters, layers)


def test_frozen_left_out_and_tied_counted_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    assert list(trainable(model)) == ["0.weight", "1.bias"]


def test_nothing_trainable_and_half_precision():
    with pytest.raises(InputError, match="no parameter that requires grad"):
        trainable(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(InputError, match=r"weight is torch.float16.*model.float"):
        trainable(nn.Linear(2, 2).half())
