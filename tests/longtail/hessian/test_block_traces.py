import pytest
import torch

from longtail.hessian.block_traces import block_cost, block_traces
from longtail.hessian.operators import measure


def run(case, generator, probes=100):
    objective = measure(case.model, case.loss, case.batches(10, 10, 3), case.parameters)
    blocks = {"full": list(case.parameters), **{name: [name] for name in case.weights}}
    return block_traces(objective, blocks, probes, generator, lambda done, total: None)


def test_estimates_within_four_standard_errors_10(case, generator):
    """Uneven batches; first-order, second-order and mixed blocks alike."""
    exact = {"full": float(case.hessian().trace()), **{name: float(case.block(name).trace()) for name in case.weights}}
    for name, estimate in run(case, generator).estimates.items():
        assert abs(estimate.value - exact[name]) < 4 * estimate.stderr, name


@pytest.mark.parametrize("name", ["relu mlp, cross-entropy", "tanh mlp, cross-entropy", "cosine head"])
def test_standard_error_is_the_spread_of_repeated_estimates_10(make_case, name, generator):
    case = make_case(name)
    estimates = [run(case, generator, probes=3).estimates["full"] for _ in range(40)]
    spread = torch.tensor([estimate.value for estimate in estimates]).std()
    stated = torch.tensor([estimate.stderr for estimate in estimates]).square().mean().sqrt()
    assert float(stated) == pytest.approx(float(spread), rel=0.4)


def test_a_loss_that_couples_samples_falls_back_to_products(make_case, generator):
    case = make_case("relu mlp, squares")
    case.loss = lambda outputs, targets: outputs.mean(0).square().sum()
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    found = block_traces(objective, {"4.weight": ["4.weight"]}, 500, generator, lambda done, total: None)
    estimate = found.estimates["4.weight"]
    assert not found.first_order
    assert abs(estimate.value - float(case.block("4.weight").trace())) < 4 * estimate.stderr


def test_cost_of_a_product_falls_with_depth(make_case):
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    assert block_cost(objective, list(case.parameters)) == pytest.approx(2)
    assert block_cost(objective, ["0.weight"]) > block_cost(objective, ["4.weight"])
