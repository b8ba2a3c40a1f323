import json
import shutil
from dataclasses import replace

import pytest

from longtail.artifacts import open_artifact
from longtail.errors import InputError
from longtail.networks.extension import NETWORK
from longtail.steps import promotion
from longtail.steps.execution import Context
from longtail.steps.provenance import Provenance
from longtail.tracking.recording import Located, Run, TrackingError
from longtail.tracking.registry import champion, numbered

CONFIG = promotion.PromotionConfig(model="fish", overall_fall=100.0, class_fall=100.0)


@pytest.fixture
def client(tmp_path, empty_database, monkeypatch):
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0")
    client = MlflowClient(tracking_uri=uri)
    client.create_experiment("longtail", (tmp_path / "artifacts").as_uri())
    return client


def logged(client, network, folder):
    """Return the run that logged a model with this network, as retraining does."""
    experiment = client.get_experiment_by_name("longtail").experiment_id
    run = client.create_run(experiment)
    model = client.create_logged_model(experiment, "method", run.info.run_id)
    shutil.copytree(network, folder / NETWORK)
    (folder / "MLmodel").write_text("{}")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return run.info.run_id


@pytest.fixture
def promote(client, call, artifacts, tmp_path):
    """Return a function that runs the step on the chain: `promote(config, settings of the model, without=...)`."""
    curved = call("head_curvature", tmp_path / "curved", artifacts)
    given = {name: artifacts[name] for name in ("results", "features", "dataset")} | curved.outputs
    networks = dict(zip(("baseline", "tailcalib"), artifacts["classifiers"], strict=True))
    runs = {method: logged(client, path, tmp_path / f"model-{method}") for method, path in networks.items()}
    experiment = client.get_experiment_by_name("longtail").experiment_id

    def run(config=CONFIG, settings="s", results=None):
        made = {"git_commit": "c", "settings": settings, "started": 0.0}
        lineage = {f"classifier_retraining/{method}": made | {"run_id": run_id} for method, run_id in runs.items()}
        own = client.create_run(experiment).info.run_id
        outputs = {name: tmp_path / own / name for name in ("gate", "report")}
        (tmp_path / own).mkdir()
        tracked = Run(lambda: Located(client, own, experiment))
        inputs = given | ({"results": results} if results else {})
        context = Context(inputs, outputs, 3, 3, "", tracked, Provenance(lineage, {"name": "digits"}))
        described = promotion.run(config, context)
        open_artifact(outputs["gate"], "longtail.gate", 1)
        content = json.loads((outputs["gate"] / "gate.json").read_text())
        assert described["gate"] == {name: content[name] for name in ("sentence", "promoted")}
        assert content["sentence"].split(":")[0] in outputs["report"].read_text().replace("&#x27;", "'")
        return content

    run.runs = runs
    return run


def test_the_first_model_stays_challenger_unless_it_may_start(client, promote):
    assert "promotion.bootstrap is not set" in promote()["sentence"]
    assert champion(client, "fish") is None
    assert promote(replace(CONFIG, bootstrap=True))["promoted"]
    version = champion(client, "fish")
    assert version.number == 1 and version.run_id == promote.runs["tailcalib"]  # the last method
    tags = version.tags
    assert (tags["method"], tags["seed"], tags["git_commit"]) == ("tailcalib", "3", "c")
    assert {"test_digest", "dataset_digest", "config_digest", "top1", "few", "head_trace"} <= set(tags)
    description = client.get_model_version("fish", "1").description
    assert "`tailcalib` for 10 classes" in description and "of digits" in description and "head trace" in description


def test_another_method_is_compared_with_the_champion_on_kept_predictions(client, promote, monkeypatch):
    promote(replace(CONFIG, bootstrap=True, method="baseline"))
    monkeypatch.setattr(promotion, "predict_test", lambda *_: pytest.fail("the champion was tested already"))
    decision = promote()["decision"]
    assert (decision["challenger"], decision["champion"]) == ("fish/2", "fish/1")
    assert decision["criteria"][0]["passed"] and set(decision["differences"]) >= {"top1", "few"}
    assert promote(settings="other")["decision"]["challenger"] == "fish/3"


def test_a_champion_that_was_tested_on_other_images_is_tested_on_these(client, promote):
    promote(replace(CONFIG, bootstrap=True, method="baseline"))
    version = champion(client, "fish")
    tag = next(tag for tag in version.tags if tag.startswith("predictions."))
    client.delete_model_version_tag("fish", "1", tag)
    decision = promote()["decision"]
    assert decision["criteria"][0]["sentence"].startswith("both models were tested on the same")
    assert numbered(client, "fish", 1).tags[tag]
    again = promote(settings="other")["decision"]  # on the predictions that are kept now
    assert again["differences"]["top1"] == decision["differences"]["top1"]


def test_the_same_run_again_changes_nothing(client, promote):
    promote(replace(CONFIG, bootstrap=True))
    assert promote()["sentence"] == "fish/1 is the champion already."
    assert [version.version for version in client.search_model_versions("name = 'fish'")] == [1]


def test_a_registry_that_is_away_fails_no_pipeline_unless_it_shall(promote, servers, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
    content = promote()
    assert content["decision"] is None and "Nothing was registered as fish: the registry failed" in content["sentence"]
    monkeypatch.setenv("LONGTAIL_TRACKING", "strict")
    with pytest.raises(TrackingError, match="tracking could not register a model"):
        promote()


def test_a_model_that_was_not_logged_is_not_registered(promote):
    promote.runs["tailcalib"] = ""
    assert "logged no model" in promote()["sentence"]


def test_a_method_that_the_run_does_not_have_is_bad_input(promote):
    with pytest.raises(InputError, match=r"^promotion.method is 'crt': this run has baseline, tailcalib"):
        promote(replace(CONFIG, method="crt"))
