import html
import json
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longtail.artifacts import new_artifact, open_artifact
from longtail.config import HessianConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.head_curvature.blocks import class_traces, set_unit_length
from longtail.hessian import analyze
from longtail.hessian.subset import balanced_rows
from longtail.networks import build, load, save
from longtail.steps import head_curvature
from longtail.tracking.recording import Run

GROUPS = ("many", "medium", "few")


def content(done):
    open_artifact(done.outputs["head_curvature"], "longtail.heads", 1)
    return json.loads((done.outputs["head_curvature"] / "head_curvature.json").read_text())


def subset(artifacts, per_class):
    features = Features.open(artifacts["features"])
    rows = balanced_rows(features.labels("train"), per_class)
    return torch.from_numpy(features.train()[rows]), torch.from_numpy(features.labels("train")[rows])


def test_numbers_are_those_of_each_head_on_the_subset(call, artifacts, tmp_path):
    found = content(call("head_curvature", tmp_path, artifacts))
    assert list(found["methods"]) == ["baseline", "tailcalib"]
    assert (found["samples"], found["curvature"], found["skipped"]) == (20, "hessian", {})
    x, y = subset(artifacts, 2)
    for path, head in zip(artifacts["classifiers"], found["methods"].values(), strict=True):
        classifier, _ = load(path)
        assert head["loss"] == pytest.approx(float(F.cross_entropy(classifier.classify(x).detach(), y)), rel=1e-5)
        assert head["weight_norm"] == pytest.approx(float(classifier.head.weight.detach().norm()), rel=1e-6)
        set_unit_length(classifier.head)
        exact = class_traces(classifier.head, [(x, y)]).of("hessian")
        for group in GROUPS:
            assert head["blocks"][group]["trace"] == pytest.approx(exact[found["classes"][group]].sum(), rel=1e-5)
        assert head["blocks"]["all"]["trace"] == pytest.approx(exact.sum(), rel=1e-5)
        assert head["blocks"]["all"]["top_eigenvalue"] > 0


def test_the_training_traces_are_those_of_all_rows_in_parts(call, artifacts, tmp_path, monkeypatch):
    whole = content(call("head_curvature", tmp_path / "whole", artifacts))["methods"]
    monkeypatch.setattr(head_curvature, "ROWS", 7)
    parts = content(call("head_curvature", tmp_path / "parts", artifacts))["methods"]
    features = Features.open(artifacts["features"])
    x, y = (torch.from_numpy(np.array(values)) for values in (features.train(), features.labels("train")))
    for path, method in zip(artifacts["classifiers"], whole, strict=True):
        classifier, _ = load(path)
        set_unit_length(classifier.head)
        traces = whole[method]["training_traces"]
        assert traces["all"] == pytest.approx(class_traces(classifier.head, [(x, y)]).of("hessian").sum(), rel=1e-5)
        assert traces["all"] == pytest.approx(sum(traces[group] for group in GROUPS))
        assert parts[method]["training_traces"] == pytest.approx(traces, rel=1e-5)


def linear(make_spec, artifacts, folder):
    """Return a classifier with the trained backbone and a linear head, saved as the baseline of these features."""
    torch.manual_seed(0)
    classifier = build(make_spec(head="linear"), seed=5)
    classifier.backbone.load_state_dict(load(artifacts["backbone"])[0].backbone.state_dict())
    fields = {"method": "baseline", "features_digest": Features.open(artifacts["features"]).digest}
    save(classifier, folder, fields)
    return classifier


def test_the_baseline_s_trace_is_the_head_s_in_the_analysis_of_the_whole_network(
    call, artifacts, make_spec, tmp_path, dataset
):
    """Same images, through the backbone or from its features: of the weight, without the bias that is here too."""
    classifier = linear(make_spec, artifacts, tmp_path / "linear")
    artifacts["classifiers"] = [tmp_path / "linear"]
    block = content(call("head_curvature", tmp_path / "out", artifacts))["methods"]["baseline"]["blocks"]["all"]
    split = dataset.split("train")
    rows = balanced_rows(split.labels, 2)
    batch = (classifier.preprocess(torch.from_numpy(split.images(rows))), torch.from_numpy(split.labels[rows]))
    report = analyze(classifier, F.cross_entropy, [batch], layers=["head.weight", "head.bias"], probes=40)
    weight, bias = report.layers["head.weight"], report.layers["head.bias"]
    error = 4 * (weight.trace_stderr**2 + bias.trace_stderr**2) ** 0.5
    assert block["trace"] == pytest.approx(weight.trace + bias.trace, abs=error + 1e-4 * weight.trace)
    assert block["top_eigenvalue"] >= weight.top_eigenvalue * (1 - 1e-3)


def test_a_head_on_transformed_features_is_analysed_on_them(call, artifacts, make_spec, tmp_path):
    classifier = linear(make_spec, artifacts, tmp_path / "linear")
    classifier.tukey = 0.5
    save(
        classifier,
        tmp_path / "half",
        {"method": "tailcalib", "features_digest": Features.open(artifacts["features"]).digest},
    )
    artifacts["classifiers"] = [tmp_path / "linear", tmp_path / "half"]
    done = call("head_curvature", tmp_path / "out", artifacts)
    x, y = subset(artifacts, 2)
    trace = content(done)["methods"]["tailcalib"]["blocks"]["all"]["trace"]
    assert trace == pytest.approx(class_traces(classifier.head, [(x**0.5, y)]).of("hessian").sum(), rel=1e-5)
    assert "raised to a power, so of another size: tailcalib (0.5)" in done.outputs["report"].read_text()


@pytest.mark.parametrize("method", ["logit_adjustment", "tau_norm"])
def test_methods_that_train_nothing_are_analysed_as_they_are(call, artifacts, tmp_path, method):
    done = call("classifier_retraining", tmp_path / method, artifacts, method=method)
    artifacts["classifiers"] = [artifacts["classifiers"][0], done.outputs["classifier"]]
    found = content(call("head_curvature", tmp_path / "out", artifacts))
    before, after = found["methods"].values()
    assert after["blocks"]["all"]["trace"] != before["blocks"]["all"]["trace"]
    assert f"Balancing by {method} " in found["sentence"]


def test_a_classifier_with_a_backbone_of_its_own_is_left_out_with_the_reason(call, artifacts, tmp_path):
    done = call("classifier_retraining", tmp_path / "crt", artifacts, {"crt_batch_norm": "train"}, method="crt")
    artifacts["classifiers"].append(done.outputs["classifier"])
    done = call("head_curvature", tmp_path / "out", artifacts)
    found = content(done)
    assert list(found["methods"]) == ["baseline", "tailcalib"]
    assert list(found["skipped"]) == ["crt"]
    assert "crt is left out: its backbone is another" in done.outputs["report"].read_text()

    artifacts["classifiers"] = artifacts["classifiers"][-1:]
    done = call("head_curvature", tmp_path / "alone", artifacts)
    assert (content(done)["methods"], content(done)["sentence"]) == (
        {},
        "No classifier's last layer could be analysed.",
    )
    assert "<img" not in done.outputs["report"].read_text()


def test_the_run_and_the_page_say_what_the_artifact_holds(call, artifacts, tmp_path):
    run = create_autospec(Run, instance=True)
    done = call("head_curvature", tmp_path, artifacts, run=run)
    found = content(done)
    assert done.described == {"head_curvature": {"sentence": found["sentence"]}}
    (metrics,) = (call.args[0] for call in run.log_metrics.call_args_list)
    for method, head in found["methods"].items():
        whole = head["blocks"]["all"]
        assert metrics[f"head/trace/{method}"] == whole["trace"]
        assert metrics[f"head/top_eigenvalue/{method}"] == whole["top_eigenvalue"]
        assert metrics[f"head/loss/{method}"] == head["loss"]
        assert metrics[f"head/weight_norm/{method}"] == head["weight_norm"]
        assert metrics[f"head/gauss_newton_trace/{method}"] == whole["gauss_newton"]
        few = head["blocks"]["few"]["gauss_newton"]
        assert metrics[f"head/share_few/{method}"] == pytest.approx(few / whole["gauss_newton"])
    run.log_text.assert_called_once_with(found["sentence"], "head_curvature.txt")
    assert [call.args[1] for call in run.log_figure.call_args_list] == ["head_curvature.png"]
    page = html.unescape(done.outputs["report"].read_text())
    assert found["sentence"] in page and page.count("<img") == 1
    assert "20 training rows, at most 2 of a class" in page
    assert "which changes no prediction" in page  # the heads are cosine heads


@pytest.mark.parametrize("curvature", ["ggn", "residual"])
def test_the_curvature_is_chosen(call, artifacts, tmp_path, curvature):
    found = content(call("head_curvature", tmp_path, artifacts, {"curvature": curvature}))
    x, y = subset(artifacts, 2)
    classifier, _ = load(artifacts["classifiers"][0])
    set_unit_length(classifier.head)
    expected = class_traces(classifier.head, [(x, y)]).of(curvature).sum()
    assert found["methods"]["baseline"]["blocks"]["all"]["trace"] == pytest.approx(expected, rel=1e-4)


def test_all_settings_of_the_group_are_those_of_the_hessian_analysis():
    assert head_curvature.run.__annotations__["config"] is HessianConfig


@pytest.mark.parametrize("fields", [{"train_counts": [1, 2]}, {"many_above": None}])
def test_results_of_other_classes_or_without_thresholds_are_refused(call, artifacts, tmp_path, fields):
    manifest = open_artifact(artifacts["results"], "longtail.results", 1)
    known = {name: manifest[name] for name in ("train_counts", "many_above", "few_below")} | fields
    known = {name: value for name, value in known.items() if value is not None}
    with new_artifact(tmp_path / "other", "longtail.results", 1, known):
        pass
    artifacts["results"] = tmp_path / "other"
    with pytest.raises(InputError, match="is not the evaluation of these features' classes by this release"):
        call("head_curvature", tmp_path / "out", artifacts)
