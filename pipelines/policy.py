"""What each task may use and how it fails: all of a run's cost in one table."""

from dataclasses import dataclass

from kfp import dsl, kubernetes


@dataclass(frozen=True)
class Policy:
    """Resources, retries and time limit of a task.

    Attributes:
        cpu: Requested and allowed processors.
        memory: Requested and allowed memory.
        retries: Attempts after the first; every step is idempotent and training resumes from its checkpoint.
        hours: Time limit.
    """

    cpu: str
    memory: str
    retries: int = 2
    hours: int = 1


POLICY = {
    "data_imbalancing": Policy("2", "4G"),
    "backbone_training": Policy("2", "8G", retries=5, hours=24),
    "feature_extraction": Policy("2", "4G"),
    "calibrated_sampling": Policy("2", "8G"),
    "classifier_retraining": Policy("2", "8G"),
    "hessian_analysis": Policy("2", "16G", hours=6),
    "evaluation": Policy("1", "4G"),
    "head_curvature": Policy("2", "16G", hours=6),
    "sweep_summary": Policy("1", "2G"),
    "feature_import": Policy("2", "4G"),
    "head_training": Policy("2", "8G", hours=6),
}


def apply(task: dsl.PipelineTask, policy: Policy) -> dsl.PipelineTask:
    """Return the task with its policy, and the run's id in its environment, which is outside the cache key."""
    task.set_cpu_request(policy.cpu).set_cpu_limit(policy.cpu)
    task.set_memory_request(policy.memory).set_memory_limit(policy.memory)
    task.set_retry(policy.retries, backoff_duration="30s", backoff_factor=2.0)
    kubernetes.set_timeout(task, seconds=policy.hours * 3600)
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
    return task
