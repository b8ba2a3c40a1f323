import shutil

import pytest

from longtail.errors import InputError
from longtail.networks import load
from longtail.tracking.loading import Reference, download, resolve
from longtail.tracking.run import step_run


@pytest.fixture
def registered(tracking, log_model, tmp_path, monkeypatch):
    """URIs of two logged models, versions 1 and 2 of `plants`, of which the first is the champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    uris = []
    tracking.create_registered_model("plants")
    for _ in range(2):
        with step_run("retrain", {}, {}) as run:
            uris.append(log_model(run))
        model_id = uris[-1].removeprefix("models:/")
        tracking.create_model_version("plants", uris[-1], run.run_id, model_id=model_id)
    tracking.set_registered_model_alias("plants", "champion", "1")
    tracking.set_registered_model_alias("plants", "challenger", "2")
    return uris


def test_every_way_to_say_which(registered):
    first, second = Reference("plants", "1", "models:/plants/1"), Reference("plants", "2", "models:/plants/2")
    assert resolve("plants") == resolve("plants@champion") == resolve("models:/plants@champion") == first
    assert resolve("plants/2") == resolve("plants@challenger") == resolve("models:/plants/2") == second
    logged = registered[1].removeprefix("models:/")
    assert resolve(registered[1]) == resolve(logged) == Reference("crt", logged, registered[1])
    assert str(second) == "plants/2"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("flowers", "no registered model is called 'flowers': there are plants"),
        ("plants@best", "model 'plants' has no alias 'best': there are challenger, champion"),
        ("plants/9", "model 'plants' has no version '9': there are 1, 2"),
        ("plants/new", "model 'plants' has no version 'new': there are 1, 2"),
        ("models:/m-" + "0" * 32, "no registered model is called 'm-00000"),
        ("", "malformed"),
        ("plants@", "malformed"),
        ("plants@champion/1", "malformed"),
        ("models:/plants/1/2", "malformed"),
    ],
)
def test_what_does_not_exist_is_named_beside_what_does(registered, reference, message):
    with pytest.raises(InputError) as raised:
        resolve(reference)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_an_empty_registry_says_so(tracking):
    with pytest.raises(InputError, match="there are none yet"):
        resolve("plants")


def test_a_server_that_is_away_is_bad_input(clean_environment, dead_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port}")
    with pytest.raises(InputError, match="does not answer"):
        resolve("plants")


def test_a_model_is_copied_once(tracking, registered, tmp_path):
    folder = download(resolve("plants").uri)
    assert folder == tmp_path / "models" / registered[0].removeprefix("models:/")
    classifier, _ = load(folder / "artifacts" / "network")
    assert classifier.spec.class_names == ("top", "bottom")
    shutil.rmtree(tmp_path / "artifacts")  # where MLflow keeps them
    assert download(registered[0]) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_files_that_are_gone_leave_nothing_behind(tracking, registered, tmp_path):
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(InputError, match=r"models:/plants/1 (cannot be read|holds no MLmodel)"):
        download(resolve("plants").uri)
    assert list((tmp_path / "models").iterdir()) == []
    with pytest.raises(InputError, match="there is no models:/plants/9"):
        download("models:/plants/9")
