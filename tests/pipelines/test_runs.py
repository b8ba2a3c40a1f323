import pytest

from pipelines.cli import main

RUN = "/apis/v2beta1/runs/r1"
LOG = "/apis/v1alpha1/runs/r1/nodes/{}/log"


def detail(name, state, task_id, children=(), **more):
    links = [{"task_id": child} for child in children]
    return {"display_name": name, "state": state, "task_id": task_id, "child_tasks": links, **more}


def states(training, run="RUNNING", message=""):
    """Return a run whose training is in a state, as the server tells of it."""
    error = {"error": {"code": 13, "message": message}} if message else {}
    details = [
        detail("root", run, "t0", ["t1", "t2", "t3", "t4"]),
        detail("root-driver", "SUCCEEDED", "t1", pod_name="pod-driver"),
        detail("data-imbalancing", "SUCCEEDED", "t2", ["t5"], start_time="2026-11-24T12:00:01Z"),
        detail("executor", "SUCCEEDED", "t5", pod_name="pod-data"),
        detail("backbone-training", training, "t3", ["t6"], start_time="2026-11-24T12:00:02Z", **error),
        detail("executor", training, "t6", ["t7", "t8"]),
        detail("executor(0)", "FAILED", "t7", pod_name="pod-first-try"),
        detail("executor(1)", training, "t8", pod_name="pod-second-try"),
    ]
    return {"run_id": "r1", "display_name": "one", "state": run, "run_details": {"task_details": details}}


@pytest.fixture
def history(kubeflow_server):
    """Let the run go from state to state, one each time it is asked for."""

    def use(*runs):
        left, answer = list(runs), kubeflow_server.answer

        def moving(method, path, query, body):
            if (method, path) != ("GET", RUN):
                return answer(method, path, query, body)
            run = left.pop(0) if len(left) > 1 else left[0]
            return run if isinstance(run, tuple) else (200, run)

        kubeflow_server.answer = moving

    return use


def test_watching_prints_each_change_once(history, capsys):
    history(states("RUNNING"), states("RUNNING"), states("SUCCEEDED", "SUCCEEDED"))
    assert main(["runs", "watch", "r1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "succeeded   data_imbalancing",
        "running     backbone_training",
        "succeeded   backbone_training",
        "run r1 succeeded",
    ]


def test_a_failed_run_says_why(history, capsys):
    history(states("RUNNING"), states("FAILED", "FAILED", "exit code 2:\n token=abcdefgh"))
    assert main(["runs", "watch", "r1"]) == 1
    printed = capsys.readouterr()
    assert "run r1 failed" in printed.out
    assert "backbone_training: exit code 2: token=***" in printed.err
    assert "runs logs r1" in printed.err


def test_watching_outlives_a_server_that_is_away(history, capsys):
    history(states("RUNNING"), *[(503, {"message": "away"})] * 8, states("SUCCEEDED", "SUCCEEDED"))
    assert main(["runs", "watch", "r1"]) == 0


def test_watching_ends_when_it_stays_away(history, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.runs.PATIENCE_SECONDS", -1.0)
    history((503, {"message": "away"}))
    assert main(["runs", "watch", "r1"]) == 2
    assert "refuses (503): away" in capsys.readouterr().err


def test_the_list(kubeflow_server, capsys):
    ended = {"created_at": "2026-11-24T12:00:00Z", "finished_at": "2026-11-24T13:02:03Z", "state": "SUCCEEDED"}
    running = {"created_at": "2026-11-24T14:00:00Z", "finished_at": "1970-01-01T00:00:00Z", "state": "RUNNING"}
    kubeflow_server.items["runs"] = {
        "a": {"run_id": "a", "display_name": "first", **ended},
        "b": {"run_id": "b", "display_name": "second", **running},
    }
    assert main(["runs", "list", "--limit", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["a", "succeeded", "2026-11-24", "12:00", "1:02:03", "first"]
    assert second.split() == ["b", "running", "2026-11-24", "14:00", "second"]
    assert kubeflow_server.requests[-1][2]["sort_by"] == "created_at desc"


def test_no_more_than_were_asked_for(kubeflow_server, capsys):
    kubeflow_server.items["runs"] = {str(i): {"run_id": str(i), "display_name": "x"} for i in range(5)}
    main(["runs", "list", "--limit", "3"])
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["runs", "list", "--limit", "0"]) == 2


def test_the_log_of_every_attempt(kubeflow_server, history, capsys):
    history(states("SUCCEEDED", "SUCCEEDED"))
    kubeflow_server.logs = {LOG.format(f"pod-{name}-try"): f"the {name} ümlaut\n" for name in ("first", "second")}
    assert main(["runs", "logs", "r1", "--step", "backbone-training"]) == 0
    expected = "== backbone_training (succeeded)\nthe first ümlaut\nthe second ümlaut\n"
    assert capsys.readouterr().out == expected
    assert kubeflow_server.requests[-1][2] == {"follow": "false"}


def test_a_log_that_the_server_does_not_have(history, capsys):
    history(states("RUNNING"))
    assert main(["runs", "logs", "r1"]) == 2
    error = capsys.readouterr().err
    assert "kubectl logs -n kubeflow -l pipeline/runid=r1,longtail/step=data_imbalancing -c main --tail=-1" in error


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("training", "'training' is not a step: choose from backbone_training"),
        ("evaluation", "has no evaluation that started"),
    ],
)
def test_a_step_that_there_is_not(history, capsys, step, message):
    history(states("RUNNING"))
    assert main(["runs", "logs", "r1", "--step", step]) == 2
    assert message in capsys.readouterr().err


def test_cancel(kubeflow_server):
    kubeflow_server.items["runs"] = {"r1": {"run_id": "r1"}}
    assert main(["runs", "cancel", "r1"]) == 0
    assert kubeflow_server.changes() == [("POST", f"{RUN}:terminate")]


def test_a_run_that_there_is_not(kubeflow_server, capsys):
    assert main(["runs", "cancel", "r9"]) == 2
    assert "refuses (404): runs r9 not found" in capsys.readouterr().err
