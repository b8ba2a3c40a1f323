import json
from pathlib import Path

import pytest


def _content(artifact):
    return json.loads((Path(artifact.path) / "head_curvature.json").read_text())


def test_every_method_is_there_and_the_sentence_is_in_the_metadata(chain):
    artifact = chain["head_curvature"]["head_curvature"]
    content = _content(artifact)
    assert list(content["methods"]) == ["baseline", "tailcalib"]
    assert content["samples"] == 20  # two images of each class
    assert artifact.metadata["sentence"] == content["sentence"]


def test_classes_are_grouped_as_in_the_results(chain):
    classes = _content(chain["head_curvature"]["head_curvature"])["classes"]
    evaluations = json.loads((Path(chain["evaluation"]["results"].path) / "evaluations.json").read_text())
    for group, members in classes.items():
        assert {evaluations["baseline"]["groups"][label] for label in members} == {group}
    assert sorted(label for members in classes.values() for label in members) == list(range(10))


def test_another_seed_probes_the_same_rows(call, inputs, chain, tmp_path):
    made = call("head_curvature", tmp_path, inputs("head_curvature"), seed=4)
    artifacts = (chain["head_curvature"]["head_curvature"], made["head_curvature"])
    first, second = (_content(artifact)["methods"] for artifact in artifacts)
    for method in first:
        assert second[method]["loss"] == pytest.approx(first[method]["loss"])
        assert second[method]["blocks"]["all"]["trace"] == pytest.approx(first[method]["blocks"]["all"]["trace"])


def test_results_of_other_classes_are_refused(call, inputs, chain, refuses, tmp_path):
    given = inputs("head_curvature") | {"features": chain["feature_import"]["features"]}
    line = refuses(lambda: call("head_curvature", tmp_path, given), tmp_path)
    assert "is not the evaluation of these features' classes" in line
