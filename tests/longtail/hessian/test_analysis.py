import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtail.errors import InputError
from longtail.hessian import analyze

ALL = 10_000  # more Lanczos steps than any block has rows


def first_moment(layer):
    return layer.parameters * float(layer.density.nodes @ layer.density.weights)


class Quadratic(nn.Module):
    """Half theta^T A theta with theta in two parameters, the same for every sample."""

    def __init__(self, matrix):
        super().__init__()
        size = len(matrix) // 2
        self.a, self.b = nn.Parameter(torch.ones(size).double()), nn.Parameter(torch.ones(len(matrix) - size).double())
        self.matrix = matrix

    def forward(self, x):
        theta = torch.cat([self.a, self.b])
        return theta @ self.matrix @ theta / 2 + 0 * x


def test_quadratic_1():
    torch.manual_seed(0)
    matrix = torch.randn(12, 12, dtype=torch.float64)
    matrix = matrix + matrix.T
    model = Quadratic(matrix)
    batches = [(torch.zeros(3).double(), torch.zeros(3))]
    report = analyze(model, lambda o, t: o.mean(), batches, layers=["a", "b"], probes=300, lanczos_steps=ALL)
    for found, block in (
        (report.full, matrix),
        (report.layers["a"], matrix[:6, :6]),
        (report.layers["b"], matrix[6:, 6:]),
    ):
        values = torch.linalg.eigvalsh(block)
        np.testing.assert_allclose(found.density.nodes, values, atol=1e-10)
        assert found.top_eigenvalue == pytest.approx(float(values[-1]), abs=1e-10)
        assert found.lowest_eigenvalue == pytest.approx(float(values[0]), abs=1e-10)
        assert abs(found.trace - float(block.trace())) < 4 * found.trace_stderr


def test_quadratic_with_diagonal_matrix_has_an_exact_trace_2():
    diagonal = torch.linspace(-1, 4, 10, dtype=torch.float64)
    batches = [(torch.zeros(3).double(), torch.zeros(3))]
    report = analyze(Quadratic(torch.diag(diagonal)), lambda o, t: o.mean(), batches, layers="a", probes=2)
    assert report.full.trace == pytest.approx(float(diagonal.sum()), abs=1e-12)
    assert report.full.trace_stderr == pytest.approx(0, abs=1e-12)


@pytest.fixture
def data():
    torch.manual_seed(1)
    return torch.randn(15, 4, dtype=torch.float64)


def spectrum(model, loss, inputs, targets):
    return analyze(model, loss, [(inputs, targets)], lanczos_steps=ALL).full


def assert_spectrum(found, hessian):
    """Every distinct eigenvalue is a node, every node with mass is an eigenvalue, and the range is right."""
    values = torch.linalg.eigvalsh(hessian).numpy()
    nodes = found.density.nodes[found.density.weights > 1e-12]
    assert np.abs(values[:, None] - found.density.nodes).min(1).max() < 1e-10
    assert np.abs(nodes[:, None] - values).min(1).max() < 1e-10
    assert found.top_eigenvalue == pytest.approx(values[-1], abs=1e-10)


def test_linear_regression_3(data):
    model = nn.Linear(4, 1, bias=False).double()
    found = spectrum(model, F.mse_loss, data, torch.randn(15, 1, dtype=torch.float64))
    assert_spectrum(found, 2 / 15 * data.T @ data)


def test_binary_logistic_regression_4(data):
    model = nn.Linear(4, 1, bias=False).double()
    slope = torch.sigmoid(model(data)).detach()
    found = spectrum(model, F.binary_cross_entropy_with_logits, data, torch.ones(15, 1, dtype=torch.float64))
    assert_spectrum(found, data.T @ (slope * (1 - slope) * data) / 15)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("zero", [False, True])
def test_linear_softmax_5(data, classes, zero):
    model = nn.Linear(4, classes, bias=False).double()
    model.weight.data *= 0 if zero else 3
    p = model(data).softmax(1).detach()
    hessian = torch.stack([
        torch.kron(torch.diag(row) - torch.outer(row, row), torch.outer(x, x)) for row, x in zip(p, data, strict=True)
    ]).mean(0)
    if zero:
        centring = (torch.eye(classes) - torch.ones(classes, classes) / classes).double() / classes
        torch.testing.assert_close(hessian, torch.kron(centring, data.T @ data / 15))
    found = spectrum(model, F.cross_entropy, data, torch.arange(15) % classes)
    assert_spectrum(found, hessian)
    assert found.first_order
    assert (found.density.nodes > 1e-10).sum() <= 4 * (classes - 1)  # the rank; every 1 ⊗ w is in the null space


def test_last_layer_trace_11(data):
    """A linear classifier with bias: mean of (1 - |p|^2)(|x|^2 + 1)."""
    model = nn.Linear(4, 3).double()
    p = model(data).softmax(1).detach()
    exact = ((1 - p.square().sum(1)) * (data.square().sum(1) + 1)).mean()
    report = analyze(model, F.cross_entropy, [(data, torch.arange(15) % 3)], probes=4000, lanczos_steps=ALL)
    assert first_moment(report.full) > 0
    assert abs(report.full.trace - float(exact)) < 4 * report.full.trace_stderr
    assert report.full.trace_stderr < 0.02 * float(exact)


def test_spectra_equal_the_dense_ones_6_7(case):
    report = analyze(case.model, case.loss, case.batches(10, 10, 3), lanczos_steps=ALL)
    hessian = case.hessian()
    for name, found in {"full": report.full, **report.layers}.items():
        block = hessian if name == "full" else case.block(name)
        values = torch.linalg.eigvalsh(block)
        assert found.top_eigenvalue == pytest.approx(float(values[-1]), abs=1e-8)
        assert found.lowest_eigenvalue == pytest.approx(float(values[0]), abs=1e-8)
        assert found.parameters == len(block)
        assert found.top_residual < 1e-8
        assert found.top_eigenvalue <= report.full.top_eigenvalue + 1e-8  # interlacing
    blocks = sum(case.block(name).trace() for name in case.parameters)
    assert float(blocks) == pytest.approx(float(hessian.trace()), abs=1e-8)


def test_layer_traces_add_up_7(make_case):
    """With every parameter a layer and first-order probes, the full estimate is the sum of the layers' own."""
    case = make_case("relu mlp, cross-entropy")
    report = analyze(case.model, case.loss, case.batches(23), layers="*", lanczos_steps=2)
    total = sum(layer.trace for layer in report.layers.values())
    assert report.full.trace == pytest.approx(total, abs=1e-8)


def test_split_data_give_the_same_spectra_12(case):
    whole, parts = (
        analyze(case.model, case.loss, case.batches(*sizes), lanczos_steps=6) for sizes in ((23,), (10, 10, 3))
    )
    for name, layer in whole.layers.items():
        np.testing.assert_allclose(parts.layers[name].density.nodes, layer.density.nodes, atol=1e-10)
    assert parts.full.top_eigenvalue == pytest.approx(whole.full.top_eigenvalue, abs=1e-10)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-12)


def test_density_moment_agrees_with_the_trace_14(case):
    report = analyze(case.model, case.loss, case.batches(23), lanczos_steps=12, density_runs=60, probes=60)
    exact = float(case.hessian().trace())
    layer = report.full
    assert np.trapezoid(layer.density.curve, layer.density.grid) == pytest.approx(1, abs=1e-2)
    frobenius = float(torch.linalg.matrix_norm(case.hessian()))
    assert abs(first_moment(layer) - exact) < 4 * (2 / 60) ** 0.5 * frobenius


def test_everything_is_left_as_found_18():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 2))
    model[1].eval()
    model[4].bias.requires_grad_(False)
    F.cross_entropy(model(torch.randn(5, 4)), torch.tensor([0, 1, 0, 1, 0])).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: value.grad for name, value in model.named_parameters()}
    copies = {name: value.clone() for name, value in gradients.items() if value is not None}
    flags = [(module.training, len(module._forward_pre_hooks)) for module in model.modules()]
    needs = [value.requires_grad for value in model.parameters()]
    random = torch.get_rng_state()
    batch = (torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 0]))
    analyze(model, F.cross_entropy, [batch], probes=2, lanczos_steps=3)
    with pytest.raises(RuntimeError, match="loss nan"):
        analyze(model, lambda o, t: F.cross_entropy(o, t) * float("nan"), [batch])
    assert torch.equal(torch.get_rng_state(), random)
    assert [(module.training, len(module._forward_pre_hooks)) for module in model.modules()] == flags
    assert [value.requires_grad for value in model.parameters()] == needs
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, value in model.named_parameters():
        assert value.grad is gradients[name]
        assert value.grad is None or torch.equal(value.grad, copies[name])


class Odd(nn.Module):
    """A frozen, an unused, and a tied weight."""

    def __init__(self):
        super().__init__()
        self.frozen, self.unused = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 9)
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(self.first(self.frozen(x)).relu()).relu())


def test_frozen_unused_tied_and_two_classes_20(data, dense):
    torch.manual_seed(2)
    model, targets = Odd().double(), torch.arange(15) % 2
    report = analyze(model, F.cross_entropy, [(data, targets)], lanczos_steps=ALL, probes=200)
    assert list(report.layers) == ["unused.weight", "first.weight", "last.weight"]
    zero = report.layers["unused.weight"]
    assert (zero.trace, zero.trace_stderr, zero.top_eigenvalue, zero.parameters) == (0, 0, 0, 36)
    assert np.trapezoid(zero.density.curve, zero.density.grid) == pytest.approx(1, abs=1e-2)
    model.unused = model.frozen = nn.Identity()
    torch.manual_seed(2)
    frozen = Odd().double().frozen
    hessian = dense(model, F.cross_entropy, frozen(data).detach(), targets)
    assert report.full.parameters == len(hessian)
    assert report.full.top_eigenvalue == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), abs=1e-8)
    tied = report.layers["first.weight"]
    assert not tied.first_order
    assert abs(tied.trace - float(hessian[:16, :16].trace())) < 4 * tied.trace_stderr


def test_single_sample_20(data):
    model = nn.Linear(4, 2, bias=False).double()
    p = model(data[:1]).softmax(1)[0].detach()
    report = analyze(model, F.cross_entropy, [(data[:1], torch.tensor([1]))], lanczos_steps=ALL)
    assert report.full.top_eigenvalue == pytest.approx(float(2 * p.prod() * data[0].square().sum()), abs=1e-10)
    assert report.samples == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_agrees_with_the_dense_values(make_case, dtype):
    case = make_case("cosine head")
    exact = float(torch.linalg.eigvalsh(case.hessian())[-1])
    case.model.to(dtype)
    report = analyze(case.model, case.loss, [(case.inputs.to(dtype), case.targets)], lanczos_steps=ALL)
    assert report.full.top_eigenvalue == pytest.approx(exact, rel=1e-4)


def test_same_seed_same_numbers_and_progress(make_case):
    case = make_case("tanh mlp, cross-entropy")
    calls = []
    first, second = (
        analyze(case.model, case.loss, case.batches(10, 13), lanczos_steps=5, progress=lambda *call: calls.append(call))
        for _ in range(2)
    )
    assert first.full.trace == second.full.trace
    assert first.layers["0.weight"].density.curve.tobytes() == second.layers["0.weight"].density.curve.tobytes()
    assert calls[0] == ("spectra", 1, 5)
    assert calls[-1] == ("traces", 3, 3)
    assert first.cost == second.cost > 0


@pytest.mark.parametrize("curvature", ["ggn", "residual"])
def test_other_curvatures_8(make_case, curvature):
    case = make_case("tanh mlp, cross-entropy")
    found = {
        kind: analyze(case.model, case.loss, case.batches(10, 13), curvature=kind, probes=400, lanczos_steps=ALL)
        for kind in ("hessian", curvature)
    }
    jacobian = case.outputs_jacobian().flatten(0, 1)
    outputs = case.model(case.inputs).detach()
    inner = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(len(jacobian), -1)
    matrix = jacobian.T @ inner @ jacobian
    matrix = matrix if curvature == "ggn" else case.hessian() - matrix
    report = found[curvature]
    assert report.curvature == curvature
    assert report.full.top_eigenvalue == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]), abs=1e-8)
    assert abs(report.full.trace - float(matrix.trace())) < 4 * report.full.trace_stderr
    assert report.full.first_order == (curvature == "ggn")
    if curvature == "ggn":
        assert report.full.lowest_eigenvalue > -1e-10


def test_sampling_error_covers_the_choice_of_the_samples(make_case):
    """Traces of disjoint halves of a large sample differ by about what the error says."""
    case = make_case("relu mlp, cross-entropy")
    draw = torch.Generator().manual_seed(3)
    inputs = torch.randn(20, 64, 5, generator=draw).double()
    targets = torch.randint(0, 3, (20, 64), generator=draw)
    reports = [
        analyze(case.model, case.loss, [batch], probes=4, lanczos_steps=1, seed=seed)
        for seed, batch in enumerate(zip(inputs, targets, strict=True))
    ]
    spread = np.std([report.full.trace for report in reports], ddof=1)
    stated = np.sqrt(np.mean([report.full.trace_sampling_stderr**2 for report in reports]))
    assert stated == pytest.approx(spread, rel=0.5)
    assert stated > 0.9 * np.sqrt(np.mean([report.full.trace_stderr**2 for report in reports]))


def test_unknown_curvature(data):
    with pytest.raises(InputError, match=r"curvature is 'fisher': choose from hessian, ggn, residual"):
        analyze(nn.Linear(4, 2).double(), F.cross_entropy, [(data, torch.zeros(15).long())], curvature="fisher")


@pytest.mark.parametrize("setting", ["probes", "lanczos_steps", "density_runs", "graph_samples"])
def test_settings_too_small(setting, data):
    with pytest.raises(InputError, match=f"{setting}=0 is too small: give"):
        analyze(nn.Linear(4, 2).double(), F.cross_entropy, [(data, torch.zeros(15).long())], **{setting: 0})


@pytest.mark.parametrize("traces", ["hutch++", "xtrace"])
def test_other_trace_estimators_10(case, traces):
    """As many products as rows make both exact; few leave the error they state."""
    exact = analyze(case.model, case.loss, case.batches(10, 13), traces=traces, probes=240, lanczos_steps=2)
    few = analyze(case.model, case.loss, case.batches(10, 13), traces=traces, probes=12, lanczos_steps=2)
    for name, layer in exact.layers.items():
        trace = float(case.block(name).trace())
        assert layer.trace == pytest.approx(trace, abs=1e-8)
        assert abs(few.layers[name].trace - trace) < 6 * few.layers[name].trace_stderr + 1e-8
    assert exact.full.trace == pytest.approx(float(case.hessian().trace()), abs=1e-8)


def test_exact_spectra_of_gauss_newton_blocks_9(case):
    report = analyze(case.model, case.loss, case.batches(10, 13), exact=True, lanczos_steps=8)
    assert not report.full.exact  # between parameters there is a residual part
    ggn = analyze(case.model, case.loss, case.batches(10, 13), exact=True, curvature="ggn", lanczos_steps=8)
    assert ggn.full.exact
    for name, layer in report.layers.items():
        if not layer.exact:
            assert case.name in {"tanh mlp, cross-entropy", "cosine head"}
            continue
        values = torch.linalg.eigvalsh(case.block(name))
        assert layer.top_eigenvalue == pytest.approx(float(values[-1]), abs=1e-8)
        assert layer.lowest_eigenvalue == pytest.approx(float(values[0]), abs=1e-8)
        assert first_moment(layer) == pytest.approx(float(values.sum()), abs=1e-8)
        assert layer.effective_rank == pytest.approx(float(values.sum() ** 2 / values.square().sum()), rel=1e-6)


@pytest.mark.parametrize("densities", [1, lambda name, value: value.dim() > 1 and value.shape[0] == 3])
def test_layers_without_density_have_their_top_eigenvalue(case, densities):
    found = analyze(case.model, case.loss, case.batches(23), densities=densities, accuracy=0.01, lanczos_steps=ALL)
    assert found.full.density is not None
    assert (
        1
        <= sum(layer.density is not None for layer in found.layers.values())
        < len(found.layers) + (case.name.startswith("cnn"))
    )
    for name, layer in found.layers.items():
        top = float(torch.linalg.eigvalsh(case.block(name))[-1])
        assert top * 0.98 < layer.top_eigenvalue < top + 1e-9
        assert (layer.effective_rank is None) == (layer.density is None)
