import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.claims.measurement import Depth, Meter, bulk_share, errors, middle_layers, shuffled_distance
from longtail.hessian import Density
from longtail.networks import build

DEPTH = Depth(images_per_class=1, probes=4, lanczos_steps=8, spectrum_steps=8)


def density(nodes, weights):
    return Density(np.array(nodes, float), np.array(weights, float), np.zeros(2), np.zeros(2))


@pytest.fixture(scope="module")
def lenet(make_spec):
    return build(make_spec(network="lenet", head="linear"), seed=1).eval()


@pytest.fixture(scope="module")
def meter(dataset):
    return Meter(dataset, DEPTH)


def test_bulk_is_what_lies_within_a_hundredth_of_the_top():
    assert bulk_share(density([-0.05, 0.0, 0.09, 0.2, 10.0], [0.1, 0.5, 0.2, 0.1, 0.1])) == pytest.approx(0.8)


def test_shuffled_point_mass_is_half_the_range_away():
    """A spectrum all at zero is, once shuffled, at a place that is uniform in [0, 1]."""
    full = density([0.0, 4.0], [1.0, 0.0])
    assert shuffled_distance(full, full) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(50))


def test_even_spectrum_cannot_be_shuffled():
    even = density((np.arange(100) + 0.5) / 100, np.full(100, 0.01))
    assert shuffled_distance(even, even) < 0.01


def test_errors_are_those_of_the_logits(lenet, dataset):
    split = dataset.split("test")
    images = lenet.preprocess(torch.from_numpy(split.images(slice(None))))
    with torch.no_grad():
        logits = lenet(images)
    labels = torch.from_numpy(split.labels)
    loss, error = errors(lenet, split)
    assert loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert error == pytest.approx(100 * float((logits.argmax(1) != labels).double().mean()))


def test_middle_of_lenet(lenet):
    names = [name for name, value in lenet.named_parameters() if value.dim() > 1]
    middle = middle_layers(lenet, names)
    assert middle == tuple(f"backbone.{name}.weight" for name in ("conv2", "fc1", "fc2"))


def test_spectra_of_a_network_of_relus(lenet, meter):
    lenet.train()
    state = torch.random.get_rng_state()
    found = meter.full(lenet, 3)
    assert torch.equal(state, torch.random.get_rng_state())
    lenet.eval()
    assert (found.epoch, found.deep) == (3, True)
    assert next(iter(found.layers)) == "backbone.conv1.weight"
    for layer in found.layers.values():
        assert layer.residual_share < 1e-3  # the theorem: a layer between ReLUs has no residual part
        assert 0 <= layer.outliers <= 100
        assert 0 <= layer.bulk_share <= 1
        assert {"wasserstein_scaled", "curvature_scaled", "legacy", "others"} <= set(layer.distances)
        assert layer.control > 0
        assert 0 < layer.top_eigenvalue <= found.gauss_newton_top * 1.01  # a block's is at most the whole's


def test_brief_measures_and_trace_alone_agree_with_the_spectra(lenet, meter):
    full, brief, trace = meter.full(lenet, 1), meter.brief(lenet, 1), meter.trace(lenet, 1)
    assert not brief.deep
    assert brief.layers.keys() == full.layers.keys()
    assert brief.top_eigenvalue == pytest.approx(full.top_eigenvalue, rel=0.1)
    assert [brief.trace, trace.trace] == pytest.approx([full.trace] * 2, rel=0.5)
    assert (trace.top_eigenvalue, trace.layers) == (None, {})
    assert (trace.train_loss, trace.test_error) == (full.train_loss, full.test_error)
    assert meter.trace(lenet, 1) == trace
