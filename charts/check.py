"""Print what is wrong with rendered manifests (`helm template … | python charts/check.py`): 1 if anything is.

Kubernetes' own schemas first, for its three newest minor releases; then what they let pass.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Manifest = dict[str, Any]

OWN_POD = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
"""All that anything here may do with Kubernetes' core objects: a training step reads what its pod was given."""
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "part-of", "managed-by")}
_PODS = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN(?!_PATH)|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|AKIA[0-9A-Z]{16}|-----BEGIN")
_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BUILT_IN = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


def problems(manifests: Sequence[Manifest], external: Sequence[str] = ()) -> list[str]:
    """Return one line for each thing that is wrong.

    Args:
        manifests: What `helm template` prints.
        external: Objects that need not be among them, as `Secret/NAME`.
    """
    found = [*_schema(manifests), *_references(manifests, {*external, *_BUILT_IN}), *_network(manifests)]
    found += _selectors(manifests)
    for manifest in manifests:
        rules: list[Callable[[Manifest], Iterator[str]]] = [_object, _role]
        if (pod := pod_of(manifest)) is not None:
            found += [f"{name_of(manifest)}: {text}" for text in _pod(pod, manifest["kind"])]
        found += [f"{name_of(manifest)}: {text}" for rule in rules for text in rule(manifest)]
    return found


def name_of(manifest: Manifest) -> str:
    """Return `Kind/name`."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_of(manifest: Manifest) -> Manifest | None:
    """Return the pod that an object is or makes, with its metadata; None for other kinds."""
    if manifest["kind"] not in _PODS:
        return None
    for key in _PODS[manifest["kind"]]:
        manifest = manifest[key]
    return manifest


def containers_of(pod: Manifest) -> list[Manifest]:
    """Return the containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _schema(manifests: Sequence[Manifest]) -> Iterator[str]:
    import kubernetes_validate
    from kubernetes_validate.utils import all_versions, major_minor

    newest = sorted({major_minor(version) for version in all_versions()}, key=lambda name: int(name.split(".")[1]))[-3:]
    for version in newest:
        for manifest in manifests:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{name_of(manifest)}: Kubernetes {version}: {str(error).splitlines()[0]}"
    names = [(manifest["metadata"].get("namespace"), name_of(manifest)) for manifest in manifests]
    yield from (f"{name}: is there twice" for name in sorted({name for _, name in names if names.count((_, name)) > 1}))


def _object(manifest: Manifest) -> Iterator[str]:
    pod = pod_of(manifest)
    for holder in [manifest] if pod is None else [manifest, pod]:
        if missing := LABELS - holder["metadata"].get("labels", {}).keys():
            yield f"lacks the labels {', '.join(sorted(missing))}"
    if manifest["kind"] == "Secret":
        yield "a chart must not make a Secret"
    if manifest["kind"] == "CronJob":
        for field in ("timeZone", "startingDeadlineSeconds"):
            if not manifest["spec"].get(field):
                yield f"has no {field}"
        if manifest["spec"].get("concurrencyPolicy") != "Forbid":
            yield "may run beside itself: concurrencyPolicy must be Forbid"


def _role(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "ClusterRole":
        yield "rights in all namespaces"
    for rule in manifest.get("rules", []) if manifest["kind"] == "Role" else []:
        everything = "*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if everything or ("" in rule["apiGroups"] and rule != OWN_POD):
            yield f"rights that are too wide: {rule}"


def _pod(pod: Manifest, kind: str) -> Iterator[str]:
    spec = pod["spec"]
    if kind != "Deployment" and spec.get("restartPolicy") not in {"Never", "OnFailure"}:
        yield "restartPolicy must be Never or OnFailure"
    if spec.get("automountServiceAccountToken") is not False:
        yield "mounts a token of Kubernetes"
    context = spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or context.get("runAsUser", 0) < 10000:
        yield "may run as root, or has no numeric user"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in containers_of(pod):
        yield from (f"container {container['name']}: {text}" for text in _container(container, volumes))
    names = [mount["name"] for container in containers_of(pod) for mount in container.get("volumeMounts", [])]
    yield from (f"the volume {name} is not used" for name in sorted(volumes - set(names)))


def _container(container: Manifest, volumes: set[str]) -> Iterator[str]:
    image = container["image"]
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in {"", "latest"}:
        yield f"the image {image} may change: give a digest or a tag"
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain rights"
    if not context.get("readOnlyRootFilesystem"):
        yield "can write to its image"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    yield from _resources(container.get("resources", {}))
    variables = [variable["name"] for variable in container.get("env", [])]
    yield from (f"the variable {name} is there twice" for name in sorted({*variables}) if variables.count(name) > 1)
    for variable in container.get("env", []):
        value = variable.get("value", "")
        if value and (_SECRET_NAME.search(variable["name"]) or _SECRET_VALUE.search(value)):
            yield f"the variable {variable['name']} holds a secret in the clear"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"mounts {mount['name']}, which is no volume"


def _resources(resources: Manifest) -> Iterator[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"requests no {name}"
    if quantity(limits.get("memory", "0")) != quantity(requests.get("memory", "0")):
        yield "its limit of memory is not its request"
    for name in requests.keys() & limits.keys():
        if quantity(requests[name]) > quantity(limits[name]):
            yield f"requests more {name} than its limit"


def quantity(text: str | int | float) -> float:
    """Return an amount such as `250m` or `1.5Gi` as a number.

    Raises:
        ValueError: If it is none.
    """
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no amount: give one such as 250m or 1.5Gi")
    return float(match[1]) * _UNITS[match[2]]


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Return whether a label selector takes labels."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(_expression(rule, labels) for rule in selector.get("matchExpressions", []))


def _expression(rule: Manifest, labels: dict[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values", [])
    answers = {"In": value in values, "NotIn": value not in values, "Exists": value is not None}
    return answers.get(rule["operator"], value is None)


def _pods(manifests: Sequence[Manifest]) -> list[tuple[str, dict[str, str], Manifest]]:
    found = [(name_of(manifest), pod_of(manifest)) for manifest in manifests]
    return [(name, pod["metadata"].get("labels", {}), pod) for name, pod in found if pod is not None]


def _selectors(manifests: Sequence[Manifest]) -> Iterator[str]:
    # Each selector must take the pods it is for, and a service's only those of one object.
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind == "Deployment" and not matches(spec["selector"], spec["template"]["metadata"].get("labels", {})):
            yield f"{name_of(manifest)}: its selector does not take its pods"
        if kind in {"Service", "PodDisruptionBudget"}:
            selector = {"matchLabels": spec["selector"]} if kind == "Service" else spec["selector"]
            taken = [name for name, labels, _ in _pods(manifests) if matches(selector, labels)]
            if len(taken) != 1:
                yield f"{name_of(manifest)}: selects {', '.join(taken) or 'no pods'}"


def _network(manifests: Sequence[Manifest]) -> Iterator[str]:
    # Every pod must be denied both ways by a policy without rules, and have one that names what it may do.
    policies = [manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    for name, labels, _ in _pods(manifests):
        taken = [policy for policy in policies if matches(policy["podSelector"], labels)]
        closed = [policy for policy in taken if not policy.get("ingress") and not policy.get("egress")]
        if not any({"Ingress", "Egress"} <= {*policy["policyTypes"]} for policy in closed):
            yield f"{name}: no NetworkPolicy denies it the network"
        if not any(policy.get("egress") and "matchExpressions" not in policy for policy in taken):
            yield f"{name}: no NetworkPolicy allows it anything"
    for policy in policies:
        for rule in [*(policy.get("ingress") or []), *(policy.get("egress") or [])]:
            if not rule or not rule.get("ports"):
                yield f"a NetworkPolicy allows every port: {policy}"


def _references(manifests: Sequence[Manifest], external: set[str]) -> Iterator[str]:
    known = {name_of(manifest) for manifest in manifests} | external
    for manifest in manifests:
        for wanted in sorted({*_wanted(manifest)} - known):
            yield f"{name_of(manifest)}: {wanted} is neither made nor named as existing"


def _wanted(value: Any) -> Iterator[str]:
    """Yield all objects that a manifest names, as `Kind/name`."""
    named = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap", "configMap": "ConfigMap", "service": "Service"}
    plain = {"secretName": "Secret", "serviceAccountName": "ServiceAccount", "claimName": "PersistentVolumeClaim"}
    if isinstance(value, list):
        for item in value:
            yield from _wanted(item)
    if isinstance(value, dict):
        for key, item in value.items():
            if key in plain:
                yield f"{plain[key]}/{item}"
            elif key in named and isinstance(item, dict) and "name" in item:
                yield f"{named[key]}/{item['name']}"
            elif key == "imagePullSecrets":
                yield from (f"Secret/{secret['name']}" for secret in item)
            elif key in {"roleRef", "subjects"}:
                yield from (f"{named['kind']}/{named['name']}" for named in (item if key == "subjects" else [item]))
            else:
                yield from _wanted(item)


def main() -> int:
    """Return 1 if anything on standard input is wrong; arguments are objects that exist, as `Secret/NAME`."""
    import yaml

    found = problems([manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest], sys.argv[1:])
    print("\n".join(found) or "nothing is wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
