"""The oracle is the dense Hessian of the loss in one flat vector, differentiated once more."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian.batch_norm import ComposedBatchNorm
from longtail.hessian.regularization import TracePenalty, chosen, curvature_along, pulled_back
from longtail.hessian.root import differentiable_root

RELU = ["relu mlp, cross-entropy", "relu mlp, squares", "cnn with bn, smoothed"]
"""Where the Hessian's blocks are Gauss-Newton blocks."""
CASES = [*RELU, "tanh mlp, cross-entropy", "cosine head"]


def traced(case, names, *, create_graph=False):
    """Sum of v^T H v over all unit vectors v of the named parameters, by `curvature_along`."""
    outputs = case.model(case.inputs)
    wanted = [case.parameters[name] for name in names]
    gradients = torch.autograd.grad(case.loss(outputs, case.targets), wanted, create_graph=True)
    total = 0
    for place, parameter in enumerate(wanted):
        for entry in range(parameter.numel()):
            vectors = [torch.zeros_like(value) for value in wanted]
            vectors[place].view(-1)[entry] = 1
            total = total + curvature_along(gradients, wanted, vectors)
    return total


def factored(case, names):
    """Sum of |J^T R e|² over all unit vectors e, by `pulled_back`."""
    outputs = case.model(case.inputs)
    root = differentiable_root(case.loss(outputs, case.targets), outputs, torch.Generator().manual_seed(0))
    units = torch.eye(outputs.numel(), dtype=outputs.dtype)
    wanted = [case.parameters[name] for name in names]
    return sum(pulled_back(outputs, wanted, root(unit.view_as(outputs))) for unit in units)


def exact(case, names):
    """Trace and its gradient in all parameters, from the dense Hessian."""
    flat = torch.cat([value.detach().reshape(-1) for value in case.parameters.values()])
    slices = case.slices()
    rows = torch.cat([torch.arange(slices[name].start, slices[name].stop) for name in names])

    def loss(theta):
        values = {name: theta[slices[name]].view_as(value) for name, value in case.parameters.items()}
        return case.loss(torch.func.functional_call(case.model, values, (case.inputs,)), case.targets)

    def trace(theta):
        return torch.func.hessian(loss)(theta).diagonal()[rows].sum()

    flat.requires_grad_()
    value = trace(flat)
    return value.detach(), torch.autograd.grad(value, flat)[0]


def gradient(value, case):
    found = torch.autograd.grad(value, list(case.parameters.values()), allow_unused=True, retain_graph=True)
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(found, case.parameters.values(), strict=True)]
    return torch.cat([part.reshape(-1) for part in filled])


@pytest.mark.parametrize("name", CASES[:-1])  # the oracle's PyTorch has no third derivative of a cosine head
def test_over_all_unit_vectors_it_is_the_trace_and_its_gradient(name, make_case):
    with ComposedBatchNorm():
        case = make_case(name)
        value, slope = exact(case, case.parameters)
        found = traced(case, list(case.parameters))
    torch.testing.assert_close(found.detach(), value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient(found, case), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", RELU)
@pytest.mark.parametrize("some", [False, True])
def test_first_derivatives_give_the_same_for_networks_of_relus(name, some, make_case):
    with ComposedBatchNorm():
        case = make_case(name)
        names = list(case.parameters)[1:3] if some else list(case.parameters)
        value, slope = exact(case, names)
        found = factored(case, names)
    torch.testing.assert_close(found.detach(), value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient(found, case), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "estimate"), [("tanh mlp, cross-entropy", traced), ("cosine head", traced), ("cosine head", factored)]
)
def test_gradient_agrees_with_finite_differences(name, estimate, generator, make_case):
    """Also where first derivatives give the Gauss-Newton matrix's trace and not the Hessian's."""
    case = make_case(name)
    names = case.weights[:2]
    direction = {key: torch.randn(value.shape, generator=generator).double() for key, value in case.parameters.items()}
    slope = gradient(estimate(case, names), case)
    along = slope @ torch.cat([part.reshape(-1) for part in direction.values()])
    step, values = 1e-5, []
    for sign in (1, -1, 0):
        if sign:
            for key, value in case.parameters.items():
                value.data += sign * step * direction[key]
            values.append(float(estimate(case, names).detach()))
            for key, value in case.parameters.items():
                value.data -= sign * step * direction[key]
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(along), rel=1e-5)


def test_masked_probes_equal_restricted_blocks_and_other_layers_move(generator, make_case):
    case = make_case("tanh mlp, cross-entropy")
    chosen_names, everything = case.weights[1:2], list(case.parameters.values())
    loss = case.loss(case.model(case.inputs), case.targets)
    wanted = [case.parameters[name] for name in chosen_names]
    probes = [torch.randn(value.shape, generator=generator).double() for value in wanted]
    masked = [torch.zeros_like(value) for value in everything]
    for name, probe in zip(chosen_names, probes, strict=True):
        masked[list(case.parameters).index(name)] = probe
    restricted = curvature_along(torch.autograd.grad(loss, wanted, create_graph=True), wanted, probes)
    whole = curvature_along(torch.autograd.grad(loss, everything, create_graph=True), everything, masked)
    torch.testing.assert_close(restricted, whole, rtol=1e-10, atol=1e-12)
    slope = gradient(restricted, case)
    torch.testing.assert_close(slope, gradient(whole, case), rtol=1e-10, atol=1e-12)
    assert slope[case.slices()[case.weights[0]]].abs().max() > 1e-6


@pytest.mark.parametrize("form", ["first_order", "hutchinson"])
@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_estimates_are_unbiased(form, law, generator, make_case):
    case = make_case("relu mlp, cross-entropy")
    value, _ = exact(case, case.weights)
    penalty = TracePenalty(case.model, layers="weights", form=form, law=law)
    outputs = case.model(case.inputs)
    loss = case.loss(outputs, case.targets)
    samples = torch.stack([penalty(outputs, loss, generator).detach() for _ in range(300)])
    assert abs(samples.mean() - value) < 4 * samples.std() / 300**0.5
    averaged = TracePenalty(case.model, layers="weights", form=form, law=law, probes=9)
    means = torch.stack([averaged(outputs, loss, generator).detach() for _ in range(30)])
    assert means.std() < 0.6 * samples.std()  # a third, but for chance


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, "first_order" if name in RELU else "hutchinson") for name in CASES],
)
def test_auto_takes_first_derivatives_where_they_suffice(name, form, generator, make_case):
    case = make_case(name)
    penalty = TracePenalty(case.model)
    with ComposedBatchNorm():
        outputs = case.model(case.inputs)
    penalty(outputs, case.loss(outputs, case.targets), generator)
    assert penalty.form == form


def test_batch_statistics_are_no_gauss_newton_matter(generator, make_case):
    case = make_case("cnn with bn, smoothed")
    case.model.train()
    with ComposedBatchNorm():
        outputs = case.model(case.inputs)
    penalty = TracePenalty(case.model)
    value = penalty(outputs, case.loss(outputs, case.targets), generator)
    assert penalty.form == "hutchinson"
    assert gradient(value, case).isfinite().all()


def test_one_backward_pass_serves_loss_and_penalty(generator, make_case):
    case = make_case("relu mlp, cross-entropy")
    penalty = TracePenalty(case.model, form="first_order")
    outputs = case.model(case.inputs)
    loss = case.loss(outputs, case.targets)
    estimate = penalty(outputs, loss, generator)
    expected = gradient(loss, case) + 0.5 * gradient(estimate, case)
    (loss + 0.5 * estimate).backward()
    torch.testing.assert_close(torch.cat([value.grad.reshape(-1) for value in case.parameters.values()]), expected)


def test_the_middle_is_that_of_the_authors():
    """LeNet's ten tensors: from conv2.weight to fc2.bias, see the indices 2 to 7 of 10."""
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(5)))
    assert list(chosen(model, "middle")) == ["1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert list(chosen(model, "all")) == [name for name, _ in model.named_parameters()]
    assert list(chosen(model, ["4.*", "0.bias"])) == ["0.bias", "4.weight", "4.bias"]
    model[0].requires_grad_(False)
    assert list(chosen(model, "middle")) == ["2.weight", "2.bias", "3.weight", "3.bias", "4.weight"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "exact"}, "^form is 'exact': choose from auto, first_order, hutchinson$"),
        ({"law": "uniform"}, "^law is 'uniform': choose from rademacher, gaussian$"),
        ({"probes": 0}, "^probes is 0: give 1 or more$"),
        ({"layers": "layer9.*"}, r"^no trainable parameter matches layers='layer9.\*'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        TracePenalty(nn.Linear(2, 2), **settings)


@pytest.mark.parametrize("form", ["first_order", "hutchinson"])
def test_parameters_that_the_loss_does_not_depend_on_are_told_so(form, generator):
    model = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])
    outputs = model[0](torch.randn(4, 3, generator=generator))
    loss = F.cross_entropy(outputs, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(InputError, match=r"^the loss depends on no parameter of `layers`"):
        TracePenalty(model, layers="1.*", form=form)(outputs, loss, generator)
    both = TracePenalty(model, form=form)(outputs, loss, generator)
    assert float(both.detach()) > 0


@pytest.mark.parametrize("form", ["auto", "first_order", "hutchinson"])
def test_loss_that_is_not_finite_gives_an_estimate_that_is_not(form, generator):
    model = nn.Linear(3, 2)
    outputs = model(torch.full((4, 3), torch.nan))
    penalty = TracePenalty(model, form=form)
    estimate = penalty(outputs, F.cross_entropy(outputs, torch.tensor([0, 1, 0, 1])), generator)
    assert not estimate.isfinite()
    assert penalty.form == form


def test_same_generator_same_estimate(generator, make_case):
    case = make_case("relu mlp, cross-entropy")
    outputs = case.model(case.inputs)
    loss, penalty = case.loss(outputs, case.targets), TracePenalty(case.model, form="first_order")
    one, again = (penalty(outputs, loss, torch.Generator().manual_seed(3)) for _ in range(2))
    other = penalty(outputs, loss, torch.Generator().manual_seed(4))
    assert torch.equal(one, again) and not torch.equal(one, other)
