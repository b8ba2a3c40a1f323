from dataclasses import replace

import numpy as np
import pytest
import torch

from longtail.data.dataset import Dataset
from longtail.errors import InputError
from longtail.features import Features
from longtail.networks import load, save
from longtail.networks.extension import NETWORK
from longtail.steps.rescoring import predict_test


@pytest.fixture
def model(artifacts, tmp_path):
    """Return a function that writes a model's folder from a classifier of the chain, changed by a function."""

    def make(change=lambda classifier: None):
        classifier, manifest = load(artifacts["classifiers"][0])
        change(classifier)
        save(classifier, tmp_path / "model" / NETWORK, {"method": manifest["method"]})
        return tmp_path / "model"

    return make


def test_a_model_predicts_from_images_what_it_did_from_its_features(model, artifacts):
    features, dataset = Features.open(artifacts["features"]), Dataset.open(artifacts["dataset"])
    with torch.no_grad():
        logits = load(artifacts["classifiers"][0])[0].classify(torch.from_numpy(np.array(features.split("test"))))
    found = predict_test(model(), features, dataset)
    assert np.mean(found == logits.argmax(1).numpy()) > 0.995


def test_classes_are_those_of_the_new_run(model, artifacts):
    features, dataset = Features.open(artifacts["features"]), Dataset.open(artifacts["dataset"])
    plain = predict_test(model(), features, dataset)
    names = (*features.class_names[1:], "new")
    found = predict_test(model(), replace(features, class_names=names), dataset)
    assert np.array_equal(found, plain - 1)


def test_a_model_of_images_reads_no_rows_and_no_images_of_another_shape(model, artifacts):
    features, dataset = Features.open(artifacts["features"]), Dataset.open(artifacts["dataset"])
    with pytest.raises(InputError, match="it reads images, this run has rows of features"):
        predict_test(model(), features, None)

    def grow(classifier):
        classifier.spec = replace(classifier.spec, image_shape=(64, 64, 1))

    with pytest.raises(InputError, match=r"it reads images of shape \(64, 64, 1\), this run's are "):
        predict_test(model(grow), features, dataset)


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_a_model_of_rows_reads_them_as_they_were_in_the_table(call, table, tmp_path, scaling):
    own = call("feature_import", tmp_path / "own", {}, {"path": str(table)})
    new = call("feature_import", tmp_path / "new", {}, {"path": str(table), "scaling": scaling})
    features, rescaled = (Features.open(done.outputs["features"]) for done in (own, new))
    head = call("head_training", tmp_path / "head", {"features": features.path}, {"epochs": 1, "minimum_steps": 20})
    classifier, _ = load(head.outputs["backbone"])
    save(classifier, tmp_path / "model" / NETWORK, {"method": "baseline"})
    with torch.no_grad():
        expected = classifier(torch.from_numpy(np.array(features.split("test")))).argmax(1).numpy()
    assert np.mean(predict_test(tmp_path / "model", rescaled, None) == expected) > 0.99
