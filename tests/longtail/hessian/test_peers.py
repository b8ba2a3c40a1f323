"""Agreement with independent libraries on the same network, data and vectors: curvlinops and PyHessian."""

import numpy as np
import pytest
import torch
from curvlinops import GGNLinearOperator, HessianLinearOperator
from pyhessian import hessian as pyhessian
from torch import nn

from longtail.hessian import analyze
from longtail.hessian.curvature import BlockOperator
from longtail.hessian.operators import measure

PEERS = {"hessian": HessianLinearOperator, "ggn": GGNLinearOperator}
CASES = ["relu mlp, cross-entropy", "tanh mlp, cross-entropy", "cnn with bn, smoothed"]


@pytest.fixture(autouse=True)
def double():
    """PyHessian draws its probes in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("curvature", PEERS)
@pytest.mark.parametrize("name", CASES)
def test_products_of_curvlinops(make_case, name, curvature):
    """Whole network and single layers, over uneven batches, to 1e-8 relative."""
    case = make_case(name)
    batches = case.batches(10, 13)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1 if "smoothed" in name else 0.0)
    objective = measure(case.model, case.loss, batches, case.parameters)
    blocks = {"full": list(case.parameters), **{layer: [layer] for layer in case.weights}}
    operator = BlockOperator(objective, blocks, curvature)
    draw = torch.Generator().manual_seed(0)
    vectors = {block: torch.randn(operator.like(block).numel(), generator=draw) for block in blocks}
    found = operator.products(vectors, lambda block: block)
    for block, names in blocks.items():
        peer = PEERS[curvature](case.model, loss, [case.parameters[layer] for layer in names], batches)
        expected = peer @ vectors[block]
        assert torch.linalg.vector_norm(found[block] - expected) <= 1e-8 * torch.linalg.vector_norm(expected), block


@pytest.mark.parametrize("name", CASES)
def test_trace_and_top_eigenvalue_of_pyhessian(make_case, name):
    case = make_case(name)
    torch.manual_seed(0)
    peer = pyhessian(case.model, case.loss, data=(case.inputs, case.targets), cuda=False)
    (top,), _ = peer.eigenvalues(maxIter=3000, tol=1e-12)
    samples = peer.trace(maxIter=800, tol=0)
    case.model.zero_grad(set_to_none=True)
    report = analyze(case.model, case.loss, case.batches(23), probes=200, lanczos_steps=200).full
    # Power iteration finds the eigenvalue that is largest in size, whatever its sign.
    largest = max((report.top_eigenvalue, report.lowest_eigenvalue), key=abs)
    assert largest == pytest.approx(top, rel=1e-5)
    error = (report.trace_stderr**2 + np.var(samples, ddof=1) / len(samples)) ** 0.5
    assert abs(report.trace - np.mean(samples)) < 4 * error
