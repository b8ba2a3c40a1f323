import pytest
import torch

from longtail.hessian.block_traces import _Sampler, block_cost, block_traces
from longtail.hessian.journal import Journal
from longtail.hessian.operators import measure


def run(case, seed=0, probes=100):
    objective = measure(case.model, case.loss, case.batches(10, 10, 3), case.parameters)
    blocks = {"full": list(case.parameters), **{name: [name] for name in case.weights}}
    return block_traces(objective, blocks, probes, seed, lambda done, total: None, Journal(None, ""))


def test_estimates_within_four_standard_errors_10(case):
    """Uneven batches; first-order, second-order and mixed blocks alike."""
    exact = {"full": float(case.hessian().trace()), **{name: float(case.block(name).trace()) for name in case.weights}}
    for name, estimate in run(case).estimates.items():
        assert abs(estimate.value - exact[name]) < 4 * estimate.stderr, name


@pytest.mark.parametrize("name", ["relu mlp, cross-entropy", "tanh mlp, cross-entropy", "cosine head"])
def test_standard_error_is_the_spread_of_repeated_estimates_10(make_case, name):
    case = make_case(name)
    estimates = [run(case, seed, probes=3).estimates["full"] for seed in range(40)]
    spread = torch.tensor([estimate.value for estimate in estimates]).std()
    stated = torch.tensor([estimate.stderr for estimate in estimates]).square().mean().sqrt()
    assert float(stated) == pytest.approx(float(spread), rel=0.4)


def test_a_loss_that_couples_samples_falls_back_to_products(make_case):
    case = make_case("relu mlp, squares")
    case.loss = lambda outputs, targets: outputs.mean(0).square().sum()
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    found = block_traces(objective, {"4.weight": ["4.weight"]}, 500, 0, lambda *_: None, Journal(None, ""))
    estimate = found.estimates["4.weight"]
    assert not found.first_order
    assert abs(estimate.value - float(case.block("4.weight").trace())) < 4 * estimate.stderr


def test_cost_of_a_product_falls_with_depth(make_case):
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    assert block_cost(objective, list(case.parameters)) == pytest.approx(2)
    assert block_cost(objective, ["0.weight"]) > block_cost(objective, ["4.weight"])


def test_products_are_shared_unless_that_leaves_much_error_10(make_case):
    """Var of z_l = v_l^T (H v)_l is 2(|H_ll|^2 - |diag|^2) + sum over m of |H_lm|^2; own products lack the last."""
    case = make_case("tanh mlp, cross-entropy")
    case.inputs, case.targets = case.inputs[:16], case.targets[:16]
    hessian, slices = case.hessian(), case.slices()
    objective = measure(case.model, case.loss, case.batches(16), case.parameters)
    blocks = {name: [name] for name in ("0.weight", "2.weight")}
    sampler = _Sampler(objective, 3000, 0, Journal(None, ""), "hessian")
    both = slices["0.weight"], slices["2.weight"]
    for samples, crossed in ((sampler.shared(blocks), 1), (sampler.own(blocks), 0)):
        ((_, found),) = samples
        for name, place, other in (("0.weight", *both), ("2.weight", *reversed(both))):
            block = hessian[place, place]
            variance = 2 * float(block.square().sum() - block.diagonal().square().sum())
            variance += crossed * float(hessian[place, other].square().sum())
            assert found[name].var(ddof=1) == pytest.approx(variance, rel=0.2)
