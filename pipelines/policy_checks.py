"""Whether the values of a policy mean something to Kubernetes, found out before anything is compiled."""

import re
from typing import Any

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from pipelines.policy import Policy, seconds

_CPU = re.compile(r"(\d+|\d*\.\d+)m?")
_BYTES = re.compile(r"(\d+)([EPTGMK]i?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_IMAGE = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*(:(?P<tag>[\w.-]+))?(?P<digest>@sha256:[0-9a-f]{64})?")
_MOVING_TAGS = {"", "latest", "main", "master", "dev", "nightly", "edge", "stable"}
_KUBEFLOWS_OWN = "KFP_RUN_ID"


def check_policy(policy: Policy, where: str) -> None:
    """Check the policy of a step.

    Args:
        policy: The policy.
        where: Its name, for error messages.

    Raises:
        InputError: If a quantity, duration, name or label is malformed, or a variable holds a secret.
    """
    _match(_CPU, policy.cpu, f"{where}.cpu", "a number of processors such as 2, 0.5 or 500m")
    size = "a number of bytes such as 512Mi, 16Gi or 16G"
    _match(_BYTES, policy.memory, f"{where}.memory", size)
    if policy.shared_memory:
        _match(_BYTES, policy.shared_memory, f"{where}.shared_memory", size)
        if _bytes(policy.shared_memory) >= _bytes(policy.memory):
            raise InputError(
                f"{where}.shared_memory is {policy.shared_memory!r}: it counts as memory, of which there are "
                f"{policy.memory}"
            )
    for name in ("backoff", "backoff_max", "timeout"):
        _check_duration(getattr(policy, name), f"{where}.{name}")
    check_image(policy.image, f"{where}.image")
    if policy.gpu.count:
        _match(_LABEL_KEY, policy.gpu.type, f"{where}.gpu.type", "a resource such as nvidia.com/gpu")
    for group in ("node_selector", "labels"):
        for key, value in getattr(policy, group).items():
            _match(_LABEL_KEY, key, f"{where}.{group}", "keys such as pool or example.com/pool")
            _match(_LABEL_VALUE, value, f"{where}.{group}.{key}", "at most 63 letters, digits, '-', '_' and '.'")
    for name in (*policy.image_pull_secrets, policy.certificates.config_map or "none"):
        _match(_NAME, name, where, "the name of a Kubernetes object")
    _check_tolerations(policy, where)
    _check_variables(policy, where)


def check_run(run: Any) -> None:
    """Check what holds for a run as a whole.

    Raises:
        InputError: If a duration or a name is malformed.
    """
    for name in ("keep", "keep_failed", "timeout"):
        if value := getattr(run, name):
            _check_duration(value, f"run.{name}")
    if run.service_account:
        _match(_NAME, run.service_account, "run.service_account", "the name of a Kubernetes object")


def check_image(reference: str, where: str) -> None:
    """Check that an image is named by a digest or by a tag that does not move; an empty one is.

    Raises:
        InputError: If not.
    """
    if not reference:
        return
    match = _IMAGE.fullmatch(reference)
    if not match:
        raise InputError(f"{where} is {reference!r}: give HOST/NAME@sha256:DIGEST")
    if not match["digest"] and (match["tag"] or "") in _MOVING_TAGS:
        raise InputError(
            f"{where} is {reference!r}: what it names may change, which Kubeflow's cache cannot see; "
            "give HOST/NAME@sha256:DIGEST"
        )


def _check_tolerations(policy: Policy, where: str) -> None:
    for toleration in policy.tolerations:
        if toleration.operator == "Exists" and toleration.value:
            raise InputError(f"{where}.tolerations has value {toleration.value!r}: give operator Equal with a value")
        if toleration.operator == "Equal" and not toleration.key:
            raise InputError(f"{where}.tolerations has no key: operator Equal needs one")


def _check_variables(policy: Policy, where: str) -> None:
    """Check that every variable has one value, and that none of them is a secret in plain sight."""
    for name, value in policy.environment.items():
        if redact({name: value}) != {name: value}:
            raise InputError(
                f"{where}.environment.{name} holds a secret: put it in a Kubernetes Secret, named in secrets"
            )
    names = list(policy.environment)
    for secret in policy.secrets:
        _match(_NAME, secret.name, f"{where}.secrets", "the name of a Kubernetes Secret")
        if not secret.environment or not all(secret.environment.values()):
            raise InputError(f"{where}.secrets: {secret.name} gives no variable; write environment: {{VARIABLE: key}}")
        names += secret.environment
    for name in names:
        _match(_VARIABLE, name, f"{where}.environment", "the name of a variable")
        if name == _KUBEFLOWS_OWN or names.count(name) > 1:
            raise InputError(f"{where}: {name} gets more than one value; give it once")


def _check_duration(value: str, name: str) -> None:
    try:
        positive = seconds(value) > 0
    except ValueError:
        positive = False
    if not positive:
        raise InputError(f"{name} is {value!r}: give a duration such as 90s, 30m, 24h or 7d")


def _bytes(quantity: str) -> int:
    match = _BYTES.fullmatch(quantity)
    assert match is not None
    number, unit = int(match[1]), match[2] or ""
    base = 1024 if unit.endswith("i") else 1000
    return number * base ** (" KMGTPE".index(unit[0]) if unit else 0)


def _match(pattern: re.Pattern[str], value: str, name: str, wanted: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(f"{name} is {value!r}: give {wanted}")
