"""Custom resources of Kubeflow's trainer that run a group of processes, one in each pod."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RUNTIME = "LONGTAIL_TRAINING_RUNTIME"
"""Names the cluster's training runtime for a TrainJob."""
_OWN_MOUNTS = ("/etc/longtail/", "/dev/shm")
_OWN_VARIABLES = ("KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID", "LONGTAIL_EVENTS", "LONGTAIL_SUPERVISOR")


@dataclass(frozen=True)
class Kind:
    """A custom resource.

    Attributes:
        group: Of its API.
        version: Of its API.
        plural: Its name in addresses.
        name: Its name in manifests.
        done: Type of the condition that says that it ended well.
    """

    group: str
    version: str
    plural: str
    name: str
    done: str


KINDS = {
    "trainjob": Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob", "Complete"),
    "pytorchjob": Kind("kubeflow.org", "v1", "pytorchjobs", "PyTorchJob", "Succeeded"),
}


def manifest(
    launcher: str,
    name: str,
    processes: int,
    arguments: Sequence[str],
    pod: Mapping[str, Any],
    variables: dict[str, str],
) -> dict[str, Any]:
    """Return the resource that runs Python with the arguments in so many pods like the step's own.

    Args:
        launcher: `trainjob` or `pytorchjob`.
        name: Of the resource.
        processes: How many pods.
        arguments: Of Python.
        pod: The step's own pod, whose image, resources, place and references to Secrets are taken over.
        variables: More variables.
    """
    kind = KINDS[launcher]
    own = _own_container(pod)
    environment = [entry for entry in own.get("env", []) if entry["name"] not in {*_OWN_VARIABLES, *variables}]
    environment += [{"name": key, "value": value} for key, value in variables.items()]
    container = {"image": own["image"], "env": environment}
    if launcher == "trainjob":
        spec = _train_job(container, own, processes, arguments)
    else:
        spec = _pytorch_job(container, own, processes, arguments, pod)
    labels = {"app.kubernetes.io/name": "longtail", "app.kubernetes.io/component": "backbone-training"}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.name, "metadata": metadata, "spec": spec}


def _train_job(
    container: dict[str, Any], own: Mapping[str, Any], processes: int, arguments: Sequence[str]
) -> dict[str, Any]:
    """Return what all releases of TrainJob know; where its pods run is said by the cluster's runtime."""
    trainer = {
        **container,
        "command": ["python", "-m", "torch.distributed.run", *arguments],
        "numNodes": processes,
        "numProcPerNode": 1,
    }
    if own.get("resources"):
        trainer["resourcesPerNode"] = own["resources"]
    return {"runtimeRef": {"name": os.environ.get(RUNTIME) or "torch-distributed"}, "trainer": trainer}


def _pytorch_job(
    container: dict[str, Any],
    own: Mapping[str, Any],
    processes: int,
    arguments: Sequence[str],
    pod: Mapping[str, Any],
) -> dict[str, Any]:
    mounts = [mount for mount in own.get("volumeMounts", []) if mount["mountPath"].startswith(_OWN_MOUNTS)]
    names = {mount["name"] for mount in mounts}
    volumes = [volume for volume in pod["spec"].get("volumes", []) if volume["name"] in names]
    kept = ("serviceAccountName", "nodeSelector", "tolerations", "imagePullSecrets", "securityContext")
    placed = {key: pod["spec"][key] for key in kept if pod["spec"].get(key)}
    limits = {key: own[key] for key in ("resources", "securityContext") if own.get(key)}
    full = {**container, **limits, "name": "pytorch", "command": ["python", *arguments], "volumeMounts": mounts}
    template = {
        "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {**placed, "containers": [full], "volumes": volumes},
    }
    replica = {"restartPolicy": "OnFailure", "template": template}
    replicas = {"Master": {"replicas": 1, **replica}, "Worker": {"replicas": processes - 1, **replica}}
    policy = {"cleanPodPolicy": "All", "backoffLimit": 0}
    return {"nprocPerNode": "1", "runPolicy": policy, "pytorchReplicaSpecs": replicas}


def _own_container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container that the step runs in: Kubeflow calls it `main`."""
    containers: Sequence[Mapping[str, Any]] = pod["spec"]["containers"]
    return next((container for container in containers if container["name"] == "main"), containers[0])
