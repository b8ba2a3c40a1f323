import json
import os
import signal
import subprocess
import sys
import time
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch

from longtail.artifacts import artifact_digest
from longtail.errors import InputError
from longtail.features import Features
from longtail.features.own import FILE
from longtail.networks import load
from longtail.steps import classifier_retraining
from longtail.tracking.model import log_classifier
from longtail.tracking.recording import Run

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from longtail.config import RetrainingConfig
from longtail.steps import classifier_retraining
from longtail.steps.execution import Context
from longtail.tracking.recording import Run

torch.set_num_threads(1)
inputs = {name: Path(path) for name, path in json.loads(sys.argv[1]).items()}
context = Context(inputs, {"classifier": Path(sys.argv[2])}, 3, 3, "tailcalibx", Run.silent())
classifier_retraining.run(RetrainingConfig(epochs=100_000), context)
"""


def step_inputs(artifacts):
    return {name: artifacts[name] for name in ("dataset", "backbone", "features", "samples")}


def test_the_artifact_is_tied_to_its_method_and_features(chain, artifacts, dataset):
    for method in ("baseline", "tailcalib"):
        done = chain[f"classifier_retraining/{method}"]
        _, manifest = load(done.outputs["classifier"])
        assert manifest["method"] == method
        assert manifest["features_digest"] == artifact_digest(artifacts["features"])
        assert manifest["dataset_digest"] == dataset.digest
        assert done.described == {"classifier": {"method": method, "model_uri": ""}}


def test_the_raw_image_model_is_published(call, artifacts, dataset, tmp_path, same_weights, monkeypatch):
    run, publish = create_autospec(Run, instance=True), create_autospec(log_classifier, return_value="models:/m-1")
    monkeypatch.setattr(classifier_retraining, "log_classifier", publish)
    done = call("classifier_retraining", tmp_path, artifacts, {"epochs": 2}, method="tailcalib", run=run)
    assert done.described["classifier"]["model_uri"] == "models:/m-1"
    _, model, example, reference, described = publish.call_args.args
    assert same_weights(model, load(done.outputs["classifier"])[0])
    np.testing.assert_array_equal(example, dataset.split("test").images(slice(2)))
    features = Features.open(artifacts["features"])
    np.testing.assert_array_equal(reference.counts, dataset.train_counts)
    first = features.train()[features.labels("train") == 0]
    np.testing.assert_allclose(reference.means[0], first.mean(axis=0), rtol=1e-5)
    assert described == {
        "method": "tailcalib",
        "dataset_digest": dataset.digest,
        "features_digest": features.digest,
        "subset_sha256": dataset.subset_sha256,
        "image_size": 0,
        "crop_size": 0,
    }
    *epochs, whole = run.log_metrics.call_args_list
    assert [call.kwargs["step"] for call in epochs] == [1, 2]
    assert whole.args[0]["head/total_seconds"] > 0


def test_a_classifier_of_the_shared_backbone_has_no_test_features_of_its_own(chain):
    for method in ("baseline", "tailcalib"):
        assert not (chain[f"classifier_retraining/{method}"].outputs["classifier"] / FILE).exists()


def test_a_classifier_whose_backbone_drifted_brings_its_own_test_features_and_statistics(
    call, artifacts, dataset, tmp_path, monkeypatch
):
    publish = create_autospec(log_classifier, return_value="models:/m-1")
    monkeypatch.setattr(classifier_retraining, "log_classifier", publish)
    done = call("classifier_retraining", tmp_path, artifacts, {"crt_batch_norm": "train"}, method="crt")
    classifier, manifest = load(done.outputs["classifier"])
    images = classifier.preprocess(torch.from_numpy(dataset.split("test").images(slice(None))))
    with torch.no_grad():
        expected = classifier.backbone(images).numpy()
    found = np.load(done.outputs["classifier"] / FILE)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, Features.open(artifacts["features"]).split("test"), rtol=1e-2, atol=1e-2)
    assert FILE in manifest["files"]
    train = dataset.split("train")
    with torch.no_grad():
        rows = classifier.backbone(classifier.preprocess(torch.from_numpy(train.images(slice(None))))).numpy()
    means = publish.call_args.args[3].means
    np.testing.assert_allclose(means[3], rows[train.labels == 3].mean(axis=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "setting"), [("tailcalibx", "fresh=backbone"), ("crt", "crt_batch_norm=train")])
def test_settings_that_need_images_say_so(call, artifacts, tmp_path, method, setting):
    name, _, value = setting.partition("=")
    call("classifier_retraining", tmp_path / "with", artifacts, {name: value}, method=method)
    del artifacts["dataset"]
    with pytest.raises(InputError, match=f"{setting} needs images"):
        call("classifier_retraining", tmp_path / "without", artifacts, {name: value}, method=method)


def test_an_unknown_method_writes_nothing(call, artifacts, tmp_path):
    with pytest.raises(InputError, match="'smote': choose from baseline"):
        call("classifier_retraining", tmp_path / "out", artifacts, method="smote")
    assert not list((tmp_path / "out").iterdir())


def test_an_error_in_the_middle_leaves_nothing(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    run.log_metrics.side_effect = RuntimeError("at the end of an epoch")
    with pytest.raises(RuntimeError, match="at the end of an epoch"):
        call("classifier_retraining", tmp_path / "out", artifacts, method="tailcalibx", run=run)
    assert not list((tmp_path / "out").iterdir())


def test_a_kill_leaves_no_half_artifact_and_the_next_attempt_tidies_up(call, artifacts, tmp_path):
    out = tmp_path / "out"
    given = json.dumps({name: str(path) for name, path in step_inputs(artifacts).items()})
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, given, str(out / "classifier")], env=dict(os.environ))
    try:
        while not list(out.glob(".classifier.*/epoch/manifest.json")):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "classifier").exists()
    assert list(out.iterdir())  # the fresh set
    done = call("classifier_retraining", out, artifacts, method="tailcalibx")
    load(done.outputs["classifier"])
    assert [path.name for path in out.iterdir()] == ["classifier"]
