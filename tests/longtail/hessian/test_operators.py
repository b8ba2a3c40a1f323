import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian.curvature import BlockOperator
from longtail.hessian.operators import BatchCurvature, measure, residual


def operator(case, *sizes):
    objective = measure(case.model, case.loss, case.batches(*sizes), case.parameters)
    return BlockOperator(
        objective, {"full": list(case.parameters), **{name: [name] for name in case.parameters}}, "hessian"
    )


def vectors(case):
    torch.manual_seed(1)
    blocks = {name: torch.randn(value.numel(), dtype=torch.float64) for name, value in case.parameters.items()}
    return {"full": torch.cat([*blocks.values()]), **blocks}


def products(case, *sizes):
    return operator(case, *sizes).products(vectors(case), lambda key: key)


def test_products_equal_the_dense_second_derivative_6(case):
    found, given, hessian = products(case, 23), vectors(case), case.hessian()
    torch.testing.assert_close(found["full"], hessian @ given["full"], atol=1e-8, rtol=0)
    for name, place in case.slices().items():
        torch.testing.assert_close(found[name], hessian[place, place] @ given[name], atol=1e-8, rtol=0)


def test_products_are_symmetric_6(case):
    product = operator(case, 23).products
    u, v = torch.randn(2, len(vectors(case)["full"]), dtype=torch.float64)
    forward, backward = (product({"full": x}, lambda key: key)["full"] for x in (u, v))
    assert float(v @ forward) == pytest.approx(float(u @ backward), abs=1e-8)


@pytest.mark.parametrize("sizes", [(10, 10, 3), (1, 22)])
def test_splitting_the_data_changes_nothing_12(case, sizes):
    whole, parts = products(case, 23), products(case, *sizes)
    for name, product in whole.items():
        torch.testing.assert_close(parts[name], product, atol=1e-10, rtol=0)


def test_hessian_is_gauss_newton_plus_the_rest_8(case):
    """The residual product is the dense Hessian less J^T S J, the latter positive semidefinite."""
    jacobian = case.outputs_jacobian().flatten(0, 1)  # (NC, P)
    outputs = case.model(case.inputs).detach()
    curvature = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(len(jacobian), -1)
    gauss_newton = jacobian.T @ curvature @ jacobian
    assert torch.linalg.eigvalsh(gauss_newton).min() > -1e-10
    vector = vectors(case)["full"]
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    (rest,) = objective.over_batches(
        lambda batch: BatchCurvature(residual(batch), case.parameters).product(list(case.parameters), vector)
    )
    torch.testing.assert_close(rest, (case.hessian() - gauss_newton) @ vector, atol=1e-10, rtol=0)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_rest_of_a_layer_vanishes_if_the_outputs_are_affine_8(make_case, activation):
    case = make_case("relu mlp, cross-entropy" if activation is nn.ReLU else "tanh mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)

    def sizes(batch):
        rest = BatchCurvature(residual(batch), case.parameters)
        return [float(rest.product([name], vectors(case)[name]).abs().max()) for name in case.weights]

    (found,) = objective.over_batches(sizes)
    assert found[-1] < 1e-10
    assert (max(found[:-1]) < 1e-10) == (activation is nn.ReLU)
    assert (min(found[:-1]) > 1e-6) == (activation is nn.Tanh)


def test_mean_loss_counts_samples(make_case):
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(20, 3), case.parameters)
    assert objective.mean_loss == pytest.approx(case.loss(case.model(case.inputs), case.targets).item(), abs=1e-12)
    assert objective.samples == 23


X, Y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("batches", "loss", "message"),
    [
        ([], F.cross_entropy, "batches is empty"),
        ([(X[:0], Y[:0])], F.cross_entropy, "batch 1 has 0 inputs"),
        ([(X, Y[:2])], F.cross_entropy, "batch 1 has 4 inputs and 2 targets"),
        ([X], F.cross_entropy, "batch 1 is a Tensor: give pairs"),
        (iter([(X, Y)]), F.cross_entropy, "read only once"),
        ([(X, Y)], lambda o, t: F.cross_entropy(o, t, reduction="none"), r"the loss is \(4,\), not a scalar"),
        ([(X, Y)], lambda o, t: 1.0, "the loss is float, not a scalar"),
        ([(X, Y)], lambda o, t: o.detach().sum(), "depends on no trainable parameter"),
    ],
)
def test_bad_input_is_one_line(batches, loss, message):
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match=message) as error:
        measure(model, loss, batches, dict(model.named_parameters()))
    assert "\n" not in str(error.value)


def test_loss_that_is_not_finite():
    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="batch 2 has loss nan: check the weights"):
        measure(model, F.cross_entropy, [(X, Y), (X * float("nan"), Y)], dict(model.named_parameters()))


def test_batches_that_change_are_noticed():
    class Changing(list):
        def __iter__(self):
            return iter([(torch.randn(4, 2), Y)])

    model = nn.Linear(2, 2)
    objective = measure(model, F.cross_entropy, Changing(), dict(model.named_parameters()))
    with pytest.raises(RuntimeError, match="give a fixed list of batches"):
        objective.over_batches(lambda batch: None)


def test_parts_are_small_and_mean_the_same(make_case):
    case = make_case("cnn with bn, smoothed")
    whole = measure(case.model, case.loss, case.batches(20, 3), case.parameters)
    parts = whole.in_parts(8)
    assert parts.sizes == (8, 8, 4, 3)
    assert parts.mean_loss == pytest.approx(whole.mean_loss, rel=1e-12)
    assert [batch for batch in parts.over_batches(lambda batch: round(batch.share * 23))] == [8, 8, 4, 3]
    assert whole.in_parts(20) is whole


def test_a_loss_that_couples_samples_is_not_cut(make_case):
    case = make_case("relu mlp, squares")
    objective = measure(
        case.model, lambda outputs, _: outputs.mean(0).square().sum(), case.batches(23), case.parameters
    )
    assert objective.in_parts(8) is objective
