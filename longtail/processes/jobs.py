"""A group of processes as a job of Kubeflow's trainer: made, or found again by a step that was started anew."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.processes.manifests import KINDS, Kind, manifest
from longtail.retries import patience, persist
from longtail.training.termination import SIGTERM_EXIT, sigterm_flag

POLL_SECONDS = 5.0
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

log = logging.getLogger(__name__)


class Job:
    """A job by name, which belongs to the step that asks for the same work, whatever pod that runs in.

    Args:
        launcher: `trainjob` or `pytorchjob`.
        name: Of the resource.

    Raises:
        InputError: If there is no Kubernetes here.
    """

    def __init__(self, launcher: str, name: str) -> None:
        from kubernetes import client, config

        try:
            config.load_config()
        except config.ConfigException as error:
            raise InputError(
                f"backbone.launcher is {launcher!r}, but no Kubernetes is known here ({error}): use torchrun"
            ) from None
        self._launcher, self._name, self._kind = launcher, name, KINDS[launcher]
        self._client, self._refused = client, client.exceptions.ApiException
        self._objects, self._namespace = client.CustomObjectsApi(), _namespace(config)

    def run(self, processes: int, arguments: list[str], variables: dict[str, str]) -> bool:
        """Return whether the job ended well; it is deleted then, and also on SIGTERM.

        Args:
            processes: Pods.
            arguments: Of Python in each pod.
            variables: More variables of each pod.

        Raises:
            InputError: If the API refuses the job.
            SystemExit: With code 143 after SIGTERM.
        """
        with sigterm_flag() as terminated:
            try:
                self._start(manifest(self._launcher, self._name, processes, arguments, self._own_pod(), variables))
                while (ended := self._ended()) is None and not terminated:
                    time.sleep(POLL_SECONDS)
            finally:
                self._delete()
        if ended is None:
            raise SystemExit(SIGTERM_EXIT)
        return ended

    def _start(self, body: dict[str, Any]) -> None:
        """Make the job, unless one of this name is there that has not failed."""
        while True:
            try:
                self._call(lambda: self._objects.create_namespaced_custom_object(*self._place(), body))
                log.info("%s %s was made", self._kind.name, self._name)
                return
            except _ConflictError:
                if self._ended() is not False:
                    log.info("%s %s is there: going on with it", self._kind.name, self._name)
                    return
            self._delete()
            time.sleep(POLL_SECONDS)  # it is there until its pods are gone

    def _ended(self) -> bool | None:
        """Return True or False once the job ended well or failed, and False if somebody deleted it."""
        try:
            found = self._call(lambda: self._objects.get_namespaced_custom_object(*self._place(), self._name))
        except _MissingError:
            return False
        conditions = found.get("status", {}).get("conditions", [])
        true = {condition["type"] for condition in conditions if condition.get("status") == "True"}
        return True if self._kind.done in true else False if "Failed" in true else None

    def _delete(self) -> None:
        with contextlib.suppress(_MissingError):
            self._call(
                lambda: self._objects.delete_namespaced_custom_object(
                    *self._place(), self._name, propagation_policy="Foreground"
                )
            )

    def _own_pod(self) -> dict[str, Any]:
        name = os.environ.get("KFP_POD_NAME") or os.environ.get("HOSTNAME", "")
        core = self._client.CoreV1Api()
        pod = self._call(lambda: core.read_namespaced_pod(name, self._namespace))
        return dict(core.api_client.sanitize_for_serialization(pod))

    def _place(self) -> tuple[str, str, str, str]:
        kind: Kind = self._kind
        return kind.group, kind.version, self._namespace, kind.plural

    def _call(self, call: Callable[[], Any]) -> Any:
        """Return the call's result, waiting for an API that is away; each call may be carried out twice."""
        from urllib3.exceptions import HTTPError

        def is_outage(error: Exception) -> bool:
            return isinstance(error, HTTPError) or (isinstance(error, self._refused) and (error.status or 0) >= 500)

        def waiting(error: Exception) -> None:
            log.warning("the Kubernetes API is away (%s): trying again", type(error).__name__)

        try:
            return persist(call, is_outage, patience(), waiting)
        except HTTPError as error:
            raise InputError(f"the Kubernetes API cannot be reached ({type(error).__name__})") from None
        except self._refused as error:
            if error.status in (404, 409):
                raise (_MissingError if error.status == 404 else _ConflictError)(self._explained(error)) from None
            raise InputError(self._explained(error)) from None

    def _explained(self, error: Any) -> str:
        return (
            f"Kubernetes answered {error.status} {error.reason} for {self._kind.name} {self._name} in "
            f"{self._namespace}: check that Kubeflow's trainer is installed and that the step's service account may "
            f"create, get and delete {self._kind.plural} and get pods"
        )


class _MissingError(InputError):
    """There is no such object, or no such API."""


class _ConflictError(InputError):
    """There is an object of that name."""


def _namespace(config: Any) -> str:
    if _NAMESPACE.exists():
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    return str(config.list_kube_config_contexts()[1]["context"].get("namespace") or "default")
