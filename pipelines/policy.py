"""What each task may use and how it fails: all of a run's cost in one table, which `policy_file` lays a file over."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kfp import dsl, kubernetes

from longtail.config.fields import choice, number
from longtail.steps.provenance import IMAGE

CERTIFICATES = "/etc/longtail/certificates"
"""Where a bundle of certificates is mounted in a step's container."""
_BUNDLE_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Gpu:
    """Accelerators of a task; `type` is the name that the cluster's device plugin gives them."""

    type: str = "nvidia.com/gpu"
    count: int = number(0, minimum=0)


@dataclass(frozen=True)
class Toleration:
    """A taint of nodes that a task may run on in spite of it."""

    key: str = ""
    operator: str = choice("Exists", "Equal")
    value: str = ""
    effect: str = choice("", "NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret whose keys become variables of a task; what is in it is never known here.

    Attributes:
        name: Its name.
        environment: Its keys, by the variable that each becomes.
        optional: True starts the task without the variables if there is no such Secret.
    """

    name: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class CertificateBundle:
    """A ConfigMap that holds the certificates of the authorities that a task trusts, in PEM format."""

    config_map: str = ""
    key: str = "ca.crt"


@dataclass(frozen=True)
class Policy:
    """What a task may use, where it runs and how it fails.

    Attributes:
        cpu: Requested and allowed processors.
        memory: Requested and allowed memory.
        gpu: Accelerators.
        shared_memory: Size of `/dev/shm`, a part of `memory`; empty leaves the container's own 64 MB.
        image: Container image; empty takes that of docker/images.json.
        retries: Attempts after the first; every step is idempotent and training resumes from its checkpoint.
        backoff: Wait before the first retry.
        backoff_factor: What the wait is multiplied by at each further one.
        backoff_max: Longest wait.
        timeout: Time limit of an attempt.
        cache: False computes the step whenever it is asked for.
        node_selector: Labels that a node must have.
        tolerations: Taints that a node may have.
        environment: Variables, outside the cache key; none may hold a secret.
        secrets: Secrets whose keys become variables.
        certificates: Authorities to trust beside, or instead of, the public ones.
        image_pull_secrets: Names of Secrets for a private registry of images.
        labels: Labels of the pod beside the usual ones.
    """

    cpu: str = "1"
    memory: str = "2G"
    gpu: Gpu = Gpu()
    shared_memory: str = ""
    image: str = ""
    retries: int = number(2, minimum=0, maximum=100)
    backoff: str = "30s"
    backoff_factor: float = number(2.0, minimum=1.0, maximum=100.0)
    backoff_max: str = "1h"
    timeout: str = "1h"
    cache: bool = True
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = (
        Secret(
            "longtail-mlflow",
            {"MLFLOW_TRACKING_USERNAME": "username", "MLFLOW_TRACKING_PASSWORD": "password"},
            optional=True,
        ),
        # Without this Secret no AWS variable is set, so that nothing hides the role of the service account.
        Secret(
            "longtail-s3",
            {"AWS_ACCESS_KEY_ID": "access-key-id", "AWS_SECRET_ACCESS_KEY": "secret-access-key"},
            optional=True,
        ),
    )
    certificates: CertificateBundle = CertificateBundle()
    image_pull_secrets: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


POLICY = {
    # The source may have changed since.
    "drift_check": Policy("2", "4G", cache=False),
    "data_imbalancing": Policy("2", "4G"),
    "backbone_training": Policy("2", "8G", shared_memory="1Gi", retries=5, timeout="24h"),
    "feature_extraction": Policy("2", "4G"),
    "feature_shard": Policy("2", "4G"),
    "feature_merge": Policy("1", "4G"),
    "calibrated_sampling": Policy("2", "8G"),
    "sample_shard": Policy("2", "8G"),
    "sample_merge": Policy("1", "8G"),
    "classifier_retraining": Policy("2", "8G"),
    "hessian_analysis": Policy("2", "16G", timeout="6h"),
    "evaluation": Policy("1", "4G"),
    "head_curvature": Policy("2", "16G", timeout="6h"),
    "sweep_summary": Policy("1", "2G"),
    # It tells what this run took from the cache.
    "promotion": Policy("1", "4G", cache=False),
    "run_report": Policy("1", "2G", cache=False),
    "feature_import": Policy("2", "4G"),
    "head_training": Policy("2", "8G", timeout="6h"),
}


@contextmanager
def using(policies: Mapping[str, Policy]) -> Generator[None]:
    """Replace policies in the table while pipelines are being built."""
    before = dict(POLICY)
    POLICY.update(policies)
    try:
        yield
    finally:
        POLICY.clear()
        POLICY.update(before)


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as `90s`, `30m`, `24h` or `7d`.

    Raises:
        ValueError: If it is not one.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", duration)
    if not match:
        raise ValueError(f"{duration!r} is no duration")
    return int(match[1]) * _SECONDS[match[2]]


def apply(task: dsl.PipelineTask, policy: Policy) -> dsl.PipelineTask:
    """Return the task with its policy, and the run's id in its environment, which is outside the cache key."""
    task.set_cpu_request(policy.cpu).set_cpu_limit(policy.cpu)
    task.set_memory_request(policy.memory).set_memory_limit(policy.memory)
    if policy.gpu.count:
        task.set_accelerator_type(policy.gpu.type).set_accelerator_limit(policy.gpu.count)
    if policy.image:
        task.set_container_image(policy.image)
    task.set_retry(policy.retries, policy.backoff, policy.backoff_factor, policy.backoff_max)
    task.set_caching_options(policy.cache)
    kubernetes.set_timeout(task, seconds=seconds(policy.timeout))
    _place(task, policy)
    _describe(task, policy)
    _provide(task, policy)
    return task


def _place(task: dsl.PipelineTask, policy: Policy) -> None:
    """Say where the task's pod may run and how its images are fetched."""
    for label, value in policy.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in policy.tolerations:
        given = {name: value for name, value in vars(toleration).items() if value}
        kubernetes.add_toleration(task, **given)
    if policy.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=policy.shared_memory)
    if policy.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(policy.image_pull_secrets))


def _describe(task: dsl.PipelineTask, policy: Policy) -> None:
    """Label the task's pod."""
    labels = {
        "app.kubernetes.io/name": "longtail",
        "app.kubernetes.io/component": task.component_spec.name,
        "app.kubernetes.io/part-of": "longtail",
        "app.kubernetes.io/managed-by": "kubeflow-pipelines",
        "longtail/step": task.component_spec.name.replace("-", "_"),
    }
    for label, value in (labels | policy.labels).items():
        kubernetes.add_pod_label(task, label, value)


def _provide(task: dsl.PipelineTask, policy: Policy) -> None:
    """Give the task's container its variables, those of Secrets and of the pod by reference."""
    task.set_env_variable(IMAGE, task.container_spec.image)
    for name, value in policy.environment.items():
        task.set_env_variable(name, value)
    for secret in policy.secrets:
        keys = {key: variable for variable, key in secret.environment.items()}
        kubernetes.use_secret_as_env(task, secret.name, keys, optional=secret.optional)
    if policy.certificates.config_map:
        kubernetes.use_config_map_as_volume(task, policy.certificates.config_map, CERTIFICATES)
        for name in _BUNDLE_VARIABLES:
            task.set_env_variable(name, f"{CERTIFICATES}/{policy.certificates.key}")
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
