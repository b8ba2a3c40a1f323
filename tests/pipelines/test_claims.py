"""`longtail claims` from the command line, on networks that are hardly trained."""

import functools
import json

import pytest

from longtail.claims import experiment, measurement
from longtail.claims.experiment import ALL, DECAY, MIDDLE, STRENGTHS
from pipelines.cli import main


@pytest.fixture
def quick(monkeypatch, home):
    """Fewer images, probes and strengths than the command has."""
    depth = functools.partial(measurement.Depth, images_per_class=1, probes=2, lanczos_steps=3)
    monkeypatch.setattr(measurement, "Depth", depth)
    monkeypatch.setattr(experiment, "_IMAGES", 6)
    monkeypatch.setattr(experiment, "TUNING_SEEDS", (101,))
    monkeypatch.setattr("longtail.claims.laboratory.TUNING_SEEDS", (101,))
    for arm, strengths in ((DECAY, (1e-3,)), (ALL, (1e-3, 1e-2)), (MIDDLE, (1e-3,))):
        monkeypatch.setitem(STRENGTHS, arm, strengths)
    return home


def test_all_claims_and_a_second_time_for_nothing(quick, capsys, monkeypatch):
    command = ["claims", "--seeds", "1,2", "--epochs", "2", "--lanczos-steps", "6"]
    assert main(command) == 0
    text = capsys.readouterr().out
    for claim in ("C1", "C2", "C3", "C4", "C5", "C6", "C7"):
        assert f"\n{claim}  " in f"\n{text}"
    assert "lenet on digits, 2 epochs, 2 seeds" in text
    assert "10 networks computed" in text  # four ways of training, two seeds, two strengths that were tried
    out = quick / "claims"
    assert {path.name for path in out.iterdir()} == {
        "runs",
        "claims.json",
        "claims.html",
        "training.png",
        "distances.png",
        "flatness.png",
    }
    content = json.loads((out / "claims.json").read_text())
    assert [finding["claim"] for finding in content["findings"]] == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]
    assert {finding["verdict"] for finding in content["findings"]} <= {"holds", "holds partly", "does not hold"}
    monkeypatch.setattr("longtail.claims.laboratory.train", lambda *_, **__: pytest.fail("must not train"))
    assert main([*command, "--claims", "C7,C3"]) == 0
    again = capsys.readouterr().out
    assert "0 networks computed" in again
    assert [line[:2] for line in again.splitlines() if line[:1] == "C"] == ["C3", "C7"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--claims", "C1,C9"], "'C9' is not a claim: choose from C1, C2, C3"),
        (["--seeds", "1"], "--seeds '1': an interval needs 2 or more different seeds"),
        (["--seeds", "1,1"], "--seeds '1,1': an interval needs 2 or more different seeds"),
        (["--seeds", "1,x"], "--seeds '1,x': give whole numbers, such as 1,2,3,4,5"),
        (["--seeds", "1,101"], "101 chooses the strength of the penalties"),
        (["--runs", "nowhere"], "'nowhere' is neither the folder of a backbone nor the id of a run"),
        (["--only-runs"], "--only-runs without --runs leaves nothing to look at"),
        (["--epochs", "0"], "backbone.epochs is 0: it must be at least 1"),
        (["--network", "lennet"], "backbone.network is 'lennet': choose from"),
        (["--lanczos-steps", "1"], "--lanczos-steps 1: give 2 or more"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(quick, capsys, arguments, message):
    assert main(["claims", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_folder_that_cannot_be_made(quick, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["claims", "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be made (Not a directory): give another folder" in capsys.readouterr().err


def test_divergence_is_told_in_words(quick, monkeypatch, capsys):
    def diverge(*_, **__):
        raise RuntimeError("the loss is nan in epoch 1: lower backbone.learning_rate")

    monkeypatch.setattr("longtail.claims.laboratory.train", diverge)
    assert main(["claims", "--claims", "C3", "--seeds", "1,2", "--epochs", "1"]) == 1
    assert "error: the loss is nan in epoch 1" in capsys.readouterr().err
