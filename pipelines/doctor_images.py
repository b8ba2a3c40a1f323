"""Whether the images that steps run in can be had: from the container engine, or from the registry they name."""

import argparse
from typing import Any

from longtail.errors import InputError
from pipelines.doctor_finding import NOT_SET, OK, WRONG, Finding

_MANIFESTS = ", ".join((
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
))
_TIMEOUT_SECONDS = 10


def images(arguments: argparse.Namespace) -> Finding:
    """Return whether every image that the policy names, or docker/images.json, can be had."""
    from components.images import image
    from pipelines.policy_file import read_installation

    policies = read_installation(arguments.policy).steps.values()
    findings = [_find(reference) for reference in sorted({policy.image or image("cpu") for policy in policies})]
    state = next((state for state in (WRONG, NOT_SET) if state in [finding.state for finding in findings]), OK)
    return Finding(state, "; ".join(finding.message for finding in findings if state in (OK, finding.state)))


def _find(reference: str) -> Finding:
    engine = _engine()
    if engine is not None:
        import docker.errors

        # Podman keeps what was built here under the name of no registry.
        for name in (reference, f"localhost/{reference}"):
            try:
                engine.images.get(name)
                return Finding(OK, f"{reference} is in the container engine")
            except docker.errors.DockerException:
                continue
    host, separator, name = reference.partition("/")
    if not separator or not ("." in host or ":" in host or host == "localhost"):
        where = "not in the container engine" if engine else "no container engine answers here"
        return Finding(
            WRONG if engine else NOT_SET, f"{reference}: {where}, and it names no registry: `make images`, or push it"
        )
    return _ask_registry(host, name, reference)


def _engine() -> Any:
    """Return a client of Docker, or of podman's socket in DOCKER_HOST; None if neither answers."""
    import docker

    try:
        client = docker.from_env(timeout=_TIMEOUT_SECONDS)
        client.ping()
    except docker.errors.DockerException:
        return None
    return client


def _ask_registry(host: str, name: str, reference: str) -> Finding:
    """Return whether a registry has a manifest, which is all that can be asked without its credentials."""
    import requests

    path, _, digest = name.partition("@")
    repository, _, tag = path.partition(":")
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{digest or tag or 'latest'}"
    try:
        answer = requests.head(url, headers={"Accept": _MANIFESTS}, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise InputError(f"{reference}: {host} does not answer ({type(error).__name__}): check the name") from None
    if answer.status_code == 200:
        return Finding(OK, f"{reference} is in its registry")
    if answer.status_code in (401, 403):
        return Finding(
            NOT_SET,
            f"{reference}: {host} wants a login; name one in image_pull_secrets, and `docker pull` shows the rest",
        )
    return Finding(
        WRONG, f"{reference}: {host} does not have it ({answer.status_code}): push it, or correct the policy"
    )
