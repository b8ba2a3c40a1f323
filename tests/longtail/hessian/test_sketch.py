import torch

from longtail.hessian.journal import Journal
from longtail.hessian.operators import measure
from longtail.hessian.sketch import sketches


def test_leads_to_the_top_eigenvector(case):
    """For every layer and the whole: its Rayleigh quotient is most of the top eigenvalue of the Gauss-Newton block."""
    jacobian = case.outputs_jacobian().flatten(0, 1).detach()
    outputs = case.model(case.inputs).detach()
    inner = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(len(jacobian), -1)
    matrix = jacobian.T @ inner @ jacobian
    blocks = {"": list(case.parameters), **{name: [name] for name in case.weights}}
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    everything = slice(0, len(matrix))
    for block, sketch in sketches(objective, blocks, 0, Journal(None, "")).items():
        place = case.slices().get(block, everything)
        part = matrix[place, place]
        (vector,) = sketch.leading(1)
        assert float(vector @ part @ vector) > 0.8 * float(torch.linalg.eigvalsh(part)[-1]), block


def test_its_mean_is_the_block(make_case):
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    found = [sketches(objective, {"a": ["4.weight"]}, seed, Journal(None, ""))["a"].rows.double() for seed in range(20)]
    block = case.block("4.weight")
    mean = sum(rows.T @ rows for rows in found) / len(found)
    assert torch.linalg.matrix_norm(mean - block) < 0.1 * torch.linalg.matrix_norm(block)


def test_vectors_and_scaling(make_case):
    """Against the eigenvectors of R^T R."""
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    sketch = sketches(objective, {"a": ["2.weight"]}, 0, Journal(None, ""))["a"]
    values, vectors = torch.linalg.eigh(sketch.rows.T @ sketch.rows)
    for place, vector in enumerate(sketch.leading(2), 1):
        torch.testing.assert_close(abs(float(vector @ vectors[:, -place])), 1.0)
    assert torch.isclose(torch.tensor(sketch.ratio).double(), values[-2] / values[-1])
    vector = torch.randn(len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = vectors @ ((1 + values.clamp(min=0)) * (vectors.T @ vector))
    torch.testing.assert_close(sketch.scaled(vector, lambda known: 1 + known), expected, rtol=1e-4, atol=1e-6)


def test_a_loss_without_root_gives_none(make_case):
    case = make_case("relu mlp, squares")
    case.loss = lambda outputs, targets: outputs.mean(0).square().sum()
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    assert sketches(objective, {"a": ["0.weight"]}, 0, Journal(None, "")) == {}
