"""The scheduled check compiles with its policies, and its condition decides, under kfp's own runner."""

import pytest
from kfp import dsl, local

from longtail.config import to_dict
from longtail.settings import resolve
from pipelines.compiled import specification
from pipelines.policy import POLICY, Policy, using
from pipelines.policy_file import Installation
from pipelines.retraining_pipeline import retraining_pipeline, retraining_specification
from tests.registered import forget_starts, new_class, registered

CONFIG = resolve("digits", ["promotion.model=digits", "drift.shift=0.7"])


@pytest.fixture(scope="module")
def documents():
    steps = POLICY | {"backbone_training": Policy("7", "9G")}
    return retraining_specification(CONFIG, cooldown=60, from_scratch=False, installation=Installation(steps=steps))


def test_the_whole_method_hangs_below_one_condition(documents):
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert set(tasks) == {"drift-check", "condition-1"}
    assert tasks["condition-1"]["triggerPolicy"]["condition"].endswith("drift-check-Output'] == true")
    inner = documents[0]["components"]["comp-condition-1"]["dag"]["tasks"]["longtail"]
    given = inner["inputs"]["parameters"]
    for name, output in (("backbone", "training"), ("data_digest", "data_digest")):
        assert given[name] == {"componentInputParameter": f"pipelinechannel--drift-check-{output}"}
    alone = specification(CONFIG, "")[0]["root"]["dag"]["tasks"]
    assert set(documents[0]["components"]["comp-longtail"]["dag"]["tasks"]) == set(alone)
    assert "promotion" in alone


def test_policies_hold_for_the_tasks_inside(documents):
    executors = documents[0]["deploymentSpec"]["executors"]
    assert executors["exec-backbone-training"]["container"]["resources"]["resourceCpuLimit"] == "7"
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert tasks["drift-check"]["cachingOptions"] == {}  # not cached
    assert (
        "enableCache"
        in documents[0]["components"]["comp-longtail"]["dag"]["tasks"]["backbone-training"]["cachingOptions"]
    )
    kubernetes = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(kubernetes) == set(executors)


def test_the_settings_of_the_check_are_part_of_it(documents):
    given = documents[0]["root"]["dag"]["tasks"]["drift-check"]["inputs"]["parameters"]
    values = given["config"]["runtimeValue"]["constant"]
    assert (values["model"], values["cooldown"], values["from_scratch"]) == ("digits", 60, False)
    assert values["drift"] == to_dict(CONFIG.drift)


@dsl.component(install_kfp_package=False)
def note(backbone: dict, data_digest: str, path: str):
    with open(path, "a") as file:
        file.write(f"{backbone['weights']} {data_digest}\n")


@pytest.mark.local
def test_both_branches_run(tmp_path, monkeypatch):
    """The first run finds equal content, the second a new class; the training is a stub that notes what it is given."""
    path, log = str(tmp_path / "trained"), tmp_path / "trained"

    @dsl.pipeline
    def training(
        data: dict,
        backbone: dict,
        features: dict,
        calibration: dict,
        methods: list,
        retraining: dict,
        hessian: dict,
        evaluation: dict,
        seed: int,
        data_digest: str,
    ):
        note(backbone=backbone, data_digest=data_digest, path=path)

    with registered(tmp_path) as champion:
        forget_starts(champion.client)
        monkeypatch.setenv("KFP_RUN_ID", "r-1")
        own = ("promotion.model=digits", "backbone.network=small_cnn", "data.profile=natural")
        config = resolve("digits", own, str(champion.source))
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "steps"))
        with using({"drift_check": Policy(retries=0)}):
            pipeline = retraining_pipeline(config, cooldown=3600, from_scratch=False, method=training)
            pipeline()
        assert not log.exists()
        with new_class(champion.source):
            pipeline()
        weights, digest = log.read_text().split()
        assert weights == "models:/digits/1"
        assert len(digest) == 64
