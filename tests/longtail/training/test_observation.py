import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.config import CurvatureConfig
from longtail.hessian import analyze
from longtail.networks import build
from longtail.training.observation import CurvatureObserver

CONFIG = CurvatureConfig(every=2, images_per_class=2, probes=2, lanczos_steps=3, batch_size=8)


@pytest.fixture
def observer(dataset):
    return CurvatureObserver(CONFIG, dataset.split("train"))


@pytest.fixture
def classifier(make_spec):
    return build(make_spec(network="small_cnn", head="linear"), seed=1).train()


def test_it_is_the_analysis_of_a_fixed_balanced_subset(observer, classifier):
    np.testing.assert_array_equal(np.bincount(observer.labels), [2] * 10)
    metrics = observer.observe(classifier, 0)
    batches = list(zip(classifier.preprocess(observer.images).split(8), observer.labels.split(8), strict=True))
    report = analyze(classifier, F.cross_entropy, batches, probes=2, lanczos_steps=3)
    assert metrics["curvature/trace"] == report.full.trace
    assert metrics["curvature/top_eigenvalue/head.weight"] == report.layers["head.weight"].top_eigenvalue


def test_epochs_are_every_so_many_and_the_last(observer, classifier):
    seen = [bool(observer.observe(classifier, epoch, last=epoch == 5)) for epoch in range(6)]
    assert seen == [True, False, True, False, True, True]
    assert [snapshot.epoch for snapshot in observer.snapshots] == [0, 2, 4, 5]
    assert len({snapshot.trace for snapshot in observer.snapshots}) == 1  # the same images and probes


def test_network_and_random_state_are_left_as_found(observer, classifier):
    F.cross_entropy(classifier(classifier.preprocess(observer.images)), observer.labels).backward()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    gradients, state = [value.grad.clone() for value in classifier.parameters()], torch.get_rng_state()
    observer.observe(classifier, 0)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(torch.equal(a.grad, b) for a, b in zip(classifier.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert classifier.training


def test_what_was_found_survives_a_checkpoint(observer, classifier, dataset):
    observer.observe(classifier, 0)
    again = CurvatureObserver(CONFIG, dataset.split("train"))
    again.restore(json.loads(json.dumps(observer.state())))
    assert again.snapshots == observer.snapshots
