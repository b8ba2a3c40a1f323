import pytest

from longtail.settings import resolve
from longtail.steps.registry import EVERY_STEP, FEATURE_STEPS
from longtail.steps.registry import STEPS as IMAGE_STEPS
from pipelines.compiled import specification
from pipelines.policy import CERTIFICATES, POLICY, CertificateBundle, Gpu, Policy, Toleration, seconds, using
from pipelines.policy_file import Installation

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
    assert (retry["backoffDuration"], retry["backoffFactor"], retry["backoffMaxDuration"]) == ("30s", 2.0, "3600s")


@pytest.mark.parametrize("step", STEPS)
def test_a_time_limit_and_the_runs_id_outside_the_cache_key(documents, step):
    executor = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][_executor(step)]
    assert executor["activeDeadlineSeconds"] == str(seconds(POLICY[step].timeout))
    assert executor["fieldPathAsEnv"] == [{"name": "KFP_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}]
    container = documents[0]["deploymentSpec"]["executors"][_executor(step)]["container"]
    assert container["env"] == [{"name": "LONGTAIL_IMAGE", "value": container["image"]}]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_cached(documents, step):
    assert _tasks(documents[0])[step.replace("_", "-")]["cachingOptions"] == {"enableCache": True}


@pytest.mark.parametrize("step", STEPS)
def test_the_pod_says_what_it_is(documents, step):
    labels = _kubernetes(documents, step)["podMetadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/part-of"] == "longtail"
    assert labels["app.kubernetes.io/component"] == step.replace("_", "-")
    assert labels["longtail/step"] == step


@pytest.mark.parametrize("step", STEPS)
def test_secrets_are_named_and_may_be_missing(documents, step):
    secrets = {secret["secretName"]: secret for secret in _kubernetes(documents, step)["secretAsEnv"]}
    assert set(secrets) == {"longtail-mlflow", "longtail-s3"}
    assert all(secret["optional"] for secret in secrets.values())
    assert {pair["envVar"]: pair["secretKey"] for pair in secrets["longtail-s3"]["keyToEnv"]} == {
        "AWS_ACCESS_KEY_ID": "access-key-id",
        "AWS_SECRET_ACCESS_KEY": "secret-access-key",
    }


def _kubernetes(documents, step):
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][_executor(step)]


FULL = Policy(
    cpu="500m",
    memory="16Gi",
    gpu=Gpu(count=2),
    shared_memory="4Gi",
    image="host/name:1.0",
    retries=0,
    timeout="90m",
    cache=False,
    node_selector={"pool": "gpu"},
    tolerations=(Toleration("gpu", "Equal", "yes", "NoSchedule"), Toleration("spot")),
    environment={"MLFLOW_TRACKING_URI": "http://mlflow:5000"},
    secrets=(),
    certificates=CertificateBundle("company-ca", "bundle.pem"),
    image_pull_secrets=("registry",),
    labels={"team": "vision", "app.kubernetes.io/name": "ours"},
)


@pytest.fixture(scope="module")
def full():
    return specification(resolve("digits"), "", Installation({**POLICY, "evaluation": FULL}))


def test_a_full_policy_in_the_pipeline(full):
    container = full[0]["deploymentSpec"]["executors"]["exec-evaluation"]["container"]
    bundle = f"{CERTIFICATES}/bundle.pem"
    assert container["image"] == "host/name:1.0"
    assert container["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert container["resources"]["accelerator"]["resourceCount"] == "2"
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "LONGTAIL_IMAGE": "host/name:1.0",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "AWS_CA_BUNDLE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
    }
    assert _tasks(full[0])["evaluation"]["cachingOptions"] == {}


def test_a_full_policy_on_kubernetes(full):
    executor = _kubernetes(full, "evaluation")
    assert executor["activeDeadlineSeconds"] == "5400"
    assert executor["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert executor["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ]
    assert executor["emptyDirMounts"] == [
        {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "4Gi"}
    ]
    assert executor["configMapAsVolume"][0]["configMapName"] == "company-ca"
    assert executor["configMapAsVolume"][0]["mountPath"] == CERTIFICATES
    assert executor["imagePullSecret"][0]["secretName"] == "registry"
    assert executor["podMetadata"]["labels"]["team"] == "vision"
    assert executor["podMetadata"]["labels"]["app.kubernetes.io/name"] == "ours"
    assert "secretAsEnv" not in executor


def test_other_steps_and_later_pipelines_keep_the_table(full, compiled):
    assert _kubernetes(full, "feature_extraction") == _kubernetes(compiled["digits"], "feature_extraction")
    assert specification(resolve("digits"), "") == compiled["digits"]
    assert FULL not in POLICY.values()


def test_an_installation_without_changes_changes_nothing(compiled):
    assert specification(resolve("digits"), "", Installation()) == compiled["digits"]


def test_the_table_is_put_back_after_an_error():
    before = dict(POLICY)
    with pytest.raises(RuntimeError), using({"evaluation": FULL}):
        raise RuntimeError
    assert before == POLICY


@pytest.mark.parametrize(("duration", "expected"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800)])
def test_durations(duration, expected):
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "90", "1.5h", "-1h", "1 h", "1w"])
def test_what_is_no_duration(duration):
    with pytest.raises(ValueError, match="is no duration"):
        seconds(duration)
