import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian.operators import measure
from longtail.hessian.per_sample import output_count, pull_back
from longtail.networks.heads import CosineHead


def test_counts_the_outputs_of_a_sample():
    model = nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (2, 3)))
    objective = measure(
        model, lambda z, t: (z.sum((1, 2)) - t).square().mean(), [(torch.randn(4, 2), torch.ones(4))], named(model)
    )
    assert output_count(objective) == 6


def named(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters())


def test_pulls_back_as_the_dense_jacobian_does(case):
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    vectors = torch.randn(23, 4, 3, dtype=torch.float64)
    outputs = case.model(case.inputs)
    expected = torch.einsum("nkc,ncp->nkp", vectors, case.outputs_jacobian())
    for name, place in case.slices().items():
        found = [rows for (rows,) in pull_back(objective, case.inputs, outputs, vectors, [name])]
        torch.testing.assert_close(torch.stack(found), expected[:, :, place], atol=1e-12, rtol=0)


def test_a_model_that_mixes_samples_is_refused():
    class Centred(nn.Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    model, inputs = Centred(2, 3), torch.randn(4, 2)
    objective = measure(model, F.cross_entropy, [(inputs, torch.tensor([0, 1, 2, 0]))], named(model))
    with pytest.raises(InputError, match="treats samples separately"):
        next(pull_back(objective, inputs, model(inputs), torch.ones(4, 1, 3), ["weight"]))


def test_a_scalar_parameter_has_one_column():
    """As the scale of a cosine head."""
    head = CosineHead(3, 2).double()
    inputs = torch.randn(4, 3, dtype=torch.float64)
    objective = measure(head, F.cross_entropy, [(inputs, torch.tensor([0, 1, 0, 1]))], named(head))
    vectors = torch.randn(4, 5, 2, dtype=torch.float64)
    found = [rows for (rows,) in pull_back(objective, inputs, head(inputs), vectors, ["scale"])]
    cosine = (head(inputs) - head.bias) / F.softplus(head.scale)
    expected = torch.einsum("nkc,nc->nk", vectors, cosine) * torch.sigmoid(head.scale)
    torch.testing.assert_close(torch.stack(found)[..., 0], expected, atol=1e-12, rtol=0)
