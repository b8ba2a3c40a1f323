import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian.gram import gram_eigenvalues, gram_size
from longtail.hessian.operators import Objective, measure


def objective_of(case, *sizes: int) -> Objective:
    return measure(case.model, case.loss, case.batches(*sizes), case.parameters)


def blocks_of(case) -> dict[str, list[str]]:
    return {"": list(case.parameters), **{name: [name] for name in case.parameters}}


def gauss_newton(case) -> Tensor:
    """(P, P), from the whole Jacobian and the loss's dense second derivative in all outputs."""
    outputs = case.model(case.inputs).detach()
    second = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(outputs.numel(), -1)
    jacobian = case.outputs_jacobian().detach().flatten(0, 1)
    return jacobian.T @ second @ jacobian


def with_zeros(values: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([np.zeros(size - len(values)), values])


@pytest.mark.parametrize("sizes", [(23,), (10, 9, 4)])
def test_eigenvalues_are_those_of_the_dense_blocks_9(case, sizes):
    """Also for a cosine head, where the Hessian's blocks are others."""
    found = gram_eigenvalues(objective_of(case, *sizes), blocks_of(case))
    dense = gauss_newton(case)
    for name, place in {"": slice(None), **case.slices()}.items():
        expected = torch.linalg.eigvalsh(dense[place, place]).numpy()
        np.testing.assert_allclose(with_zeros(found[name], len(expected)), expected, atol=1e-8, err_msg=name)


def test_relu_blocks_are_those_of_the_hessian_9(make_case):
    case = make_case("relu mlp, cross-entropy")
    found = gram_eigenvalues(objective_of(case, 23), blocks_of(case))
    for name in case.parameters:
        expected = torch.linalg.eigvalsh(case.block(name)).numpy()
        np.testing.assert_allclose(with_zeros(found[name], len(expected)), expected, atol=1e-8, err_msg=name)


def test_a_block_of_several_parameters_sums_their_matrices_9(make_case):
    case = make_case("tanh mlp, cross-entropy")
    pair = ["0.weight", "4.bias"]
    (found,) = gram_eigenvalues(objective_of(case, 23), {"pair": pair}).values()
    places = torch.cat([torch.arange(place.start, place.stop) for place in (case.slices()[name] for name in pair)])
    expected = torch.linalg.eigvalsh(gauss_newton(case)[places][:, places]).numpy()
    np.testing.assert_allclose(with_zeros(found, len(expected)), expected, atol=1e-8)


@pytest.mark.parametrize("memory", [1, 69 * 8 * 7])
def test_little_memory_takes_more_passes_and_gives_the_same(make_case, memory):
    """One column a pass, and seven: parameters are cut, and a pass holds parts of several."""
    case = make_case("cnn with bn, smoothed")
    blocks = {"pair": ["1.weight", "2.weight"], "2.weight": ["2.weight"]}
    whole = gram_eigenvalues(objective_of(case, 12, 11), blocks)
    parts = gram_eigenvalues(objective_of(case, 12, 11), blocks, memory=memory)
    for name in blocks:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-12)


def test_processes_fill_rows_of_their_own(make_case, monkeypatch):
    """Two processes in turn: what the first adds to the sum is kept for the second."""
    case = make_case("relu mlp, cross-entropy")
    blocks = {name: [name] for name in case.weights}
    expected = gram_eigenvalues(objective_of(case, 10, 13), blocks)
    monkeypatch.setattr("longtail.hessian.gram.gathered", lambda values: [10, 13])
    sent: list[Tensor] = []
    for process, batch in enumerate(case.batches(10, 13)):
        objective = dataclasses.replace(measure(case.model, case.loss, [batch], case.parameters), samples=23)
        monkeypatch.setattr("longtail.hessian.gram.rank", lambda process=process: process)
        add = (lambda rows: sent.append(rows) or rows) if process == 0 else (lambda rows: rows + sent.pop(0))
        monkeypatch.setattr("longtail.hessian.gram.total", add)
        found = gram_eigenvalues(objective, blocks)
    for name in blocks:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_softmax_rank_is_at_most_samples_times_classes_less_one(dtype):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 4)).to(dtype)
    batch = (torch.randn(7, 30, dtype=dtype), torch.arange(7) % 4)
    objective = measure(model, F.cross_entropy, [batch], dict(model.named_parameters()))
    assert gram_size(objective) == 28
    assert len(gram_eigenvalues(objective, {"w": ["0.weight"]})["w"]) == 7 * 3


def test_tied_and_frozen_parameters_20():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.second.weight = self.first.weight
            self.first.bias.requires_grad_(False)

        def forward(self, x):
            return self.head(self.second(self.first(x).relu()).relu())

    torch.manual_seed(2)
    model = Tied().double()
    inputs, targets = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    objective = measure(model, F.cross_entropy, [(inputs, targets)], parameters)
    (found,) = gram_eigenvalues(objective, {"tied": ["first.weight"]}).values()

    def outputs(weight: Tensor) -> Tensor:
        return torch.func.functional_call(model, {"first.weight": weight}, (inputs,))

    jacobian = torch.func.jacrev(outputs)(model.first.weight.detach()).reshape(6, 3, 16).detach()
    p = model(inputs).softmax(1).detach()
    second = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.linalg.eigvalsh(torch.einsum("ncp,ncd,ndq->pq", jacobian, second, jacobian) / 6).numpy()
    np.testing.assert_allclose(with_zeros(found, 16), expected, atol=1e-8)


def test_outputs_of_more_than_one_dimension():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2))).double()
    inputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, 2, dtype=torch.float64)
    objective = measure(model, F.mse_loss, [(inputs, targets)], dict(model.named_parameters()))
    (found,) = gram_eigenvalues(objective, {"w": ["0.weight"]}).values()
    expected = torch.linalg.eigvalsh(inputs.T @ inputs / (5 * 4) * 2).repeat_interleave(4).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_no_curvature_has_no_eigenvalues():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(0.0)
        model.bias.copy_(torch.tensor([500.0, -500.0]))  # a saturated softmax
    objective = measure(
        model, F.cross_entropy, [(torch.ones(2, 3), torch.zeros(2, dtype=torch.long))], dict(model.named_parameters())
    )
    assert gram_eigenvalues(objective, {"w": ["weight"]})["w"].shape == (0,)


def test_too_many_rows_are_refused(make_case):
    objective = objective_of(make_case("relu mlp, cross-entropy"), 23)
    with pytest.raises(InputError, match="23 samples with 3 outputs make 69 rows: give at most 60"):
        gram_eigenvalues(objective, {"w": ["0.weight"]}, most_rows=60)


def test_a_loss_without_a_root_is_refused():
    model = nn.Linear(3, 2)
    objective = measure(
        model,
        lambda z, t: z.sum(0).square().mean(),
        [(torch.randn(4, 3), torch.zeros(4))],
        dict(model.named_parameters()),
    )
    with pytest.raises(InputError, match="couples samples or is not convex"):
        gram_eigenvalues(objective, {"w": ["weight"]})
