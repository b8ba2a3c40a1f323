import time

import pytest

from longtail.tracking.recording import Run
from longtail.tracking.run import step_run
from longtail.tracking.system_metrics import system_metrics


def test_use_of_the_machine_is_logged_while_a_step_works(tracking, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with step_run("train", {}, {}) as run, system_metrics(run):
        end = time.monotonic() + 20
        while not tracking.get_run(run.run_id).data.metrics and time.monotonic() < end:
            time.sleep(0.1)
    metrics = tracking.get_run(run.run_id).data.metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 0


def test_a_run_that_is_nowhere_gets_none_and_the_steps_own_error_passes(clean_environment):
    with pytest.raises(ZeroDivisionError), system_metrics(Run.silent()):
        _ = 1 / 0
