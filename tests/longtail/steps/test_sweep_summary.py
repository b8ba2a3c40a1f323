import json
from unittest.mock import create_autospec

import numpy as np
import pytest

from longtail.artifacts import new_artifact, open_artifact, write_json
from longtail.config import SweepConfig
from longtail.errors import InputError
from longtail.evaluation.metrics import evaluate
from longtail.steps import sweep_summary
from longtail.steps.execution import Context
from longtail.tracking.recording import Run

K, ALPHA = "calibration.n_neighbors", "calibration.alpha"
LABELS = np.repeat([0, 1, 2], 20)
COUNTS = [500, 50, 5]


@pytest.fixture
def results(tmp_path):
    """Write a `results` artifact with so many right predictions of each method: `results(name, baseline=40)`."""

    def write(name, **right):
        path = tmp_path / "results" / name
        evaluations = {
            method: evaluate(np.where(np.arange(60) < count, LABELS, (LABELS + 1) % 3), LABELS, COUNTS).to_dict()
            for method, count in right.items()
        }
        with new_artifact(path, "longtail.results", 1, {}) as folder:
            write_json(folder / "evaluations.json", evaluations)
        return path

    return write


def summarise(tmp_path, points, paths, held=None, run=None):
    config = SweepConfig(tuple(map(json.dumps, points)), json.dumps(held or {}))
    outputs = {"summary": tmp_path / "summary", "report": tmp_path / "report.html"}
    context = Context({"results": paths}, outputs, 0, 0, "", run or Run.silent())
    assert sweep_summary.run(config, context) == {}
    return outputs


def point(seed, **settings):
    names = {"k": K, "alpha": ALPHA, "methods": "retraining.methods"}
    return {"seed": seed, "settings": {names[key]: value for key, value in settings.items()}}


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_table_figure_and_every_accuracy_are_written_and_logged(results, tmp_path):
    points = [point(seed, k=k) for seed in (0, 1) for k in ("1", "3")]
    paths = [results(str(place), baseline=30, tailcalib=40 + 3 * place) for place in range(4)]
    run = create_autospec(Run, instance=True)
    outputs = summarise(tmp_path, points, paths, run=run)
    manifest = open_artifact(outputs["summary"], "longtail.sweep", 1)
    assert (manifest["swept"], manifest["seeds"], manifest["methods"]) == ([K], [0, 1], ["baseline", "tailcalib"])
    assert files(outputs["summary"]) == {"manifest.json", "points.json", "table.txt", "table.csv", f"{K}.png"}
    found = json.loads((outputs["summary"] / "points.json").read_text())
    assert [entry["seed"] for entry in found] == [0, 0, 1, 1]
    assert found[3]["scores"]["tailcalib"] == {
        "all": pytest.approx(100 * 49 / 60),
        "many": 100.0,
        "medium": 100.0,
        "few": pytest.approx(45.0),
    }
    table = (outputs["summary"] / "table.txt").read_text()
    mean, deviation = 100 * (40 + 46) / 2 / 60, 100 * 6 / 60 / np.sqrt(2)
    assert f"tailcalib  1                        {mean:.2f} ± {deviation:.2f}" in table
    page = outputs["report"].read_text()
    assert f"<title>Sweep over {K}</title>" in page and page.count("<img") == 1
    assert f"{mean:.2f} ± {deviation:.2f}" in page
    texts = {call.args[1]: call.args[0] for call in run.log_text.call_args_list}
    csv = (outputs["summary"] / "table.csv").read_text()
    assert texts == {"table.txt": table.removesuffix("\n"), "table.csv": csv, "report.html": page}
    assert [call.args[1] for call in run.log_figure.call_args_list] == [f"{K}.png"]


def test_two_settings_have_a_figure_each_and_a_heat_map(results, tmp_path):
    points = [point(0, k=k, alpha=alpha) for k in ("1", "3") for alpha in ("0", "0.1")]
    paths = [results(str(place), baseline=30, tailcalib=40 + place) for place in range(4)]
    outputs = summarise(tmp_path, points, paths, {K: "3", ALPHA: "0"})
    assert {name for name in files(outputs["summary"]) if name.endswith(".png")} == {
        f"{K}.png",
        f"{ALPHA}.png",
        f"{K}-{ALPHA}.png",
    }


def test_a_value_to_hold_that_has_no_result_is_replaced(results, tmp_path):
    points = [point(0, k=k, alpha="0") for k in ("1", "2")]
    paths = [results(k, baseline=30) for k in ("1", "2")]
    outputs = summarise(tmp_path, points, paths, {K: "3"})
    assert f"{ALPHA}.png" in files(outputs["summary"])


def test_seeds_alone_compare_the_methods(results, tmp_path):
    outputs = summarise(tmp_path, [point(0), point(7)], [results("a", baseline=30), results("b", baseline=36)])
    assert "methods.png" in files(outputs["summary"])
    assert "mean ± standard deviation over the seeds 0, 7" in outputs["report"].read_text()


def test_one_seed_has_no_deviation(results, tmp_path):
    outputs = summarise(tmp_path, [point(3, k="1")], [results("a", baseline=30)])
    assert "by training images of a class; seed 3." in outputs["report"].read_text()
    assert "±" not in (outputs["summary"] / "table.txt").read_text()


def test_swept_methods_are_compared_in_one_table(results, tmp_path):
    points = [point(0, methods="[baseline]", k="1"), point(0, methods="[tailcalib]", k="1")]
    outputs = summarise(tmp_path, points, [results("a", baseline=30), results("b", tailcalib=36)])
    assert {"methods.png", f"{K}.png"} < files(outputs["summary"])
    lines = (outputs["summary"] / "table.txt").read_text().splitlines()
    assert lines[3].split()[:2] == ["tailcalib", "1"]
    assert lines[3].split()[-1] == "+10.00"


@pytest.mark.parametrize(
    ("points", "held", "message"),
    [
        ([], "{}", "the sweep has 1 results for 0 points: give one for each"),
        (["no"], "{}", "points has 'no': give a JSON object"),
        (['{"seed": 1}'], "{}", "give a JSON object with settings and seed"),
        (['{"seed": 1, "settings": {}}'], "[]", r"held has '\[\]': give a JSON object"),
    ],
)
def test_malformed_settings_are_refused(results, tmp_path, points, held, message):
    context = Context({"results": [results("a", baseline=30)]}, {}, 0, 0, "", Run.silent())
    with pytest.raises(InputError, match=message):
        sweep_summary.run(SweepConfig(tuple(points), held), context)


def test_a_result_that_was_changed_is_refused(results, tmp_path):
    path = results("a", baseline=30)
    (path / "evaluations.json").write_text("{}")
    with pytest.raises(InputError, match="does not match its digest"):
        summarise(tmp_path, [point(0)], [path])
    assert not (tmp_path / "summary").exists()
