import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from longtail.networks import NetworkSpec, build
from longtail.serving import ReferenceStatistics
from longtail.tracking.model import log_classifier
from longtail.tracking.run import step_run
from pipelines.cli import main

IMAGES = 120


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A home whose registry holds the champion `plants`, which reads grey images of 8 pixels, and images for it."""
    from mlflow import MlflowClient

    root = tmp_path_factory.mktemp("shop")
    spec = NetworkSpec("small_cnn", "cosine", (8, 8, 1), ("oak", "elm", "yew"), (0.5,), (0.2,))
    with pytest.MonkeyPatch.context() as patch:
        uri = f"sqlite:///{root / 'home' / 'mlflow.db'}"
        patch.setenv("LONGTAIL_HOME", str(root / "home"))
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("LONGTAIL_TRACKING", "strict")
        described = {"method": "crt", "image_size": 8, "crop_size": 0}
        example, reference = np.zeros((2, 8, 8, 1), np.uint8), ReferenceStatistics.empty(3, 64)
        with step_run("retrain", {}, {}) as run:
            logged = log_classifier(run, build(spec, 1), example, reference, described)
        client = MlflowClient(tracking_uri=uri)
        client.create_registered_model("plants")
        client.create_model_version("plants", logged, run.run_id)
        client.set_registered_model_alias("plants", "champion", "1")
        client.create_registered_model("seeds")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        path = root / "images" / f"{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = [(3,)] if i % 2 else []
        Image.fromarray(rng.integers(0, 256, (8 + i % 5, 9, *sum(colour, ())), dtype=np.uint8)).save(path)
    return root, logged


@pytest.fixture
def given(shop, monkeypatch):
    root, _ = shop
    monkeypatch.setenv("LONGTAIL_HOME", str(root / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'home' / 'mlflow.db'}")
    return root / "images"


def command(data, out, *more, model="plants"):
    return ["predict", "--model", model, "--data", str(data), "--out", str(out), *more]


def test_the_champion_predicts_a_folder_as_mlflow_serves_it(shop, given, tmp_path, capsys):
    import mlflow

    from longtail.prediction.network import Preparation

    out = tmp_path / "out.parquet"
    assert main(command(given, out, "--probabilities")) == 0
    printed = capsys.readouterr().out
    assert f"predictions {out}: {IMAGES} images by plants/1 ({IMAGES} now, " in printed
    rows = pq.read_table(out).to_pylist()
    assert [row["path"] for row in rows] == sorted(f"{i % 3}/{i:03d}.png" for i in range(IMAGES))
    assert {row["model"] for row in rows} == {"plants/1"} and not any(row["error"] for row in rows)
    prepared = Preparation((8, 8, 1), image_size=8)
    decoded = [
        np.asarray(Image.open(given / row["path"])).reshape(-1, 9, 3 if i % 2 else 1)
        for row in rows
        for i in [int(row["path"][2:5])]
    ]
    model = mlflow.pyfunc.load_model(shop[1])
    answer = model.predict(np.stack([prepared(image) for image in decoded]), params={"probabilities": True})
    assert [row["class"] for row in rows] == answer["class"].tolist()
    found = np.stack([row["probabilities"] for row in rows])
    np.testing.assert_allclose(found, np.stack(answer["probabilities"]), atol=1e-5)
    assert main(command(given, out, "--probabilities", model="plants@champion")) == 0
    assert "(all there)" in capsys.readouterr().out


@pytest.mark.parametrize("strict", [False, True])
def test_images_that_cannot_be_read_are_told(given, tmp_path, capsys, strict):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((given / "0" / "000.png").read_bytes())
    (tmp_path / "in" / "b.png").write_bytes(b"nothing")
    more = ["--strict"] if strict else []
    assert main(command(tmp_path / "in", tmp_path / "out.parquet", *more)) == (2 if strict else 0)
    out, err = capsys.readouterr()
    assert "unreadable  1 of them have no class: b.png not a readable image" in out
    assert ("error: 1 images could not be read" in err) == strict
    assert pq.read_table(tmp_path / "out.parquet")["class"].is_null().to_pylist() == [False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "trees"}, "no registered model is called 'trees': there are plants, seeds"),
        ({"model": "seeds"}, "model 'seeds' has no alias 'champion'"),
        ({"data": "/nowhere"}, "'/nowhere' does not exist"),
        ({"data": ""}, "'' does not exist"),
        ({"out": "out.csv"}, "ends in .parquet"),
        ({"out": "s3://b/out.parquet"}, "a file on this machine"),
        ({"more": ["--batch-size", "0"]}, "--batch-size is 0"),
        ({"data": "s3://b@d/x"}, "is not s3://BUCKET/PREFIX"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(given, tmp_path, capsys, changes, message):
    settings = {"data": str(given), "out": str(tmp_path / "out.parquet"), "more": [], "model": "plants"} | changes
    assert main(command(settings["data"], settings["out"], *settings["more"], model=settings["model"])) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(err) == 1 and message in err[0]
    assert list(tmp_path.iterdir()) == []


def test_servers_that_are_away_are_found_out(given, tmp_path, capsys, use_store, servers, dead_server, monkeypatch):
    assert main(command(given, tmp_path / "out.parquet")) == 2
    assert "does not answer" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{given.parent / 'home' / 'mlflow.db'}")
    monkeypatch.setattr("longtail.storage.client.ATTEMPTS", 1)
    use_store(servers.free_port())
    assert main(command("s3://bucket/images", tmp_path / "out.parquet")) == 2
    assert "check AWS_ENDPOINT_URL" in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_and_ends_in_the_same_bytes(given, tmp_path):
    """Many copies of few images, so that there is time to kill it more than once."""
    (tmp_path / "in").mkdir()
    files = sorted(given.rglob("*.png"))
    for i in range(20_000):
        os.link(files[i % IMAGES], tmp_path / "in" / f"{i:05d}.png")
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    arguments = [sys.executable, "-m", "pipelines.cli"]
    subprocess.run([*arguments, *command(tmp_path / "in", whole, "--features")], check=True)
    for parts in (1, 3):
        process = subprocess.Popen([*arguments, *command(tmp_path / "in", killed, "--features")])
        while len(list(tmp_path.glob(".killed.parquet.*/part-*.parquet"))) < parts:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not killed.exists()
    done = subprocess.run(
        [*arguments, *command(tmp_path / "in", killed, "--features")], check=True, capture_output=True
    )
    assert b"20,000 images by plants/1 (20,000 now" not in done.stdout
    assert killed.read_bytes() == whole.read_bytes()
