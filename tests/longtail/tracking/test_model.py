import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from longtail.errors import InputError
from longtail.tracking.model import log_classifier
from longtail.tracking.run import step_run

CLASSES = ["zero", "one", "two"]

PREDICT = """
import json, sys
sys.modules["longtail"] = None
import torch
torch.cuda.is_available = lambda: True
import mlflow
import numpy as np
uri, folder = sys.argv[1:]
model = mlflow.pyfunc.load_model(uri)
images = np.load(f"{folder}/images.npy")
for count in (1, 2, 300):
    np.save(f"{folder}/probabilities-{count}.npy", model.predict(images[:count]))
print(json.dumps(model.metadata.metadata))
"""


class Classifier(torch.nn.Module):
    """The smallest network with what can go wrong in an export: batch statistics, uint8 input, a softmax."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.normalization = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4, len(CLASSES))

    def forward(self, images):
        planes = images.permute(0, 3, 1, 2).float() / 255
        maps = torch.relu(self.normalization(self.convolution(planes)))
        return torch.softmax(self.head(maps.mean(dim=(2, 3))), dim=1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (300, 12, 10, 3), dtype=np.uint8)


@pytest.fixture
def module(images):
    torch.manual_seed(0)
    module = Classifier()
    module(torch.from_numpy(images))  # so that the batch statistics are not the initial ones
    return module


def test_model_predicts_the_same_in_a_process_without_this_package(tracking, module, images, tmp_path):
    with step_run("retrain", {"seed": 1}, {}) as run:
        uri = log_classifier(run, module, images, CLASSES, "tailcalib", {"dataset_digest": "abc"})
    assert module.training
    np.save(tmp_path / "images.npy", images)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    command = [sys.executable, "-c", PREDICT, uri, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"class_names": CLASSES, "dataset_digest": "abc"}
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(images)).numpy()
    for count in (1, 2, 300):
        probabilities = np.load(tmp_path / f"probabilities-{count}.npy")
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected[:count], atol=1e-5)


def test_model_is_ready_signed_and_without_pickled_code(tracking, module, images, tmp_path):
    import mlflow

    with step_run("retrain", {"seed": 1}, {}) as run:
        uri = log_classifier(run, module, images, CLASSES, "crt", {"s3_secret_key": "hunter2"})
    logged = tracking.get_logged_model(uri.removeprefix("models:/"))
    assert (logged.name, logged.status, logged.source_run_id) == ("crt", "READY", run.run_id)
    assert logged.params == {"seed": "1"}
    (output,) = tracking.get_run(run.run_id).outputs.model_outputs
    assert output.model_id == logged.model_id
    folder = tmp_path / "artifacts" / "models" / logged.model_id / "artifacts"
    model = mlflow.models.Model.load(str(folder))
    assert model.metadata["s3_secret_key"] == "***"
    (inputs,), (outputs,) = model.signature.inputs.inputs, model.signature.outputs.inputs
    assert (inputs.type, inputs.shape) == (np.dtype("uint8"), (-1, 12, 10, 3))
    assert (outputs.type, outputs.shape) == (np.dtype("float32"), (-1, 3))
    requirements = (folder / "requirements.txt").read_text().split()
    assert sorted(line.partition("==")[0] for line in requirements) == ["mlflow", "numpy", "torch"]
    assert not [line for line in requirements if "+" in line]
    assert not [file for file in folder.rglob("*") if file.suffix in {".pkl", ".pth", ".pickle"}]
    with zipfile.ZipFile(folder / "data" / "model.pt2") as archive:
        assert [name for name in archive.namelist() if name.endswith(".pt")] == ["model/data/sample_inputs/model.pt"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 12, 10, 3), np.uint8),
        ((12, 10, 3), np.uint8),
        ((1, 5), np.float32),
        ((2, 5), np.uint8),
        ((2, 5), np.float64),
    ],
)
def test_example_of_another_shape_or_that_would_fix_the_batch_size_is_refused(tracking, module, shape, dtype):
    with (
        step_run("retrain", {}, {}) as run,
        pytest.raises(InputError, match=r"give at least 2 uint8 images .* or float32"),
    ):
        log_classifier(run, module, np.zeros(shape, dtype), CLASSES, "crt", {})


def test_model_of_feature_rows_takes_any_number_of_them(tracking, tmp_path, monkeypatch):
    import mlflow

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, len(CLASSES)), torch.nn.Softmax(dim=1))
    rows = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    with step_run("retrain", {}, {}) as run:
        uri = log_classifier(run, module, rows, CLASSES, "crt", {})
    folder = tmp_path / "artifacts" / "models" / uri.removeprefix("models:/") / "artifacts"
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pyfunc.load_model(str(folder))
    (given,) = model.metadata.signature.inputs.inputs
    assert (given.type, given.shape) == (np.dtype("float32"), (-1, 5))
    with torch.no_grad():
        expected = module(torch.from_numpy(rows)).numpy()
    for count in (1, 2, 300):
        np.testing.assert_allclose(model.predict(rows[:count]), expected[:count], atol=1e-6)


def test_module_that_cannot_be_exported_does_not_fail_the_step(tracking, images, monkeypatch, caplog):
    class Unexportable(torch.nn.Module):
        def forward(self, batch):
            return batch if batch.sum().item() > 3 else batch + 1

    monkeypatch.delenv("LONGTAIL_TRACKING")
    with step_run("retrain", {}, {}) as run:
        assert log_classifier(run, Unexportable(), images, CLASSES, "crt", {}) == ""
    assert "could not log the model crt" in caplog.text
    (logged,) = tracking.search_logged_models([run.experiment_id])
    assert logged.status == "FAILED"
    assert tracking.get_run(run.run_id).info.status == "FINISHED"
