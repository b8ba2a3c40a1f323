import json
from dataclasses import replace
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from longtail.artifacts import open_artifact
from longtail.errors import InputError
from longtail.features import Features
from longtail.features.own import FILE
from longtail.networks import load, save
from longtail.steps import evaluation
from longtail.tracking.recording import Run


def evaluations(done):
    open_artifact(done.outputs["results"], "longtail.results", 1)
    return json.loads((done.outputs["results"] / "evaluations.json").read_text())


def test_every_classifier_is_scored_on_the_whole_test_set(call, artifacts, tmp_path):
    done, features = call("evaluation", tmp_path, artifacts), Features.open(artifacts["features"])
    found = evaluations(done)
    assert list(found) == ["baseline", "tailcalib"]
    for path, scores in zip(artifacts["classifiers"], found.values(), strict=True):
        with torch.no_grad():
            logits = load(path)[0].classify(torch.from_numpy(np.array(features.split("test"))))
        right = logits.argmax(1).numpy() == features.labels("test")
        assert scores["top1"] == pytest.approx(100 * right.mean())


def test_a_classifier_is_scored_on_its_own_test_features_if_it_has_any(call, artifacts, tmp_path):
    done = call("classifier_retraining", tmp_path / "crt", artifacts, {"crt_batch_norm": "train"}, method="crt")
    path, features = done.outputs["classifier"], Features.open(artifacts["features"])
    artifacts["classifiers"].append(path)
    found = evaluations(call("evaluation", tmp_path / "out", artifacts))["crt"]
    with torch.no_grad():
        logits = load(path)[0].classify(torch.from_numpy(np.load(path / FILE)))
    assert found["top1"] == pytest.approx(100 * (logits.argmax(1).numpy() == features.labels("test")).mean())


def test_the_run_the_table_and_the_page_say_the_same(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("evaluation", tmp_path, artifacts, run=run)
    metrics = done.described["metrics"]
    assert metrics == {
        f"test/{method}_{group}": scores[group]
        for method, scores in evaluations(done).items()
        for group in ("top1", "many", "medium", "few")
    }
    run.log_metrics.assert_called_once_with(metrics)
    table = (done.outputs["results"] / "table.txt").read_text()
    page = done.outputs["report"].read_text()
    assert f"{metrics['test/tailcalib_few']:.2f}" in table
    assert page.count("<img") == 4 and "Confusion matrix of tailcalib" in page
    assert "baseline: taken for" in page and "tailcalib: taken for" in page
    texts = {call.args[1]: call.args[0] for call in run.log_text.call_args_list}
    assert texts == {"table.txt": table.removesuffix("\n"), "report.html": page}
    figures = {call.args[1] for call in run.log_figure.call_args_list}
    assert figures == {"groups.png", "per_class.png", "tail_confusion.png", "confusion_tailcalib.png"}


def test_the_predictions_are_kept_with_what_they_are_of(call, artifacts, tmp_path):
    done, features = call("evaluation", tmp_path, artifacts), Features.open(artifacts["features"])
    tensors = load_file(done.outputs["results"] / evaluation.PREDICTIONS)
    assert {name: value.dtype.name for name, value in tensors.items()} == dict.fromkeys(
        ("labels", "predictions/baseline", "predictions/tailcalib"), "int32"
    )
    assert np.array_equal(tensors["labels"], features.labels("test"))
    for method, scores in evaluations(done).items():
        right = tensors[f"predictions/{method}"] == tensors["labels"]
        assert scores["top1"] == pytest.approx(100 * right.mean())


def test_the_test_digest_names_the_data_the_rows_and_their_labels(artifacts):
    features = Features.open(artifacts["features"])
    same = evaluation._test_digest(replace(features, train_counts=features.train_counts + 1, digest="0" * 64))
    assert same == evaluation._test_digest(features)
    others = {
        evaluation._test_digest(replace(features, dataset_digest="0" * 64)),
        evaluation._test_digest(replace(features, class_names=features.class_names[::-1])),
        same,
    }
    assert len(others) == 3


def test_classifiers_of_other_features_are_refused(call, artifacts, tmp_path):
    classifier, manifest = load(artifacts["classifiers"][1])
    other = tmp_path / "other"
    save(classifier, other, {"method": manifest["method"], "features_digest": "0" * 64})
    artifacts["classifiers"] = [artifacts["classifiers"][0], other]
    with pytest.raises(InputError, match="other was retrained on other features: give classifiers of the same run"):
        call("evaluation", tmp_path / "out", artifacts)
    assert not list((tmp_path / "out").iterdir())


def test_a_backbone_is_no_classifier_of_these_features(call, artifacts, tmp_path):
    artifacts["classifiers"] = [artifacts["backbone"]]
    with pytest.raises(InputError, match="retrained on other features"):
        call("evaluation", tmp_path / "out", artifacts)


def test_one_method_twice_is_refused(call, artifacts, tmp_path):
    artifacts["classifiers"] = [artifacts["classifiers"][0]] * 2
    with pytest.raises(InputError, match="is a second 'baseline': give one classifier of each method"):
        call("evaluation", tmp_path / "out", artifacts)


def test_a_group_without_classes_has_no_metric(call, artifacts, tmp_path):
    done = call("evaluation", tmp_path, artifacts, {"many_above": 100_000, "few_below": 0})
    assert set(done.described["metrics"]) == {
        f"test/{method}_{group}" for method in ("baseline", "tailcalib") for group in ("top1", "medium")
    }
    assert evaluations(done)["baseline"]["many"] is None


def test_test_rows_are_classified_in_parts(call, artifacts, tmp_path, monkeypatch):
    whole = evaluations(call("evaluation", tmp_path / "whole", artifacts))
    monkeypatch.setattr(evaluation, "ROWS", 7)
    assert evaluations(call("evaluation", tmp_path / "parts", artifacts)) == whole


def test_a_classifier_that_diverged_is_named(call, artifacts, tmp_path):
    classifier, manifest = load(artifacts["classifiers"][0])
    with torch.no_grad():
        classifier.head.weight[0, 0] = float("nan")
    save(classifier, tmp_path / "lost", {name: manifest[name] for name in ("method", "features_digest")})
    artifacts["classifiers"] = [tmp_path / "lost"]
    with pytest.raises(InputError, match="lost gives NaN on test rows: its training diverged; lower its learning rate"):
        call("evaluation", tmp_path / "out", artifacts)


def test_one_classifier_is_enough(call, artifacts, tmp_path):
    artifacts["classifiers"] = artifacts["classifiers"][:1]
    assert list(evaluations(call("evaluation", tmp_path, artifacts))) == ["baseline"]
