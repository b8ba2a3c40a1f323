import pytest
import torch
from torch import nn

from longtail.hessian.isolation import isolated


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2))
    model[1].eval()
    return model


def test_evaluation_mode_inside_and_everything_back_after_18(model):
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    random = torch.get_rng_state()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), isolated(model):
        assert not any(module.training for module in model.modules())
        torch.rand(3)
        model[1].running_mean += 7
        raise KeyError
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == tf32


def test_gradients_are_on_and_autocast_is_off_whatever_the_caller_set(model):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), isolated(model):
        outputs = model(torch.ones(2, 3))
    assert outputs.requires_grad
    assert outputs.dtype == torch.float32


def test_attention_can_be_differentiated_twice(model):
    query = torch.randn(1, 1, 4, 8, requires_grad=True)
    with isolated(model):
        value = nn.functional.scaled_dot_product_attention(query, query, query).square().sum()
        (gradient,) = torch.autograd.grad(value, query, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), query)
    assert second.abs().sum() > 0
