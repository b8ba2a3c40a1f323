import pytest
import yaml

from pipelines.cli import main

RUNS = "/apis/v2beta1/runs"


@pytest.fixture(autouse=True)
def commit(monkeypatch):
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c" * 40)


def test_it_prints_the_run_and_its_page(kubeflow_server, capsys):
    assert main(["submit", "--preset", "digits"]) == 0
    (body,) = kubeflow_server.sent("POST", RUNS)
    (run,) = kubeflow_server.items["runs"]
    (version,) = kubeflow_server.items["versions"].values()
    assert body["pipeline_version_reference"] == {
        "pipeline_id": version["pipeline_id"],
        "pipeline_version_id": version["pipeline_version_id"],
    }
    assert body["runtime_config"] == {"parameters": {}}
    assert body["display_name"].startswith("longtail-cccccccccccc-")
    assert "service_account" not in body
    (experiment,) = kubeflow_server.items["experiments"].values()
    assert (body["experiment_id"], experiment["display_name"]) == (experiment["experiment_id"], "longtail")
    printed = capsys.readouterr().out
    assert f"run         {run}  longtail-cccccccccccc-" in printed
    assert f"page        {kubeflow_server.url}/#/runs/details/{run}" in printed
    assert f"runs watch {run}" in printed


def test_a_second_one_makes_only_the_run(kubeflow_server):
    main(["submit", "--preset", "digits"])
    kubeflow_server.requests.clear()
    main(["submit", "--preset", "digits", "--name", "again"])
    assert kubeflow_server.changes() == [("POST", RUNS)]
    assert kubeflow_server.sent("POST", RUNS)[0]["display_name"] == "again"


def test_the_policy_says_who_runs_it_and_where_artifacts_go(kubeflow_server, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("run: {service_account: runner, pipeline_root: s3://bucket/kfp, keep: 7d}\n")
    main(["submit", "--preset", "digits", "--policy", str(file)])
    (body,) = kubeflow_server.sent("POST", RUNS)
    assert body["service_account"] == "runner"
    assert body["runtime_config"] == {"parameters": {}, "pipeline_root": "s3://bucket/kfp"}
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    platform = list(yaml.safe_load_all(upload))[1]["platforms"]["kubernetes"]
    assert platform["pipelineConfig"] == {"resourceTtlOnCompletion": 7 * 86400}


def test_what_is_uploaded_is_what_compile_writes(kubeflow_server, tmp_path):
    main(["submit", "--preset", "digits", "--set", "seed=3"])
    main(["compile", "--preset", "digits", "--set", "seed=3", "--out", str(tmp_path / "p.yaml")])
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    assert list(yaml.safe_load_all(upload)) == list(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))


def test_the_digest_of_the_data_is_a_parameter(kubeflow_server, photographs):
    main(["submit", "--preset", "natural", "--data", str(photographs)])
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    parameters = next(yaml.safe_load_all(upload))["root"]["inputDefinitions"]["parameters"]
    assert len(parameters["data_digest"]["defaultValue"]) == 64


def test_a_sweep_is_submitted_too(kubeflow_server):
    assert main(["submit", "--preset", "digits", "--seeds", "0,1"]) == 0
    (pipeline,) = kubeflow_server.items["pipelines"].values()
    assert pipeline["name"] == "longtail-sweep"


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_waiting_ends_with_the_run(kubeflow_server, capsys, state, code):
    answer = kubeflow_server.answer

    def ended(method, path, query, body):
        status, item = answer(method, path, query, body)
        return status, item | {"state": state} if method == "GET" and path.startswith(f"{RUNS}/") else item

    kubeflow_server.answer = ended
    assert main(["submit", "--preset", "digits", "--wait"]) == code
    assert f" {state.lower()}\n" in capsys.readouterr().out


def test_a_lost_answer_makes_no_second_run(kubeflow_server, capsys):
    main(["submit", "--preset", "digits"])
    kubeflow_server.requests.clear()
    answer = kubeflow_server.answer

    def losing(method, path, query, body):
        return (503, {"message": "away"}) if (method, path) == ("POST", RUNS) else answer(method, path, query, body)

    kubeflow_server.answer = losing
    assert main(["submit", "--preset", "digits"]) == 2
    assert len(kubeflow_server.sent("POST", RUNS)) == 1
    assert "refuses (503): away" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "digit"], "'digit' is not a preset: did you mean 'digits'?"),
        (["--policy", "/no/such"], "policy '/no/such' cannot be read"),
        (["--host", "kfp"], "Kubeflow host 'kfp' is malformed"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(kubeflow_server, capsys, options, message):
    assert main(["submit", *options]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and message in error[0]
    assert kubeflow_server.changes() == []
