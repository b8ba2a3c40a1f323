import json
from pathlib import Path

import pytest
from kfp import dsl

from components.sweep_summary.component import sweep_summary
from longtail.artifacts import artifact_digest, open_artifact


@pytest.fixture
def summarise(chain, untracked):
    """Call the component on the chain's results as those of two points."""

    def call(folder, points):
        outputs = {
            "summary": dsl.Artifact(name="summary", uri=str(folder / "summary"), metadata={}),
            "report": dsl.HTML(name="report", uri=str(folder / "report"), metadata={}),
        }
        config = {"points": [json.dumps(point) for point in points], "held": "{}"}
        sweep_summary.python_func(results=[chain["evaluation"]["results"]] * 2, **outputs, config=config)
        return outputs

    return call


def _points(key):
    return [{"seed": 3, "settings": {key: value}} for value in ("1", "2")]


def test_it_tabulates_the_results_of_the_points(chain, summarise, tmp_path):
    outputs = summarise(tmp_path, _points("calibration.n_neighbors"))
    folder = Path(outputs["summary"].path)
    open_artifact(folder, "longtail.sweep", 1)
    found = json.loads((Path(chain["evaluation"]["results"].path) / "evaluations.json").read_text())
    lines = (folder / "table.txt").read_text().splitlines()
    assert lines[2].split()[:3] == ["baseline", "any", f"{found['baseline']['top1']:.2f}"]
    assert lines[3].split()[:3] == ["tailcalib", "any", f"{found['tailcalib']['top1']:.2f}"]
    assert "<img" in Path(outputs["report"].path).read_text()


def test_its_outputs_carry_metadata(chain, summarise, tmp_path):
    outputs = summarise(tmp_path, _points("calibration.n_neighbors"))
    metadata = outputs["summary"].metadata
    assert metadata["sha256"] == artifact_digest(Path(outputs["summary"].path))
    assert metadata["lineage"].keys() == {"evaluation", "sweep_summary"}


def test_more_points_than_results_are_refused(summarise, refuses, tmp_path):
    points = [*_points("calibration.n_neighbors"), {"seed": 4, "settings": {}}]
    line = refuses(lambda: summarise(tmp_path, points), tmp_path)
    assert line == "error: the sweep has 2 results for 3 points: give one for each"
