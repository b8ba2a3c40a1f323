import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longtail.data.dataset import Dataset
from longtail.networks import load


def _evaluations(artifact):
    return json.loads((Path(artifact.path) / "evaluations.json").read_text())


@pytest.mark.parametrize("method", ["baseline", "tailcalib"])
def test_scores_are_those_of_the_whole_model_on_the_raw_test_images(chain, method):
    found = _evaluations(chain["evaluation"]["results"])[method]
    dataset = Dataset.open(Path(chain["data_imbalancing"]["dataset"].path))
    classifier, _ = load(Path(chain[f"classifier_retraining/{method}"]["classifier"].path))
    test = dataset.split("test")
    with torch.no_grad():
        scores = classifier(classifier.preprocess(torch.from_numpy(test.images(slice(None)))))
    right = scores.argmax(1).numpy() == test.labels
    assert found["top1"] == pytest.approx(100 * right.mean(), abs=100.1 / len(right))
    per_class = np.array([100 * right[test.labels == label].mean() for label in range(10)])
    few = per_class[dataset.train_counts < 12].mean()
    assert found["few"] == pytest.approx(few, abs=1.0)


def test_the_first_classifier_comes_first(chain):
    assert list(_evaluations(chain["evaluation"]["results"])) == ["baseline", "tailcalib"]


def test_metrics_and_table_say_the_same(chain):
    results, metrics = chain["evaluation"]["results"], chain["evaluation"]["metrics"].metadata
    for method, evaluation in _evaluations(results).items():
        for group in ("top1", "many", "medium", "few"):
            assert metrics[f"test/{method}_{group}"] == evaluation[group]
    table = (Path(results.path) / "table.txt").read_text()
    assert f"{metrics['test/tailcalib_top1']:.2f}" in table


def test_thresholds_that_overlap_are_refused(call, inputs, refuses, tmp_path):
    config = {"many_above": 10.0, "few_below": 20.0}
    line = refuses(lambda: call("evaluation", tmp_path, inputs("evaluation"), config), tmp_path)
    assert "few_below is 20 and many_above is 10" in line


def test_classifiers_of_other_features_are_refused(call, inputs, refuses, tmp_path):
    others = call("feature_extraction", tmp_path / "features", inputs("feature_extraction"), {"views": 0.0})
    given = inputs("evaluation") | others
    line = refuses(lambda: call("evaluation", tmp_path / "out", given), tmp_path / "out")
    assert "retrained on other features" in line
