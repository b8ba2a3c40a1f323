import json

import pytest

from longtail.claims.checkpoints import backbone_folder, dataset_of, groups, measured
from longtail.claims.measurement import Depth
from longtail.errors import InputError
from longtail.networks import build, save

DEPTH = Depth(probes=2, lanczos_steps=2, spectrum_steps=3)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, dataset, make_spec):
    path = tmp_path_factory.mktemp("trained") / "backbone"
    classifier = build(make_spec(network="small_cnn"), seed=1)
    save(classifier, path, {"dataset_digest": dataset.digest, "history": [{"train/loss": 1.0}] * 7})
    return path


def test_spectra_of_a_trained_network(backbone, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("longtail.claims.checkpoints._IMAGES", 10)
    run = measured(backbone, dataset, DEPTH, tmp_path)
    assert (run.network, run.arm, run.classes) == ("small_cnn on digits, 7 epochs", "as given", 10)
    assert [snapshot.deep for snapshot in run.snapshots] == [True]
    assert set(run.middle) < set(run.last.layers)
    assert max(layer.residual_share for layer in run.last.layers.values()) > 1e-3  # the cosine head is not affine
    monkeypatch.setattr("longtail.claims.checkpoints._measure", lambda *_: pytest.fail("must not compute"))
    assert measured(backbone, dataset, DEPTH, tmp_path) == run
    assert groups([run, run]) == [[run, run]]


def test_data_set_is_found_by_its_digest(backbone, dataset, tmp_path):
    assert dataset_of(backbone, [tmp_path, dataset.path], tmp_path).digest == dataset.digest
    with pytest.raises(InputError, match=r"that .* was trained on is not here: give its folder with --dataset"):
        dataset_of(backbone, [], tmp_path)


def test_runs_of_the_local_cache_are_found(backbone, dataset, tmp_path):
    (tmp_path / "cache").mkdir()
    cached = {
        "backbone": {"uri": str(backbone), "metadata": {"mlflow_run_id": "a290"}},
        "dataset": {"uri": str(dataset.path), "metadata": {}},
        "Output": 3.0,
    }
    (tmp_path / "cache" / "0.json").write_text(json.dumps(cached))
    assert backbone_folder("a290", tmp_path) == backbone
    assert backbone_folder(str(backbone), tmp_path) == backbone
    assert dataset_of(backbone, [], tmp_path).digest == dataset.digest


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="'nowhere' is neither the folder of a backbone nor the id of a run"):
        backbone_folder("nowhere", tmp_path)
