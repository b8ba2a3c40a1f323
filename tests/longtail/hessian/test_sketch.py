import torch

from longtail.hessian.journal import Journal
from longtail.hessian.operators import measure
from longtail.hessian.sketch import sketched_starts


def test_leans_towards_the_top_eigenvector(case):
    """For every layer and the whole: its Rayleigh quotient is most of the top eigenvalue of the Gauss-Newton block."""
    jacobian = case.outputs_jacobian().flatten(0, 1).detach()
    outputs = case.model(case.inputs).detach()
    inner = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(len(jacobian), -1)
    matrix = jacobian.T @ inner @ jacobian
    blocks = {"": list(case.parameters), **{name: [name] for name in case.weights}}
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    found = sketched_starts(objective, blocks, 64, 0, Journal(None, ""))
    everything = slice(0, len(matrix))
    for block, start in found.items():
        place = case.slices().get(block, everything)
        part = matrix[place, place]
        vector = start / torch.linalg.vector_norm(start)
        assert float(vector @ part @ vector) > 0.8 * float(torch.linalg.eigvalsh(part)[-1]), block


def test_covariance_is_the_block(make_case):
    """The mean of v v^T over many single passes is J^T S J."""
    case = make_case("relu mlp, cross-entropy")
    objective = measure(case.model, case.loss, case.batches(10, 13), case.parameters)
    vectors = torch.stack([
        sketched_starts(objective, {"a": ["4.weight"]}, 1, seed, Journal(None, ""))["a"] for seed in range(800)
    ])
    block = case.block("4.weight")
    error = torch.linalg.matrix_norm(vectors.T @ vectors / len(vectors) - block) / torch.linalg.matrix_norm(block)
    assert error < 0.2


def test_a_loss_without_root_gives_no_starts(make_case):
    case = make_case("relu mlp, squares")
    case.loss = lambda outputs, targets: outputs.mean(0).square().sum()
    objective = measure(case.model, case.loss, case.batches(23), case.parameters)
    assert sketched_starts(objective, {"a": ["0.weight"]}, 3, 0, Journal(None, "")) == {}
