import pytest
import torch

from longtail.hessian.curvature import BlockOperator
from longtail.hessian.operators import measure


def gauss_newton(case):
    """J^T S J from the dense Jacobian of the outputs and the dense second derivative of the loss in them."""
    jacobian = case.outputs_jacobian().flatten(0, 1)  # (NC, P)
    outputs = case.model(case.inputs).detach()
    curvature = torch.func.hessian(lambda z: case.loss(z, case.targets))(outputs).reshape(len(jacobian), -1)
    return jacobian.T @ curvature @ jacobian


def dense(case, curvature):
    return {
        "hessian": lambda: case.hessian(),
        "ggn": lambda: gauss_newton(case),
        "residual": lambda: case.hessian() - gauss_newton(case),
    }[curvature]()


@pytest.mark.parametrize("curvature", ["hessian", "ggn", "residual"])
@pytest.mark.parametrize("sizes", [(23,), (10, 10, 3)])
def test_products_equal_the_dense_matrices_6_8(case, curvature, sizes):
    objective = measure(case.model, case.loss, case.batches(*sizes), case.parameters)
    blocks = {"full": list(case.parameters), **{name: [name] for name in case.parameters}}
    generator = torch.Generator().manual_seed(1)
    vectors = {
        block: torch.randn(sum(case.parameters[name].numel() for name in names), generator=generator).double()
        for block, names in blocks.items()
    }
    found = BlockOperator(objective, blocks, curvature).products(vectors, lambda key: key)
    matrix = dense(case, curvature)
    torch.testing.assert_close(found["full"], matrix @ vectors["full"], atol=1e-8, rtol=0)
    for name, place in case.slices().items():
        torch.testing.assert_close(found[name], matrix[place, place] @ vectors[name], atol=1e-8, rtol=0)


def test_gauss_newton_is_positive_and_all_of_a_relu_layer_s_hessian_8(make_case):
    case = make_case("relu mlp, cross-entropy")
    matrix, hessian = gauss_newton(case), case.hessian()
    assert torch.linalg.eigvalsh(matrix).min() > -1e-10
    for place in case.slices().values():
        torch.testing.assert_close(matrix[place, place], hessian[place, place], atol=1e-10, rtol=0)
    assert (matrix - hessian).abs().max() > 1e-3  # not of the whole network
