import ast
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from longtail.artifacts import open_artifact
from longtail.config import PipelineConfig, SweepConfig, parse
from pipelines import sweep_pipeline
from pipelines.cli import main
from pipelines.grid import plan, rounds
from pipelines.sweep_pipeline import sweep_specification

K = "calibration.n_neighbors"


@pytest.fixture(scope="module")
def sweep():
    return plan("digits", [f"{K}=1,2,3,5"], "0,1,2")


@pytest.fixture(scope="module")
def documents(sweep):
    return sweep_specification(sweep, ["d"] * len(sweep.points))


def tasks(document):
    return document["root"]["dag"]["tasks"]


def loops(document):
    """Return the items of each loop in the order in which they run."""
    found = {
        name: json.loads(task["parameterIterator"]["items"]["raw"])
        for name, task in tasks(document).items()
        if "parameterIterator" in task
    }
    return [found[name] for name in sorted(found, key=lambda name: int(name.rpartition("-")[2]))]


def config_of(item):
    """Return the configuration that a loop's item holds."""
    item = dict(item)
    del item["data_digest"]
    methods = item.pop("methods")
    return parse(PipelineConfig, {**item, "retraining": {**item["retraining"], "methods": methods}})


def test_kubeflows_own_schema_reads_every_field(documents):
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    spec, platform = documents
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert message.pipeline_info.name == "longtail-sweep"
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for executor in executors.values():
        message = json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        assert message.active_deadline_seconds


def test_every_point_is_a_branch_of_the_last_loop(sweep, documents):
    points = loops(documents[0])[-1]
    assert [config_of(item) for item in points] == [point.config for point in sweep.points]
    assert {item["data_digest"] for item in points} == {"d"}


def test_what_points_share_is_computed_before_them(sweep, documents):
    starts, first, _ = loops(documents[0])
    assert starts == [{"config": first[0]["data"], "data_digest": "d"}]
    assert [config_of(item) for item in first] == [point.config for point in rounds(sweep.points)[0]]
    needs = {name: task.get("dependentTasks", []) for name, task in tasks(documents[0]).items()}
    first_loop, second_loop, last_loop, summary = needs
    assert needs == {
        first_loop: [],
        second_loop: [first_loop],
        last_loop: [second_loop],
        summary: [last_loop],
    }


def test_seeds_alone_need_no_round_before(sweep):
    documents = sweep_specification(plan("digits", [], "0,1"), ["", ""])
    assert [len(items) for items in loops(documents[0])] == [1, 2]


def test_the_summary_knows_the_points_in_their_order(sweep, documents):
    summary = tasks(documents[0])["sweep-summary"]
    config = parse(SweepConfig, summary["inputs"]["parameters"]["config"]["runtimeValue"]["constant"], "sweep")
    assert [json.loads(text) for text in config.points] == [
        {"seed": point.config.seed, "settings": dict(point.settings)} for point in sweep.points
    ]
    producer = summary["inputs"]["artifacts"]["results"]["taskOutputArtifact"]["producerTask"]
    assert producer == summary["dependentTasks"][0]


def test_it_leaves_the_summary_and_has_no_parameters(documents):
    root = documents[0]["root"]
    assert set(root["outputDefinitions"]["artifacts"]) == {"summary", "summary_report"}
    assert "inputDefinitions" not in root


def test_settings_keep_their_types(documents):
    spec = documents[0]
    loop = spec["components"][tasks(spec)["sweep-summary"]["dependentTasks"][0].join(("comp-", ""))]
    (task,) = loop["dag"]["tasks"].values()
    inner = spec["components"][task["componentRef"]["name"]]["inputDefinitions"]["parameters"]
    types = {name: entry["parameterType"] for name, entry in inner.items()}
    assert (types["seed"], types["methods"], types["data"]) == ("NUMBER_INTEGER", "LIST", "STRUCT")
    for name, value in task["inputs"]["parameters"].items():
        assert value["parameterExpressionSelector"] == f'parseJson(string_value)["{name}"]'


def test_features_start_from_a_table(tmp_path):
    grid = ["head.epochs=1,2"]
    spec = sweep_specification(plan("features", grid, "0", ["table.path=s3://b/f.parquet"]), ["", ""])[0]
    starts, points = loops(spec)
    assert starts[0]["config"]["path"] == "s3://b/f.parquet"
    assert [item["head"]["epochs"] for item in points] == [1, 2]
    assert "exec-feature-import" in spec["deploymentSpec"]["executors"]


def test_compile_writes_it(tmp_path, home, capsys):
    out = tmp_path / "sweep.yaml"
    command = ["compile", "--preset", "digits", "--grid", f"{K}=1,2", "--seeds", "0,1", "--out", str(out)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    spec, platform = yaml.safe_load_all(out.read_text())
    assert [len(items) for items in loops(spec)] == [1, 2, 4]
    assert "kubernetes" in platform["platforms"]


def test_compile_knows_the_content_of_local_data(tmp_path, home, photographs):
    out = tmp_path / "sweep.yaml"
    settings = ["--preset", "cifar10-lt", "--data", str(photographs), "--seeds", "0,1"]
    assert main(["compile", *settings, "--out", str(out)]) == 0
    digests = {item["data_digest"] for item in loops(next(iter(yaml.safe_load_all(out.read_text()))))[-1]}
    assert len(digests) == 1 and len(digests.pop()) == 64


def test_compile_refuses_a_wrong_point(tmp_path, home, capsys):
    assert main(["compile", "--grid", f"{K}=1,none", "--out", str(tmp_path / "sweep.yaml")]) == 2
    assert "give a number" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_images_in_the_file():
    tree = ast.parse(Path(sweep_pipeline.__file__).read_text())
    assert "image" not in {keyword.arg for node in ast.walk(tree) for keyword in getattr(node, "keywords", [])}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kubeflows_local_runner_runs_it(tmp_path, monkeypatch):
    """Nested pipelines, loops in loops, the order of collected results: as far as the local runner goes."""
    from kfp import components, local

    small = (
        *("backbone.epochs=1", "features.views=1", "retraining.methods=[baseline,tailcalib]", "retraining.epochs=1"),
        *("hessian.images_per_class=1", "hessian.probes=2", "hessian.lanczos_steps=2", "hessian.density_runs=1"),
    )
    sweep = plan("digits", [f"{K}=1,2"], "0,1", small)
    spec = sweep_specification(sweep, [""] * len(sweep.points))[0]
    for task in itertools.chain(
        *(part.get("dag", {}).get("tasks", {}).values() for part in spec["components"].values())
    ):
        task.pop("retryPolicy", None)
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"].pop("resources", None)
    tasks(spec)["sweep-summary"].pop("retryPolicy", None)
    for name, value in (("LONGTAIL_HOME", tmp_path), ("KFP_RUN_ID", "sweep"), ("LONGTAIL_EVENTS", tmp_path / "events")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "steps"),
        enable_caching=True,
        cache_root=str(tmp_path / "cache"),
    )
    outputs = components.load_component_from_text(yaml.safe_dump(spec))().outputs
    folder = Path(outputs["summary"].path)
    open_artifact(folder, "longtail.sweep", 1)
    points = json.loads((folder / "points.json").read_text())
    assert [(point["settings"][K], point["seed"]) for point in points] == [("1", 0), ("2", 0), ("1", 1), ("2", 1)]
    baseline = [point["scores"]["baseline"] for point in points]
    assert baseline[0] == baseline[1] != baseline[2] == baseline[3]
    events = [json.loads(line) for line in Path(os.environ["LONGTAIL_EVENTS"]).read_text().splitlines()]
    finished = Counter(event["step"] for event in events if event["kind"] == "finished")
    assert finished["sweep_summary"] == 1
    assert "<img" in Path(outputs["summary_report"].path).read_text()
