import argparse
import os
import signal

import kfp_server_api as api
import pytest

from longtail.errors import InputError
from pipelines.kubeflow import UnreachableError, add_connection, connect
from pipelines.recurring import is_on, recurring_runs, unfinished, upsert

ENABLE, DISABLE = ":enable", ":disable"


@pytest.fixture
def server(kubeflow_server):
    parser = argparse.ArgumentParser()
    add_connection(parser)
    return connect(parser.parse_args([]))


def wanted(cron="0 0 3 * * 1", name="weekly"):
    return api.V2beta1RecurringRun(
        display_name=name,
        description="a text",
        experiment_id="e",
        pipeline_version_reference=api.V2beta1PipelineVersionReference(pipeline_id="p", pipeline_version_id="v"),
        runtime_config=api.V2beta1RuntimeConfig(parameters={}),
        max_concurrency="1",
        no_catchup=True,
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
    )


def verbs(kubeflow_server):
    return [
        f"{method} {path.rpartition(':')[2] if ':' in path else ''}".strip()
        for method, path in kubeflow_server.changes()
    ]


def test_the_first_is_made_switched_off_and_then_on(server, kubeflow_server):
    run, changed = upsert(server, wanted())
    assert changed
    assert kubeflow_server.sent("POST", "/apis/v2beta1/recurringruns")[0]["mode"] == "DISABLE"
    assert verbs(kubeflow_server) == ["POST", "POST enable"]
    assert kubeflow_server.on("weekly") == 1
    assert is_on(recurring_runs(server, "weekly")[0])
    assert run.recurring_run_id in kubeflow_server.items["recurringruns"]


def test_another_one_takes_the_place_of_the_old(server, kubeflow_server):
    upsert(server, wanted())
    upsert(server, wanted(name="other"))
    kubeflow_server.requests.clear()
    upsert(server, wanted("0 0 4 * * 1"))
    assert verbs(kubeflow_server) == ["POST", "POST disable", "POST enable", "DELETE"]
    (run,) = recurring_runs(server, "weekly")
    assert run.trigger.cron_schedule.cron == "0 0 4 * * 1"
    assert kubeflow_server.on("weekly") == kubeflow_server.on("other") == 1


def test_the_same_one_is_left_alone(server, kubeflow_server):
    first, _ = upsert(server, wanted())
    kubeflow_server.requests.clear()
    second, changed = upsert(server, wanted())
    assert (second.recurring_run_id, changed, kubeflow_server.changes()) == (first.recurring_run_id, False, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda run: setattr(run, "no_catchup", False),
        lambda run: setattr(run, "max_concurrency", "2"),
        lambda run: setattr(run, "service_account", "runner"),
        lambda run: setattr(run, "experiment_id", "f"),
        lambda run: setattr(run.runtime_config, "pipeline_root", "s3://b/p"),
        lambda run: setattr(run.pipeline_version_reference, "pipeline_version_id", "w"),
    ],
)
def test_every_difference_counts(server, change):
    upsert(server, wanted())
    other = wanted()
    change(other)
    assert upsert(server, other)[1]
    assert len(recurring_runs(server, "weekly")) == 1


def test_one_that_was_paused_is_replaced(server, kubeflow_server):
    run, _ = upsert(server, wanted())
    kubeflow_server.items["recurringruns"][run.recurring_run_id]["mode"] = "DISABLE"
    assert upsert(server, wanted())[1]
    assert (len(recurring_runs(server, "weekly")), kubeflow_server.on("weekly")) == (1, 1)


@pytest.mark.parametrize("changes", range(5))
def test_wherever_it_is_killed_there_are_never_two_and_the_next_one_repairs(server, kubeflow_server, changes):
    upsert(server, wanted())
    kubeflow_server.changes_left = changes
    if changes < 4:
        with pytest.raises(UnreachableError):
            upsert(server, wanted("0 0 4 * * 1"))
    else:
        upsert(server, wanted("0 0 4 * * 1"))
    kubeflow_server.changes_left = None
    left = recurring_runs(server, "weekly")
    assert kubeflow_server.on("weekly") == (0 if changes == 2 else 1)
    assert unfinished(left) == (0 < changes < 4)

    upsert(server, wanted("0 0 4 * * 1"))
    (run,) = recurring_runs(server, "weekly")
    assert (is_on(run), run.trigger.cron_schedule.cron) == (True, "0 0 4 * * 1")


def test_nobody_is_told_that_all_is_well_when_none_is_on(server, kubeflow_server):
    upsert(server, wanted())
    kubeflow_server.changes_left = 2
    with pytest.raises(UnreachableError, match="'weekly' may be switched off: run the same command again"):
        upsert(server, wanted("0 0 4 * * 1"))


def test_if_the_new_one_is_refused_the_old_one_stays(server, kubeflow_server):
    old, _ = upsert(server, wanted())
    answer = kubeflow_server.answer

    def refusing(method, path, query, body):
        new = path.endswith(ENABLE) and old.recurring_run_id not in path
        return (400, {"message": "no such experiment"}) if new else answer(method, path, query, body)

    kubeflow_server.answer = refusing
    with pytest.raises(InputError, match=r"refuses \(400\): no such experiment"):
        upsert(server, wanted("0 0 4 * * 1"))
    (run,) = recurring_runs(server, "weekly")
    assert (run.recurring_run_id, is_on(run)) == (old.recurring_run_id, True)


def test_a_server_that_is_away_for_a_moment(server, kubeflow_server):
    upsert(server, wanted())
    answer, away = kubeflow_server.answer, [DISABLE, ENABLE, ENABLE]

    def flaky(method, path, query, body):
        if away and path.endswith(away[0]):
            away.pop(0)
            return 503, {"message": "away"}
        return answer(method, path, query, body)

    kubeflow_server.answer = flaky
    upsert(server, wanted("0 0 4 * * 1"))
    assert (len(recurring_runs(server, "weekly")), kubeflow_server.on("weekly"), away) == (1, 1, [])


@pytest.fixture
def interruptible():
    """Let an interrupt raise an exception, also in a process of tests that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_until_one_is_on(server, kubeflow_server, interruptible):
    upsert(server, wanted())
    answer = kubeflow_server.answer

    def interrupting(method, path, query, body):
        if path.endswith(DISABLE):
            os.kill(os.getpid(), signal.SIGINT)
        return answer(method, path, query, body)

    kubeflow_server.answer = interrupting
    with pytest.raises(KeyboardInterrupt):
        upsert(server, wanted("0 0 4 * * 1"))
    assert kubeflow_server.on("weekly") == 1
