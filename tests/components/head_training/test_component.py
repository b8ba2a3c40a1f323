from pathlib import Path

import numpy as np
import torch

from longtail.artifacts import sha256_file
from longtail.features import Features
from longtail.networks import load


def test_the_network_is_a_head_on_the_features_as_they_are(chain):
    features = Features.open(Path(chain["feature_import"]["features"].path))
    classifier, manifest = load(Path(chain["head_training"]["backbone"].path))
    rows = torch.from_numpy(np.array(features.train()))
    assert torch.equal(classifier.features(rows), rows)
    assert len(manifest["history"]) == chain["head_training"]["backbone"].metadata["epochs"] == 2
    assert manifest["dataset_digest"] == features.dataset_digest


def test_another_seed_gives_another_head(call, inputs, chain, tmp_path):
    other = call("head_training", tmp_path, inputs("head_training"), seed=4)["backbone"]
    files = [Path(artifact.path) / "weights.safetensors" for artifact in (other, chain["head_training"]["backbone"])]
    assert sha256_file(files[0]) != sha256_file(files[1])


def test_the_rest_of_the_method_needs_no_images(call, chain, tmp_path):
    given = {"backbone": chain["head_training"]["backbone"], "features": chain["feature_import"]["features"]}
    samples = call("calibrated_sampling", tmp_path / "samples", given, {"n_neighbors": 2.0})["samples"]
    made = call("classifier_retraining", tmp_path / "out", {**given, "samples": samples}, method="tailcalib")
    lineage = made["classifier"].metadata["lineage"]
    assert set(lineage) == {
        *("feature_import", "head_training", "calibrated_sampling"),
        "classifier_retraining/tailcalib",
    }
    results = call(
        "evaluation", tmp_path / "results", {"features": given["features"], "classifiers": [made["classifier"]]}
    )
    assert set(results["metrics"].metadata) >= {"test/tailcalib_top1"}
