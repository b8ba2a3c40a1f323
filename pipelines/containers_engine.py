"""Whether containers can run here what runs here: the engine, the image and its code, mounts and network."""

import contextlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import ImageNotFound

from longtail.config import PipelineConfig
from longtail.data.cache import cache_folder
from longtail.errors import InputError
from longtail.storage.client import is_url
from longtail.tracking.run import home, tracking_uri
from longtail.tracking.server import sqlite_file
from pipelines.code_digest import code_digest
from pipelines.containers import (
    BUNDLES,
    FAILURES,
    HOME_LABEL,
    NETWORK,
    SUPERVISOR_LABEL,
    Containers,
    Engine,
    end,
    find,
    home_digest,
    reason,
)

USER = "10001:10001"
"""The images' user, which root's containers run as."""

_DIGESTS = (
    "import json, sys; from pipelines.code_digest import code_digest; "
    "print(json.dumps({step: code_digest(step) for step in sys.argv[1:]}))"
)


def connect(config: PipelineConfig, image: str, steps: Sequence[str]) -> Containers:
    """Return the containers for a run, after looking whether they can run the code that is here.

    Args:
        config: The run's settings; the files and folders that they name are mounted.
        image: The steps' image.
        steps: Names of all steps.

    Raises:
        InputError: If no engine answers, the image is missing or holds other code, or data cannot be read.
    """
    try:
        with contextlib.closing(docker.from_env()) as client:
            engine = _engine(client.info(), client.version())
            find(client, image)
            _end_orphans(client)
    except ImageNotFound:
        raise InputError(f"there is no image {image}: run `make images`, or pull it") from None
    except FAILURES as error:
        address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        raise InputError(
            f"no Docker API answers at {address} ({reason(error)}): start Docker, or `podman system service`, and set "
            "DOCKER_HOST to its socket"
        ) from None
    network = _network(config)
    read_only = _read_only(config)
    _check_readable(read_only, engine)
    containers = Containers(engine, read_only, _writable(network), network)
    _check_code(containers, image, steps)
    return containers


def _engine(info: Mapping[str, Any], version: Mapping[str, Any]) -> Engine:
    rootless = "name=rootless" in info.get("SecurityOptions", [])
    podman = any(component["Name"] == "Podman Engine" for component in version.get("Components", []))
    if rootless and not podman:
        raise InputError("rootless Docker lets only its root write to a mounted folder: use Docker, or rootless podman")
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else USER
    return Engine(int(info["NCPU"]), user, "keep-id" if rootless else "")


def _network(config: PipelineConfig) -> str:
    """Return `none`, unless MLflow or S3 are servers; the machine's own network if they are on this machine."""
    places = (config.data.path, config.table.path, os.environ.get("LONGTAIL_CHECKPOINTS", ""))
    if sqlite_file(tracking_uri()) and not any(map(is_url, places)):
        return "none"
    servers = (tracking_uri(), os.environ.get("AWS_ENDPOINT_URL", ""), os.environ.get("AWS_ENDPOINT_URL_S3", ""))
    here = any(urlsplit(server).hostname in {"localhost", "127.0.0.1", "::1"} for server in servers)
    return os.environ.get(NETWORK) or ("host" if here else "bridge")


def _read_only(config: PipelineConfig) -> list[Path]:
    """Return the files and folders that the steps read."""
    given = [config.data.path, config.table.path, config.backbone.weights, *map(os.environ.get, BUNDLES)]
    return [Path(path).absolute() for path in given if path and not is_url(path) and Path(path).exists()]


def _check_readable(paths: Sequence[Path], engine: Engine) -> None:
    for path in paths if os.getuid() == 0 else ():
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        if path.stat().st_mode & wanted != wanted:
            user = engine.user.partition(":")[0]
            raise InputError(f"{path} cannot be read by user {user} of the containers: run chmod -R o+rX {path}")


def _writable(network: str) -> list[Path]:
    """Return the folders that the steps write to: the home, the tracking database's, that of copies from S3."""
    folders = [home()]
    if (file := sqlite_file(tracking_uri())) and not file.is_relative_to(home()):
        folders.append(file.parent)
    if network != "none":
        folders.append(cache_folder())
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def _end_orphans(client: docker.DockerClient) -> None:
    """End containers of this home whose process is gone: they would write to the same folders."""
    for container in client.containers.list(filters={"label": f"{HOME_LABEL}={home_digest()}"}):
        if not Path(f"/proc/{container.labels.get(SUPERVISOR_LABEL)}").exists():
            end(container)


def _check_code(containers: Containers, image: str, steps: Sequence[str]) -> None:
    """Check that the image would compute what this installation would, as the cache takes them for the same."""
    output: list[str] = []
    command = ["python3", "-c", _DIGESTS, *steps]
    try:
        ended = containers.run(image, command, steps[0], {}, write=output.append)
    except FAILURES as error:
        raise InputError(f"{image} cannot run in a container ({reason(error)})") from None
    if ended.code or json.loads("".join(output)) != {step: code_digest(step) for step in steps}:
        raise InputError(f"{image} does not hold the code and libraries that are here: run `make images`")
