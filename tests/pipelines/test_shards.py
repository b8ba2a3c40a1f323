"""The pipeline with the images, and the classes that are sampled, split into parts."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf import json_format
from kfp import dsl

from components.backbone_training.component import backbone_training
from components.data_imbalancing.component import data_imbalancing
from longtail.artifacts import artifact_digest
from longtail.settings import resolve
from pipelines.compiled import specification
from pipelines.grid import plan
from pipelines.policy import POLICY
from pipelines.policy_file import Installation
from pipelines.shards import calibrated_samples, frozen_features, split
from pipelines.sweep_pipeline import sweep_specification


class Both(NamedTuple):
    """Features and samples of one task, and of two put together."""

    whole: dsl.Dataset
    parts: dsl.Dataset
    whole_samples: dsl.Dataset
    samples_of_parts: dsl.Dataset


def config(shards, samples=1):
    return resolve("digits", [f"features.shards={shards}", f"calibration.shards={samples}"])


@pytest.fixture(scope="module")
def documents():
    return specification(config(3, 3), "0" * 64)


def test_parts_are_extracted_side_by_side_and_put_together(documents):
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert "feature-extraction" not in tasks
    (loop, _) = [task for name, task in tasks.items() if task.get("parameterIterator", {}).get("items", {}).get("raw")]
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == [0, 1, 2]
    inner = documents[0]["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert set(inner) == {"feature-shard"}
    assert loop["taskInfo"]["name"] in tasks["feature-merge"]["dependentTasks"]
    readers = {name for name, task in tasks.items() if "feature-merge" in task.get("dependentTasks", ())}
    assert {"evaluation", "head-curvature"} <= readers


def test_groups_of_classes_are_sampled_side_by_side_and_put_together():
    root = specification(config(1, 4), "0" * 64)[0]
    tasks = root["root"]["dag"]["tasks"]
    assert "calibrated-sampling" not in tasks
    (loop,) = [task for name, task in tasks.items() if task.get("parameterIterator", {}).get("items", {}).get("raw")]
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == [0, 1, 2, 3]
    assert set(root["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"sample-shard"}
    readers = {name for name, task in tasks.items() if "sample-merge" in task.get("dependentTasks", ())}
    assert any(name.startswith("for-loop") for name in readers) and "run-report" in readers


def test_kubeflows_own_schema_reads_every_field(documents):
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for value in executors.values():
        json_format.ParseDict(value, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    shards = {"exec-feature-shard", "exec-feature-merge", "exec-sample-shard", "exec-sample-merge"}
    assert shards <= set(executors)


def test_one_part_is_the_pipeline_without_parts(documents):
    one = specification(config(1), "0" * 64)
    assert "feature-extraction" in one[0]["root"]["dag"]["tasks"]
    assert "feature-shard" not in json.dumps(one)
    assert specification(config(1), "0" * 64) == one  # also after one with parts was built


def test_parts_have_their_installations_policy():
    policy = dataclasses.replace(POLICY["feature_shard"], cpu="7")
    spec, _ = specification(config(2), "", Installation({**POLICY, "feature_shard": policy}))
    resources = spec["deploymentSpec"]["executors"]["exec-feature-shard"]["container"]["resources"]
    assert "7" in json.dumps(resources)


def test_points_of_a_sweep_are_split_too():
    sweep = plan("digits", [], "0,1", ["features.shards=2", "calibration.shards=2"])
    components = json.dumps(sweep_specification(sweep, ["", ""])[0])
    assert "comp-feature-shard" in components and "comp-sample-shard" in components


@pytest.mark.local
def test_the_local_runner_puts_parts_together(tmp_path, monkeypatch):
    """Bit for bit what one task writes: the two artifacts have one digest."""
    from kfp import local

    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LONGTAIL_TRACKING", "off")

    @dsl.pipeline
    def twice(data: dict, backbone: dict, features: dict, calibration: dict) -> Both:
        images = data_imbalancing(config=data, data_digest="").outputs["dataset"]
        network = backbone_training(dataset=images, config=backbone, seed=1).outputs["backbone"]
        given = {"dataset": images, "backbone": network, "config": features, "seed": 1}
        whole = frozen_features(**given)
        drawn = {"backbone": network, "features": whole, "config": calibration, "seed": 1}
        samples = calibrated_samples(**drawn)
        with split(config(2, 2)):
            parts, together = frozen_features(**given), calibrated_samples(**drawn)
        return Both(whole, parts, samples.outputs["samples"], together.outputs["samples"])

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "steps"))
    settings = {"features": {"views": 1, "shards": 2}, "calibration": {"shards": 2}}
    outputs = twice(data={}, backbone={"epochs": 1}, **settings).outputs
    for whole, parts in (("whole", "parts"), ("whole_samples", "samples_of_parts")):
        assert artifact_digest(Path(outputs[whole].path)) == artifact_digest(Path(outputs[parts].path))
