import pytest

from longtail.settings import resolve
from longtail.steps.registry import EVERY_STEP, FEATURE_STEPS
from longtail.steps.registry import STEPS as IMAGE_STEPS
from pipelines.compiled import specification
from pipelines.policy import POLICY

STEPS = IMAGE_STEPS | FEATURE_STEPS


@pytest.fixture(scope="module")
def compiled():
    return {preset: specification(resolve(preset), "") for preset in ("digits", "features")}


@pytest.fixture
def documents(compiled, step):
    """The pipeline that a step is in."""
    return compiled["features" if step in FEATURE_STEPS else "digits"]


def _tasks(spec):
    graphs = [spec["root"], *spec["components"].values()]
    return {name: task for graph in graphs for name, task in graph.get("dag", {}).get("tasks", {}).items()}


def _executor(step):
    return f"exec-{step.replace('_', '-')}"


def test_every_step_has_a_policy():
    assert set(POLICY) == set(EVERY_STEP)


@pytest.mark.parametrize("step", STEPS)
def test_requests_equal_limits(documents, step):
    resources = documents[0]["deploymentSpec"]["executors"][_executor(step)]["container"]["resources"]
    policy = POLICY[step]
    assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"] == policy.cpu
    assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"] == policy.memory


@pytest.mark.parametrize("step", STEPS)
def test_retries_back_off(documents, step):
    retry = _tasks(documents[0])[step.replace("_", "-")]["retryPolicy"]
    assert retry["maxRetryCount"] == POLICY[step].retries >= 1
    assert (retry["backoffDuration"], retry["backoffFactor"]) == ("30s", 2.0)


@pytest.mark.parametrize("step", STEPS)
def test_a_time_limit_and_the_runs_id_outside_the_cache_key(documents, step):
    executor = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][_executor(step)]
    assert executor["activeDeadlineSeconds"] == str(POLICY[step].hours * 3600)
    assert executor["fieldPathAsEnv"] == [{"name": "KFP_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}]
    assert "env" not in documents[0]["deploymentSpec"]["executors"][_executor(step)]["container"]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_cached(documents, step):
    assert _tasks(documents[0])[step.replace("_", "-")]["cachingOptions"] == {"enableCache": True}
