"""What a team does with a model, by commands alone: train, promote, serve, predict, retrain when needed, roll back."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtail.data import digits

LONGTAIL = Path(sys.executable).with_name("longtail")
TAIL = ("8", "9")
QUICK = (
    "data.image_size=0",
    "backbone.network=small_cnn",
    "backbone.augmentation=crop",
    "backbone.epochs=5",
    "backbone.minimum_steps=200",
    "features.views=2",
    "retraining.methods=[baseline,tailcalibx]",
    "hessian.probes=2",
    "hessian.lanczos_steps=2",
    "hessian.densities=0",
)
pytestmark = [pytest.mark.slow, pytest.mark.local]


class Team:
    """A folder of digits, a tracking server, and the commands."""

    def __init__(self, folder, server):
        self.folder, self.photos, self.uri = folder, folder / "photos", server.uri
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LONGTAIL_"))}
        variables = {"LONGTAIL_HOME": str(folder / "home"), "MLFLOW_TRACKING_URI": self.uri, "OMP_NUM_THREADS": "1"}
        self.environment = clean | variables
        images, labels = digits.arrays()
        self._images = {str(label): images[labels == label].reshape(-1, 8, 8) for label in range(10)}

    def collect(self, counts):
        """Have the first so many images of each digit in the folder."""
        for name, count in counts.items():
            (self.photos / name).mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(self._images[name][:count]):
                if not (file := self.photos / name / f"{number:03}.png").exists():
                    Image.fromarray(image).save(file)

    def command(self, name, *arguments):
        source = ["--preset", "natural", "--data", str(self.photos), *(f"--set={setting}" for setting in QUICK)]
        return [str(LONGTAIL), name, *(source if name in {"run", "check", "retrain"} else []), *map(str, arguments)]

    def does(self, name, *arguments, code=0):
        """Run a command to its end and return what it printed."""
        command = self.command(name, *arguments)
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def together(self, name, *arguments):
        """Run a command twice at the same time and return what both printed."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        both = [subprocess.Popen(self.command(name, *arguments), env=self.environment, **pipes) for _ in range(2)]
        printed = [process.communicate()[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], printed
        return printed

    def champion(self):
        from mlflow import MlflowClient

        return int(MlflowClient(tracking_uri=self.uri).get_model_version_by_alias("digits", "champion").version)

    def pipelines(self):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return len(client.search_runs(experiments, "tags.`kfp.pipeline_run_id` LIKE '%'"))


@pytest.fixture(scope="module")
def team(tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("team")
    server = servers.Mlflow(folder / "mlflow").start()
    yield Team(folder, server)
    server.kill()


def test_a_model_from_its_first_training_to_a_rollback(team, servers):
    team.collect({str(label): 120 for label in range(8)} | dict.fromkeys(TAIL, 6))

    # Train and promote: the first model needs to be told to be the first.
    first = team.does("run", "--set=promotion.model=digits")
    assert "promotion.bootstrap is not set" in first
    team.does("promote", "digits", code=1)
    team.does("promote", "digits", "--bootstrap")
    assert team.champion() == 1

    # Serve and predict.
    sample = np.stack([np.asarray(Image.open(file)) for file in sorted((team.photos / "0").iterdir())[:4]])[..., None]
    assert [row["class"] for row in _served(team, servers, sample)] == ["0"] * 4
    out = team.folder / "predictions.parquet"
    team.does("predict", "--model", "digits", "--data", team.photos, "--out", out)
    import pandas as pd

    assert len(pd.read_parquet(out)) == 8 * 120 + 2 * 6

    # Nothing changed: no reason, and no run.
    runs = team.pipelines()
    assert team.does("check", "--model", "digits") and team.does("retrain", "--model", "digits")
    assert team.pipelines() == runs

    # The tail grows: there is a reason, and two triggers at the same time make one run, which passes the gate.
    team.collect(dict.fromkeys(TAIL, 120))
    team.does("check", "--model", "digits", code=3)
    printed = team.together("retrain", "--model", "digits")
    assert sum("Nothing is started" in text for text in printed) == 1
    assert team.pipelines() == runs + 1
    assert team.champion() == 2

    # A worse model is refused, whoever asks.
    worse = team.does(
        "run", "--set=promotion.model=digits", "--set=backbone.minimum_steps=10", "--set=backbone.epochs=1"
    )
    assert "does not pass the gate" in worse
    team.does("promote", "digits", code=1)
    assert team.champion() == 2

    # Back, and the history tells all of it.
    team.does("rollback", "digits")
    assert team.champion() == 1
    told = team.does("history", "digits")
    versions = [line.split()[2] for line in told.splitlines() if line[:2] == "20"]
    assert versions == ["1", "2", "1"]


def _served(team, servers, images):
    """Return what the champion answers over HTTP, and see that a wrong shape is refused."""

    class Serve(servers.Mlflow):
        name = "model server"

        def command(self):
            address = ("--host", "127.0.0.1", "--port", str(self.port), "--env-manager", "local")
            return [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits@champion", *address]

    server = Serve(team.folder / "serve", variables={"MLFLOW_TRACKING_URI": team.uri}).start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            _ask(server.port, images[:, :4])
        assert refused.value.code == 400
        return _ask(server.port, images)
    finally:
        server.kill()


def _ask(port, images):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"inputs": images.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]
