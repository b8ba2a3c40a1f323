import hashlib
import json

import numpy as np
import pytest

from longtail.artifacts import artifact_digest, new_artifact
from longtail.steps.provenance import (
    Provenance,
    content_sha256,
    described_data,
    image_tags,
    log_data,
    note,
    record,
)
from longtail.steps.registry import STEPS

DIGEST = "d" * 64


@pytest.fixture
def data(tmp_path):
    """A description of data with a training and a test split."""
    for name, rows in (("train", [0, 2]), ("test", [1])):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "ids.npy", np.array(rows))
    folders = {name: tmp_path / name for name in ("train", "test")}
    return described_data("digits", "/somewhere", DIGEST, "t" * 64, folders)


def test_a_split_s_digest_follows_its_rows_and_the_content(data, tmp_path):
    assert data["splits"]["train"] == "t" * 64
    before = data["splits"]["test"]

    def again(digest=DIGEST):
        return described_data("digits", "", digest, "", {"test": tmp_path / "test"})["splits"]["test"]

    assert again() == before
    assert again("e" * 64) != before
    np.save(tmp_path / "test" / "ids.npy", np.array([2]))
    assert again() != before


def test_what_all_inputs_descend_from_is_joined():
    found = Provenance.joined([{"lineage": {"a": {"seed": 1}}, "data": {"name": "x"}}, {"lineage": {"b": {}}}, {}])
    assert found == Provenance({"a": {"seed": 1}, "b": {}}, {"name": "x"})


class Recorder:
    """A run that keeps what it is told."""

    def __init__(self):
        self.tags, self.datasets = {}, {}

    def set_tags(self, tags):
        self.tags |= tags

    def log_dataset(self, name, digest, context, source):
        self.datasets[name] = digest, context, source


def test_a_run_gets_the_splits_that_are_there_by_context(data):
    run = Recorder()
    log_data(run, data, ("train", "validation", "test"))
    assert run.tags == {"dataset_digest": DIGEST}
    assert run.datasets == {
        "digits-train": ("t" * 64, "training", "/somewhere"),
        "digits-test": (data["splits"]["test"], "test", "/somewhere"),
    }


def test_a_run_of_unknown_data_gets_nothing():
    run = Recorder()
    log_data(run, {}, ("train",))
    assert (run.tags, run.datasets) == ({}, {})


@pytest.mark.parametrize(
    ("image", "tags"),
    [
        ("", {}),
        ("registry/longtail:1.0", {}),
        (f"registry/longtail@sha256:{DIGEST}", {"image_digest": f"sha256:{DIGEST}"}),
    ],
)
def test_an_image_is_told_by_its_digest(monkeypatch, image, tags):
    monkeypatch.setenv("LONGTAIL_IMAGE", image)
    assert image_tags() == tags


def test_a_record_has_all_that_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("KFP_RUN_ID", "p-1")
    monkeypatch.setenv("LONGTAIL_IMAGE", "image:1")
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c0ffee")
    (tmp_path / "page").write_text("page")
    outputs = {"report": tmp_path / "page", "metrics": tmp_path / "missing"}
    made = record("run-1", 3, 1e9, 0.123456, outputs, {"x": {"sentence": "It works."}, "y": {"n": 1}})
    assert made == {
        "run_id": "run-1",
        "pipeline_run": "p-1",
        "git_commit": "c0ffee",
        "image": "image:1",
        "seed": 3,
        "started": 1e9,
        "seconds": 0.12,
        "sentence": "It works.",
        "sha256": {"report": hashlib.sha256(b"page").hexdigest()},
    }
    assert json.loads(json.dumps(made)) == made


def test_a_folder_s_digest_is_its_manifest_s(tmp_path):
    with new_artifact(tmp_path / "a", "toy", 1, {}):
        pass
    assert content_sha256(tmp_path / "a") == artifact_digest(tmp_path / "a")
    assert content_sha256(tmp_path / "missing") == ""


def test_a_note_tells_the_numbers_or_the_sentence():
    step = STEPS["backbone_training"]
    described = {"backbone": {"epochs": 12, "train_loss": 0.31415926, "subset_sha256": "0" * 64, "data": {"a": 1}}}
    assert note(step, described) == "Train the network on it. Epochs 12, train loss 0.3142."
    said = note(step, {"backbone": {"sentence": "digits/1 passes.", "epochs": 1}})
    assert said == "Train the network on it. digits/1 passes."
    assert note(step, {}) == "Train the network on it."
