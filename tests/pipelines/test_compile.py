import pytest
import yaml

from pipelines.cli import main


@pytest.fixture
def compiled(tmp_path, capsys):
    """Compile with options; return the documents and what was said on standard error."""

    def run(*options):
        assert main(["compile", *options, "--out", str(tmp_path / "p.yaml")]) == 0
        return list(yaml.safe_load_all((tmp_path / "p.yaml").read_text())), capsys.readouterr().err

    return run


def test_kubernetes_objects(compiled, monkeypatch):
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c" * 40)
    plain, _ = compiled("--preset", "digits")
    (pipeline, version), _ = compiled("--preset", "digits", "--format", "kubernetes", "--namespace", "team")
    assert pipeline["kind"] == "Pipeline"
    assert pipeline["metadata"] == {"name": "longtail", "namespace": "team"}
    assert version["apiVersion"] == "pipelines.kubeflow.org/v2beta1"
    assert version["kind"] == "PipelineVersion"
    assert version["metadata"]["namespace"] == "team"
    assert version["metadata"]["name"].startswith("longtail-cccccccccccc-")
    assert version["spec"]["pipelineName"] == "longtail"
    assert [version["spec"]["pipelineSpec"], version["spec"]["platformSpec"]] == plain


def test_no_namespace_is_left_to_who_applies_them(compiled):
    documents, _ = compiled("--preset", "digits", "--format", "kubernetes")
    assert all("namespace" not in document["metadata"] for document in documents)


def test_a_sweep_as_kubernetes_objects(compiled):
    documents, _ = compiled("--preset", "digits", "--seeds", "0,1", "--format", "kubernetes")
    assert documents[0]["metadata"]["name"] == "longtail-sweep"


def test_it_says_what_would_surprise(compiled, tmp_path):
    _, said = compiled("--preset", "digits")
    assert "is named by a tag: Kubeflow's cache takes it for the same image" in said
    assert "MLFLOW_TRACKING_URI is in no policy" in said
    policy = tmp_path / "policy.yaml"
    image = f"images: {{cpu: registry.example/longtail@sha256:{'0' * 64}}}\n"
    policy.write_text(f"{image}every_step: {{environment: {{MLFLOW_TRACKING_URI: http://mlflow:5000}}}}\n")
    assert compiled("--preset", "digits", "--policy", str(policy))[1] == ""


def test_the_policy_of_a_sweep_reaches_every_step(compiled, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("every_step: {node_selector: {pool: batch}}\nrun: {timeout: 2d}\n")
    documents, _ = compiled("--preset", "digits", "--seeds", "0,1", "--policy", str(policy))
    kubernetes = documents[1]["platforms"]["kubernetes"]
    executors = kubernetes["deploymentSpec"]["executors"]
    assert set(executors) == set(documents[0]["deploymentSpec"]["executors"])
    assert all(executor["nodeSelector"]["labels"] == {"pool": "batch"} for executor in executors.values())
    assert kubernetes["pipelineConfig"] == {"activeDeadlineSeconds": 2 * 86400}


def test_the_variable_names_the_policy_too(compiled, tmp_path, monkeypatch):
    policy = tmp_path / "policy.yaml"
    policy.write_text("steps: {evaluation: {cpu: 3}}\n")
    monkeypatch.setenv("LONGTAIL_POLICY", str(policy))
    documents, _ = compiled("--preset", "digits")
    resources = documents[0]["deploymentSpec"]["executors"]["exec-evaluation"]["container"]["resources"]
    assert resources["resourceCpuLimit"] == "3"


def test_a_wrong_policy_writes_nothing(tmp_path, capsys):
    policy, out = tmp_path / "policy.yaml", tmp_path / "p.yaml"
    policy.write_text("steps: {evaluation: {memry: 3Gi}}\n")
    assert main(["compile", "--preset", "digits", "--policy", str(policy), "--out", str(out)]) == 2
    assert "'steps.evaluation.memry' is not a setting: did you mean 'memory'?" in capsys.readouterr().err
    assert not out.exists()
