import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from longtail.errors import InputError
from longtail.networks import load
from longtail.networks.classifier import NetworkSpec, build
from longtail.serving import ReferenceStatistics, ServedClassifier
from longtail.tracking.model import log_classifier, publish, write_model
from longtail.tracking.run import step_run

CLASSES = ("zero", "one", "two")
SPEC = NetworkSpec("small_cnn", "cosine", (12, 10, 3), CLASSES, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))

PREDICT = """
import json, sys
sys.modules["longtail"] = None
import mlflow
import numpy as np
uri, folder = sys.argv[1:]
model = mlflow.pyfunc.load_model(uri)
images = np.load(f"{folder}/images.npy")
for count in (1, 2, 700):
    answer = model.predict(images[:count], params={"probabilities": True, "features": True})
    np.savez(f"{folder}/{count}.npz", **{name: np.stack(answer[name].tolist()) for name in answer})
print(json.dumps(model.metadata.metadata))
"""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (700, 12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier(images):
    classifier = build(SPEC, 0).train()
    with torch.no_grad():
        classifier(classifier.preprocess(torch.from_numpy(images)))  # so that the batch statistics are not the initial
    return classifier


@pytest.fixture(scope="module")
def reference():
    rows = np.random.default_rng(1).normal(size=(9, 64)).astype(np.float32)
    return ReferenceStatistics.of(rows, np.arange(9) % 3, 3)


def test_a_process_without_this_package_predicts_the_same(tracking, classifier, reference, images, tmp_path):
    described = {"method": "tailcalib", "dataset_digest": "abc"}
    with step_run("retrain", {"seed": 1}, {}) as run:
        uri = log_classifier(run, classifier, images[:2], reference, described)
    assert classifier.training
    np.save(tmp_path / "images.npy", images)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    command = [sys.executable, "-c", PREDICT, uri, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "type hint" not in done.stderr.lower()
    assert json.loads(done.stdout.splitlines()[-1]) == {
        **described,
        "class_names": list(CLASSES),
        "image_shape": [12, 10, 3],
        "rows_at_once": 512,
        "input": {"name": "images", "shape": [-1, 12, 10, 3], "types": ["uint8", "float32", "float64"]},
    }
    with torch.no_grad():
        expected, features = ServedClassifier(classifier.eval())(torch.from_numpy(images).float())
    for count in (1, 2, 700):
        answer = np.load(tmp_path / f"{count}.npz", allow_pickle=False)
        np.testing.assert_allclose(answer["probabilities"], expected[:count], atol=1e-5)
        np.testing.assert_allclose(answer["features"], features[:count], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer["probability"], expected[:count].max(1).values, atol=1e-5)
        assert answer["class"].tolist() == [CLASSES[index] for index in expected[:count].argmax(1)]


def test_the_model_is_ready_signed_and_holds_all_its_parts(tracking, classifier, reference, images, tmp_path):
    import mlflow

    with step_run("retrain", {"seed": 1}, {}) as run:
        described = {"method": "crt", "s3_secret_key": "hunter2"}
        uri = log_classifier(run, classifier, images[:2], reference, described)
    logged = tracking.get_logged_model(uri.removeprefix("models:/"))
    assert (logged.name, logged.status, logged.source_run_id) == ("crt", "READY", run.run_id)
    assert logged.params == {"seed": "1"}
    (output,) = tracking.get_run(run.run_id).outputs.model_outputs
    assert output.model_id == logged.model_id
    folder = tmp_path / "artifacts" / "models" / logged.model_id / "artifacts"
    model = mlflow.models.Model.load(str(folder))
    assert (model.run_id, model.model_id, model.model_uuid) == (run.run_id, logged.model_id, logged.model_id)
    assert model.metadata["s3_secret_key"] == "***"
    assert "hunter2" not in "".join(path.read_text("latin-1") for path in folder.rglob("*") if path.is_file())
    (inputs,) = model.signature.inputs.inputs
    assert (inputs.name, inputs.type) == ("images", np.dtype("object"))
    assert model.signature.outputs.input_names() == ["class", "probability", "probabilities", "features"]
    assert [param.name for param in model.signature.params.params] == ["probabilities", "features"]
    np.testing.assert_array_equal(model.load_input_example(str(folder))["images"], images[:2])
    requirements = (folder / "requirements.txt").read_text().split()
    assert sorted(line.partition("==")[0] for line in requirements) == ["mlflow", "numpy", "pandas", "torch"]
    assert not [line for line in requirements if "+" in line]
    artifacts = folder / "artifacts"
    network, manifest = load(artifacts / "network")
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in network.state_dict().items())
    assert manifest["method"] == "crt"
    np.testing.assert_allclose(load_file(artifacts / "reference.safetensors")["class_means"], reference.means, 1e-6)


def test_nothing_in_it_is_pickled_or_names_this_machine(classifier, reference, images, tmp_path):
    write_model(tmp_path / "model", classifier, images[:2], reference, {"method": "crt"})
    files = [file for file in (tmp_path / "model").rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in {".pkl", ".pth", ".pickle"}]
    with zipfile.ZipFile(tmp_path / "model" / "artifacts" / "graph.pt2") as archive:
        assert [name for name in archive.namelist() if name.endswith(".pt")] == ["graph/data/sample_inputs/model.pt"]
    described = (tmp_path / "model" / "MLmodel").read_text()
    assert "/work" not in described and str(tmp_path) not in described
    assert "model_code_path: served_model.py" in described


def test_a_model_that_was_written_before_is_published_once(tracking, classifier, reference, images, tmp_path):
    """As it is after an outage: the folder was kept, and nobody knows how far its publication came."""
    write_model(tmp_path / "model", classifier, images[:2], reference, {"method": "crt"})
    with step_run("retrain", {}, {}) as run:
        pass
    uris = {publish(tracking, run.run_id, run.experiment_id, tmp_path / "model", "crt") for _ in range(3)}
    assert len(uris) == 1
    (logged,) = tracking.search_logged_models([run.experiment_id])
    assert f"models:/{logged.model_id}" in uris and logged.status == "READY"
    assert len(tracking.get_run(run.run_id).outputs.model_outputs) == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".model")]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 12, 10, 1), np.uint8), ((12, 10, 3), np.uint8), ((2, 12, 10, 3), np.float32), ((0, 12, 10, 3), np.uint8)],
)
def test_an_example_that_the_network_does_not_read_is_refused(classifier, reference, tmp_path, shape, dtype):
    with pytest.raises(InputError, match=r"give uint8 images \(N, 12, 10, 3\)"):
        write_model(tmp_path / "model", classifier, np.zeros(shape, dtype), reference, {"method": "crt"})


def test_a_network_that_cannot_be_exported_does_not_fail_the_step(tracking, reference, images, monkeypatch, caplog):
    classifier = build(SPEC, 0)
    monkeypatch.setattr(classifier, "classify", lambda rows: rows if rows.sum().item() > 3 else rows + 1)
    monkeypatch.delenv("LONGTAIL_TRACKING")
    with step_run("retrain", {}, {}) as run:
        assert log_classifier(run, classifier, images[:2], reference, {"method": "crt"}) == ""
    assert "could not log the model crt" in caplog.text
    assert not tracking.search_logged_models([run.experiment_id])
