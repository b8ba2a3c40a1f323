"""Sweeps over a stand-in for the pipeline, and one over the pipeline itself."""

import csv
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from longtail.artifacts import new_artifact, open_artifact, write_json
from longtail.errors import InputError
from longtail.evaluation.metrics import evaluate
from pipelines import local
from pipelines.cli import main
from pipelines.grid import plan
from pipelines.local import Result, StepError
from pipelines.sweep import run_sweep

K = "calibration.n_neighbors"
LABELS = np.repeat([0, 1, 2], 20)
STEPS_OF_A_POINT = ("calibrated_sampling", "evaluation")
SMALL = (
    *("backbone.epochs=2", "features.views=1", "retraining.methods=[tailcalib]", "retraining.epochs=1"),
    *("hessian.images_per_class=1", "hessian.probes=2", "hessian.lanczos_steps=2", "hessian.density_runs=1"),
)


class Pipeline:
    """Stands in for a local run: right predictions follow from K and the seed."""

    def __init__(self, folder):
        self.folder, self.calls, self.failing, self.ended = folder, [], {}, set()

    def __call__(self, config, *, use_cache=True, name="", sweep=""):
        self.calls.append((name, sweep))
        if name in self.failing:
            raise self.failing[name]
        results, counts = self.folder / str(len(self.calls)), [500, 50, 5]
        right = {"baseline": 30 + config.seed, "tailcalib": 40 + 2 * config.calibration.n_neighbors + config.seed}
        found = {
            method: evaluate(np.where(np.arange(60) < number, LABELS, (LABELS + 1) % 3), LABELS, counts).to_dict()
            for method, number in right.items()
        }
        with new_artifact(results, "longtail.results", 1, {}) as work:
            write_json(work / "evaluations.json", found)
        executed, cached = ((), STEPS_OF_A_POINT) if config in self.ended else (STEPS_OF_A_POINT, ())
        self.ended.add(config)
        return Result("", results, results / "report.html", {}, results / "steps.log", "run", executed, cached, "", "")


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    stand_in = Pipeline(tmp_path / "results")
    monkeypatch.setattr(local, "run_locally", stand_in)
    return stand_in


@pytest.fixture
def client(home):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")


def printed_table(out):
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("method"))
    return lines[start : lines.index("", start)]


def test_every_point_is_run_once_below_one_run_and_tabulated(home, pipeline, client, capsys):
    assert main(["sweep", "--preset", "digits", "--grid", f"{K}=1,3", "--seeds", "0,2"]) == 0
    out, err = capsys.readouterr()
    names = [f"{K}={k} seed={seed}" for seed, k in itertools.product((0, 2), (1, 3))]
    assert err.splitlines() == [f"point {place} of 4  {name}" for place, name in enumerate(names, start=1)]
    (parent,) = {sweep for _, sweep in pipeline.calls}
    assert [name for name, _ in pipeline.calls] == names

    mean, deviation = 100 * (42 + 44) / 2 / 60, 100 * np.std([42, 44], ddof=1) / 60
    table = printed_table(out)
    assert table[3].split()[:5] == ["tailcalib", "1", f"{mean:.2f}", "±", f"{deviation:.2f}"]
    assert table[2].split()[:2] == ["baseline", "any"]
    assert "mean ± standard deviation over seeds 0, 2" in out
    assert "4 points, 8 steps, 0 from the cache" in out
    assert "computed    calibrated_sampling 4, evaluation 4" in out

    (folder,) = (home / "sweeps").iterdir()
    open_artifact(folder / "summary", "longtail.sweep", 1)
    assert (folder / "summary" / "table.txt").read_text().splitlines() == table
    rows = list(csv.DictReader((folder / "summary" / "table.csv").read_text().splitlines()))
    assert {(row["method"], row[K]) for row in rows} == set(itertools.product(("baseline", "tailcalib"), "13"))
    shown = [line.split() for line in out.splitlines() if str(folder) in line]
    assert shown == [
        ["table", str(folder / "summary" / "table.csv")],
        ["figure", str(folder / "summary" / f"{K}.png")],
        ["page", str(folder / "report.html")],
    ]

    run = client.get_run(parent)
    assert run.info.run_name == f"sweep digits: {K} × 2 seeds"
    assert run.info.status == "FINISHED"
    assert run.data.params == {f"grid.{K}": '["1", "3"]', "seeds": "[0, 2]", "points": "4"}
    logged = {file.path for file in client.list_artifacts(parent)}
    assert logged == {"config.json", "table.txt", "table.csv", "report.html", f"{K}.png"}


def test_a_failed_point_stops_no_other_and_is_told_at_the_end(home, pipeline, client, capsys, tmp_path):
    pipeline.failing = {
        f"{K}=1 seed=0": StepError("evaluation", "KeyError: 'x'", tmp_path / "steps.log"),
        f"{K}=3 seed=1": InputError("calibration.n_neighbors is 3: there are 2 classes"),
    }
    arguments = ["sweep", "--grid", f"{K}=1,3", "--seeds", "0,1"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert len(pipeline.calls) == 4
    assert "2 of 4 points, 4 steps" in out
    assert printed_table(out)[0].split()[-1] == "seeds"
    lines = err.splitlines()
    assert f"failed: evaluation failed: KeyError: 'x'; log: {tmp_path / 'steps.log'}" in lines
    assert lines[-4] == "error: 2 of 4 points failed"
    assert lines[-3].startswith(f"{K}=1 seed=0: evaluation failed")
    assert lines[-2] == f"{K}=3 seed=1: calibration.n_neighbors is 3: there are 2 classes"
    assert "run the same command again" in lines[-1]
    assert client.get_run(pipeline.calls[0][1]).info.status == "FAILED"

    pipeline.failing = {}
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "4 points, 8 steps, 4 from the cache" in out
    assert len(list((home / "sweeps").iterdir())) == 1


def test_when_every_point_fails_there_is_no_table(home, pipeline, capsys):
    pipeline.failing = {f"{K}={k} seed=1": InputError("bad") for k in (1, 3)}
    assert main(["sweep", "--grid", f"{K}=1,3"]) == 1
    out = capsys.readouterr().out
    assert "0 of 2 points" in out
    assert "Accuracy" not in out


def test_an_interrupt_ends_the_run_and_says_how_to_go_on(home, pipeline, client, capsys):
    pipeline.failing = {f"{K}=3 seed=1": KeyboardInterrupt()}
    assert main(["sweep", "--grid", f"{K}=1,3,5"]) == 130
    assert "run the same command again to go on from here" in capsys.readouterr().err
    assert len(pipeline.calls) == 2
    assert client.get_run(pipeline.calls[0][1]).info.status == "KILLED"


def test_seeds_alone_give_the_spread_of_every_method(home, pipeline, capsys):
    assert main(["sweep", "--seeds", "0,1,2"]) == 0
    out = capsys.readouterr().out
    assert printed_table(out)[2].split()[:4] == ["baseline", f"{100 * 31 / 60:.2f}", "±", "1.67"]
    assert "methods.png" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is swept: give --grid GROUP.KEY=V1,V2,… or --seeds 0,1,2"),
        (["--grid", f"{K}=1,2", "--grid", "backbone.epocs=1"], "did you mean 'epochs'?"),
        (["--grid", f"{K}=1,two"], "give a number"),
        (["--seeds", "a"], "write whole numbers"),
        (["--grid", "data.path=/none,/nowhere", "--set", "data.source=parquet"], "/none"),
    ],
)
def test_wrong_input_is_one_line_before_anything_runs(home, pipeline, capsys, arguments, message):
    assert main(["sweep", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert message in err
    assert pipeline.calls == []
    assert not (home / "sweeps").exists()


def test_a_dead_tracking_server_is_found_out_first(home, pipeline, dead_server, capsys):
    assert main(["sweep", "--seeds", "0,1"]) == 2
    assert "does not answer" in capsys.readouterr().err
    assert pipeline.calls == []


def test_a_home_that_cannot_be_written(pipeline, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(InputError, match="set LONGTAIL_HOME to another folder"):
        run_sweep(plan("digits", [], "0,1"))


@pytest.mark.local
def test_the_pipeline_repeats_nothing_that_is_cached(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path))
    sweep = plan("digits", [f"{K}=1,2"], "0", SMALL)
    first = run_sweep(sweep)
    assert first.failures == {}
    assert Counter(first.executed) == {
        **dict.fromkeys(("data_imbalancing", "backbone_training", "feature_extraction", "hessian_analysis"), 1),
        **dict.fromkeys(("calibrated_sampling", "classifier_retraining/tailcalib"), 2),
        **dict.fromkeys(("evaluation", "head_curvature"), 2),
    }
    again = run_sweep(sweep)
    assert again.executed == ()
    assert Counter(again.cached) == Counter([*first.executed, *first.cached])
    assert (again.table, again.files) == (first.table, first.files)

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_run(first.run_id).info.experiment_id
    points = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{first.run_id}'")
    assert {run.info.run_name for run in points} == {f"{K}={k} seed=0" for k in (1, 2)}
    assert {run.data.params[K] for run in points} == {"1", "2"}
    for run in points:
        steps = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
        assert len(steps) == 9
        assert {step.info.status for step in [run, *steps]} == {"FINISHED"}
    assert all(Path(file).is_file() for file in first.files)
