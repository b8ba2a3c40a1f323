import shutil

import numpy as np
import pytest

from longtail.gate import Scores
from longtail.tracking.registry import keep_scores
from pipelines.cli import main

LABELS = np.repeat(np.arange(4), 100)


def scores(few):
    right = np.random.default_rng(0).random(400) < np.array([0.9, 0.9, few, few])[LABELS]
    return Scores(LABELS, np.where(right, LABELS, 0), tuple("abcd"), ("many", "many", "few", "few"), "d" * 64)


@pytest.fixture
def client(tmp_path, empty_database, monkeypatch):
    """A fresh database that the command line goes to."""
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def two(client, registered):
    """Two versions, the second twice as good in the tail."""
    for seed, few in ((1, 0.3), (2, 0.6)):
        version = registered(client, seed=seed, test_digest="d" * 64, few=f"{100 * few:.2f}", top1="75.00")
        keep_scores(client, version, scores(few), version.run_id)
    return client


def test_a_model_from_its_first_version_to_a_better_one_and_back(two, capsys):
    assert main(["history", "fish"]) == 0
    assert "fish had no champion yet: longtail promote fish" in capsys.readouterr().out
    assert main(["promote", "fish", "--version", "1"]) == 1
    assert "promotion.bootstrap is not set" in capsys.readouterr().out
    assert main(["promote", "fish", "--version", "1", "--bootstrap"]) == 0
    assert main(["promote", "fish", "--set", "promotion.class_fall=0", "--set", "promotion.overall_fall=90"]) == 0
    printed = capsys.readouterr().out
    assert "fish/2 passes the gate" in printed
    assert [line.split()[0] for line in printed.splitlines() if line.endswith(("  yes", "  no"))][-3:] == [
        *("rise", "overall", "classes"),
    ]
    assert main(["promote", "fish"]) == 0 and "fish/2 is the champion already." in capsys.readouterr().out
    assert main(["rollback", "fish"]) == 0
    assert "fish/1 is the champion again, in place of fish/2." in capsys.readouterr().out
    assert main(["history", "fish"]) == 0
    header, rule, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header[:4] == ["from", "until", "version", "why"] and set(rule[0]) == {"-"}
    assert [row[2:6] for row in rows] == [
        ["1", "bootstrap", "30.00", "75.00"],
        ["2", "promotion", "60.00", "75.00"],
        ["1", "rollback", "30.00", "75.00"],
    ]
    assert [row[1] for row in rows] == [rows[1][0], rows[2][0], "now"]
    assert main(["promote", "fish", "--version", "2"]) == 0


def test_a_version_without_predictions_is_refused(client, registered, capsys):
    registered(client)
    assert main(["promote", "fish", "--bootstrap"]) == 1
    assert "there are no predictions of fish/1 on a held-out set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "fish"], "fish has no challenger: run a pipeline with promotion.model=fish"),
        (["promote", "fish", "--version", "3"], "fish has no version 3: it has no versions"),
        (["promote", "a b"], "promotion.model is 'a b'"),
        (["promote", "fish", "--set", "backbone.epochs=3"], "--set backbone.epochs=3: give a setting of the gate"),
        (["promote", "fish", "--set", "promotion.level=2"], "promotion.level is 2.0: it must be at most 0.5"),
        (["rollback", "fish"], "there is no registered model 'fish'"),
        (["history", "fish"], "there is no registered model 'fish'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(client, capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1 and message in printed[0]


def test_a_server_that_is_away_is_named(monkeypatch, servers, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
    assert main(["promote", "fish"]) == 2
    assert "does not answer" in capsys.readouterr().err
