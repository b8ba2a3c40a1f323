import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from longtail.config import HessianConfig
from longtail.head_curvature.blocks import ALL, HeadRows, class_traces, head_blocks, set_unit_length
from longtail.networks import build_head

CLASSES, SIZE = 5, 4
MEMBERS = {"many": np.array([3, 0]), "medium": np.array([1]), "few": np.array([4, 2])}
CONFIG = HessianConfig(probes=100, lanczos_steps=40, batch_size=7)
HEADS = ["linear", "cosine", "cosine_reference"]


@pytest.fixture
def data():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(20, SIZE, generator=random, dtype=torch.float64)
    return features, torch.randint(CLASSES, (20,), generator=random)


@pytest.fixture
def make_head():
    """Return a function that builds a head far from its start, in float64."""

    def make(name):
        torch.manual_seed(1)
        head = build_head(name, SIZE, CLASSES, 3.0).double()
        with torch.no_grad():
            head.weight.mul_(torch.linspace(0.5, 2, CLASSES)[:, None]).add_(0.3)
        return head

    return make


def dense(head, features, labels, curvature="hessian"):
    """Return the second derivative in the rows of weight and bias, (C, D + 1, C, D + 1), by automatic differentiation.

    The Gauss-Newton part is J^T S J with S of the softmax.
    """
    start = torch.cat([head.weight, head.bias[:, None]], 1).detach()

    def logits(rows):
        return functional_call(head, {"weight": rows[:, :-1], "bias": rows[:, -1]}, (features,))

    whole = torch.func.hessian(lambda rows: F.cross_entropy(logits(rows), labels))(start)
    if curvature == "hessian":
        return whole
    jacobian, p = torch.func.jacrev(logits)(start), logits(start).softmax(1)
    outer = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    gauss_newton = torch.einsum("nacd,nab,nbef->cdef", jacobian, outer, jacobian) / len(labels)
    return gauss_newton if curvature == "ggn" else whole - gauss_newton


def traces(matrix):
    """Return the trace of each class's block."""
    return torch.einsum("cdcd->c", matrix).detach().numpy()


def test_a_linear_head_has_the_analytic_trace_11(make_head, data):
    features, labels = data
    head = make_head("linear")
    p = head(features).detach().softmax(1)
    analytic = ((1 - p.square().sum(1)) * (features.square().sum(1) + 1)).mean()
    assert class_traces(head, [data]).of("hessian").sum() == pytest.approx(float(analytic), rel=1e-12)
    blocks, loss = head_blocks(head, features, labels, MEMBERS, CONFIG, seed=0)
    assert blocks[ALL].trace == pytest.approx(float(analytic), rel=1e-12)
    assert loss == pytest.approx(float(F.cross_entropy(head(features), labels)))


@pytest.mark.parametrize("curvature", ["hessian", "ggn", "residual"])
@pytest.mark.parametrize("name", HEADS[:2])
def test_traces_by_class_are_those_of_the_dense_matrix(make_head, data, name, curvature):
    head = make_head(name)
    expected = traces(dense(head, *data, curvature))
    np.testing.assert_allclose(class_traces(head, [data]).of(curvature), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", HEADS[:2])
def test_traces_by_class_do_not_depend_on_the_batches(make_head, data, name):
    head, parts = make_head(name), zip(data[0].split(7), data[1].split(7), strict=True)
    found, expected = class_traces(head, parts), class_traces(head, [data])
    np.testing.assert_allclose(found.of("hessian"), expected.of("hessian"), rtol=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_blocks_are_those_of_the_dense_matrix(make_head, data, name):
    head = make_head(name)
    matrix = dense(head, *data)
    expected = traces(matrix)
    blocks, _ = head_blocks(head, *data, MEMBERS, CONFIG, seed=0)
    assert list(blocks) == [ALL, *MEMBERS]
    for group, classes in {ALL: np.arange(CLASSES), **MEMBERS}.items():
        block, width = blocks[group], len(classes) * (SIZE + 1)
        part = matrix[classes][:, :, classes].reshape(width, width)
        assert (block.classes, block.parameters) == (len(classes), width)
        assert block.top_eigenvalue == pytest.approx(float(torch.linalg.eigvalsh(part.detach())[-1]), rel=1e-8)
        assert block.trace == pytest.approx(expected[classes].sum(), rel=1e-9 if name != HEADS[2] else 0.2)
        assert block.trace_stderr > 0
        assert (block.gauss_newton is None) == (name == HEADS[2])


def test_without_a_closed_form_the_trace_is_an_estimate(make_head, data):
    head = make_head("cosine_reference")
    assert class_traces(head, [data]) is None
    config = dataclasses.replace(CONFIG, curvature="ggn")
    blocks, _ = head_blocks(head, *data, MEMBERS, config, seed=0)
    assert blocks[ALL].gauss_newton == blocks[ALL].trace
    assert class_traces(torch.nn.Identity(), [data]) is None


@pytest.mark.parametrize("name", HEADS)
def test_rows_give_the_head_s_logits_in_the_order_of_the_groups(make_head, data, name):
    head = make_head(name)
    rows, expected = HeadRows(head, MEMBERS), head(data[0])
    assert {key for key, value in rows.named_parameters() if value.requires_grad} == {f"rows.{key}" for key in MEMBERS}
    torch.testing.assert_close(rows(data[0])[:, rows.position], expected)


@pytest.mark.parametrize("name", HEADS)
def test_unit_length_changes_no_logit(make_head, data, name):
    head = make_head(name)
    before, weight = head(data[0]), head.weight.detach().clone()
    set_unit_length(head)
    torch.testing.assert_close(head(data[0]), before)
    if name == "linear":
        assert torch.equal(head.weight, weight)
    else:
        lengths = head.weight.norm(dim=head.weight_axis)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_a_cosine_head_s_curvature_depends_on_a_length_that_its_logits_do_not(make_head, data):
    head = make_head("cosine")
    set_unit_length(head)
    unit = class_traces(head, [data]).of("hessian")
    biases = dense(head, *data)[:, -1, :, -1].diagonal().detach().numpy()
    with torch.no_grad():
        head.weight *= 2
    np.testing.assert_allclose(class_traces(head, [data]).of("hessian"), (unit - biases) / 4 + biases)


def test_one_group_of_all_classes(make_head, data):
    blocks, _ = head_blocks(make_head("linear"), *data, {"few": np.arange(CLASSES)}, CONFIG, seed=0)
    assert blocks["few"].trace == blocks[ALL].trace
    assert blocks["few"].top_eigenvalue == pytest.approx(blocks[ALL].top_eigenvalue, rel=1e-9)


def test_float32_agrees(make_head, data):
    for name in HEADS[:2]:
        exact = class_traces(make_head(name), [data]).of("hessian")
        found = class_traces(make_head(name).float(), [(data[0].float(), data[1])]).of("hessian")
        np.testing.assert_allclose(found, exact, rtol=1e-4)
