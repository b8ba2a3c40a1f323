import re
from datetime import UTC, datetime

import pytest
import yaml

from pipelines.cli import main

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
WEEKLY = ["schedule", "--preset", "digits", "--name", "weekly", "--cron", "0 3 * * 1", "--timezone", "Europe/Berlin"]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    monkeypatch.setattr("pipelines.schedule.datetime", Clock)
    monkeypatch.setenv("LONGTAIL_GIT_COMMIT", "c" * 40)


def test_what_is_sent(kubeflow_server):
    assert main(WEEKLY) == 0
    (body,) = kubeflow_server.sent("POST", "/apis/v2beta1/recurringruns")
    (version,) = kubeflow_server.items["versions"].values()
    (experiment,) = kubeflow_server.items["experiments"]
    assert body == {
        "display_name": "weekly",
        "description": "0 3 * * 1 in Europe/Berlin",
        "experiment_id": experiment,
        "pipeline_version_reference": {
            "pipeline_id": version["pipeline_id"],
            "pipeline_version_id": version["pipeline_version_id"],
        },
        "runtime_config": {"parameters": {}},
        "namespace": "",
        "max_concurrency": "1",
        "no_catchup": True,
        "mode": "DISABLE",
        "trigger": {"cron_schedule": {"cron": "0 0 2 * * 1"}},
    }
    assert kubeflow_server.on("weekly") == 1


def test_what_is_printed(kubeflow_server, capsys):
    main(WEEKLY)
    printed = capsys.readouterr()
    assert re.search(r"schedule    weekly  recurringruns-\d+  set\n", printed.out)
    assert "cron        0 0 2 * * 1  in UTC, for 0 3 * * 1 in Europe/Berlin\n" in printed.out
    assert "next        Mon 2026-12-07 03:00 CET\n" in printed.out
    assert "then        Mon 2026-12-14 03:00 CET\n" in printed.out
    assert "            Mon 2026-12-21 03:00 CET\n" in printed.out
    assert "from 2027-03-28 on the runs come 1 h later by the clock of Europe/Berlin" in printed.err


def test_no_clock_is_changed_in_utc(kubeflow_server, capsys):
    main([*WEEKLY[:-1], "UTC"])
    assert "by the clock of" not in capsys.readouterr().err


def test_the_same_again_changes_nothing(kubeflow_server, capsys):
    main(WEEKLY)
    kubeflow_server.requests.clear()
    assert main(WEEKLY) == 0
    assert kubeflow_server.changes() == []
    assert "was already so" in capsys.readouterr().out


def test_each_run_reads_the_data_again(kubeflow_server, photographs):
    main(["schedule", "--preset", "natural", "--data", str(photographs), "--cron", "0 3 * * *"])
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    root = next(yaml.safe_load_all(upload))["root"]
    assert root["inputDefinitions"]["parameters"]["data_digest"]["defaultValue"] == ""
    cached = {name: task["cachingOptions"] for name, task in root["dag"]["tasks"].items() if "cachingOptions" in task}
    assert cached["data-imbalancing"] == {}
    assert cached["backbone-training"] == {"enableCache": True}


def test_with_a_model_it_trains_only_if_there_is_a_reason(kubeflow_server, capsys):
    model = ["--model", "fish", "--cooldown", "2h", "--from-scratch"]
    assert main([*WEEKLY, *model]) == 0
    upload = kubeflow_server.sent("POST", "/apis/v2beta1/pipelines/upload_version")[0]
    tasks = next(yaml.safe_load_all(upload))["root"]["dag"]["tasks"]
    assert set(tasks) == {"drift-check", "condition-1"}
    given = tasks["drift-check"]["inputs"]["parameters"]["config"]["runtimeValue"]["constant"]
    assert [given[name] for name in ("model", "cooldown", "from_scratch")] == ["fish", 7200, True]
    assert main([*WEEKLY, *model, "--seeds", "1,2"]) == 2
    assert "leave out --grid, --seeds and --features" in capsys.readouterr().err


def test_the_list(kubeflow_server, capsys):
    main(WEEKLY)
    capsys.readouterr()
    assert main(["schedule", "--list"]) == 0
    assert capsys.readouterr().out == "on   weekly  0 0 2 * * 1  (0 3 * * 1 in Europe/Berlin)\n"


def test_the_list_tells_what_was_broken_off(kubeflow_server, capsys):
    main(WEEKLY)
    kubeflow_server.changes_left = 2
    assert main([*WEEKLY[:6], "0 4 * * 1"]) == 2
    kubeflow_server.changes_left = None
    capsys.readouterr()
    assert main(["schedule", "--list"]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("weekly") >= 1
    assert "weekly: a change of it was broken off: give the same `schedule` command again" in printed.err
    assert main(["schedule", "--resume", "weekly"]) == 2


def test_pause_resume_delete(kubeflow_server, capsys):
    main(WEEKLY)
    assert main(["schedule", "--pause", "weekly"]) == 0
    assert kubeflow_server.on("weekly") == 0
    assert main(["schedule", "--resume", "weekly"]) == 0
    assert kubeflow_server.on("weekly") == 1
    assert main(["schedule", "--delete", "weekly"]) == 0
    assert kubeflow_server.items["recurringruns"] == {}


@pytest.mark.parametrize("action", ["--pause", "--resume", "--delete"])
def test_a_name_that_there_is_not(kubeflow_server, capsys, action):
    main(WEEKLY)
    assert main(["schedule", action, "weakly"]) == 2
    assert "no schedule has the name 'weakly': did you mean 'weekly'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 0 3 * * 1", "has 6 fields: give five"),
        ("0 3 30 2 *", "never comes: give days that a month has"),
        ("0 0,12 * * 1", "is no single expression in UTC"),
    ],
)
def test_a_wrong_expression_changes_nothing(kubeflow_server, capsys, cron, message):
    assert main([*WEEKLY[:6], cron, "--timezone", "Europe/Berlin"]) == 2
    assert message in capsys.readouterr().err
    assert kubeflow_server.requests == []
