import pytest

from longtail.hessian.first_order import affine_parameters, first_order_samples
from longtail.hessian.operators import measure

AFFINE = {
    "relu mlp, cross-entropy": {"0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"},
    "relu mlp, squares": {"0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"},
    "tanh mlp, cross-entropy": {"4.weight", "4.bias"},
    "cnn with bn, smoothed": {"1.weight", "2.weight", "2.bias", "5.weight", "5.bias"},
    "cosine head": set(),
}
BELOW_A_HEAD = {"cosine head": {"0.weight", "0.bias", "2.weight", "2.bias"}}


def test_finds_what_the_outputs_are_affine_in(case, generator):
    found = affine_parameters(measure(case.model, case.loss, case.batches(23), case.parameters), generator)
    assert found == [AFFINE[case.name], BELOW_A_HEAD.get(case.name, set())]


def test_float32_finds_the_same(case, generator):
    case.model.float()
    batches = [(case.inputs.float(), case.targets)]
    found = affine_parameters(measure(case.model, case.loss, batches, case.parameters), generator)
    assert found == [AFFINE[case.name], BELOW_A_HEAD.get(case.name, set())]


@pytest.mark.parametrize("name", AFFINE)
def test_mean_and_standard_error_of_the_samples_10(make_case, name, generator):
    """Every block's mean lies within four standard errors of the exact trace, for all affine parameters at once."""
    case = make_case(name)
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    for cut, found in enumerate(affine_parameters(objective, generator)):
        blocks = {name: [name] for name in sorted(found)}
        if not blocks:
            continue
        (samples,) = objective.over_batches(
            lambda batch, blocks=blocks, cut=cut: first_order_samples(
                batch, blocks, objective.parameters, probes=300, generator=generator, cut=cut
            )
        )
        for name in blocks:
            error = abs(samples[name].mean() - float(case.block(name).trace()))
            assert error < 4 * samples[name].std() / len(samples[name]) ** 0.5, name


def test_variance_is_that_of_the_gram_matrix_10(make_case, generator):
    """2(|K|_F^2 - sum K_ii^2) with K = A A^T, rows of A sqrt(p_nc) (e_c - p_n)^T J_n / sqrt(N)."""
    case = make_case("relu mlp, cross-entropy")
    jacobian = case.outputs_jacobian()  # (N, C, P)
    probabilities = case.model(case.inputs).softmax(1).detach()
    centred = jacobian - (probabilities[:, :, None] * jacobian).sum(1, keepdim=True)
    rows = (probabilities.sqrt()[:, :, None] * centred / len(jacobian) ** 0.5).flatten(0, 1)
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    blocks = {name: [name] for name in case.weights}
    (samples,) = objective.over_batches(
        lambda batch: first_order_samples(batch, blocks, objective.parameters, probes=3000, generator=generator)
    )
    for name in case.weights:
        part = rows[:, case.slices()[name]].detach()
        gram = part @ part.T
        variance = 2 * float(gram.square().sum() - gram.diagonal().square().sum())
        assert samples[name].var(ddof=1) == pytest.approx(variance, rel=0.15)
