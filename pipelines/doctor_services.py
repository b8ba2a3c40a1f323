"""What `longtail doctor` asks of servers: tracking, artifacts, S3, Kubeflow, and the time that they have."""

import argparse
import os
import re
import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from longtail.errors import InputError
from longtail.storage.client import connect as connect_store
from longtail.storage.client import guard, split_url
from longtail.tracking.probe import check_artifacts, server_version
from longtail.tracking.redaction import redact
from longtail.tracking.run import check_tracking_server, tracking_uri
from pipelines.doctor_finding import NOT_SET, NOTE, OK, WRONG, Finding
from pipelines.kubeflow import CERTIFICATES, HOST, connect

OLDEST_MLFLOW = (3, 14)
"""Earlier servers have known holes, and load models through pickle."""
SECONDS_NOTED, SECONDS_REFUSED = 30, 15 * 60
"""S3 refuses requests that were signed a quarter of an hour before or after its own time."""


def tracking(arguments: argparse.Namespace) -> Finding:
    """Return whether the tracking server answers, lets us in and is new enough."""
    uri = tracking_uri()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return Finding(NOT_SET, f"MLFLOW_TRACKING_URI: runs of this machine go to {uri}")
    check_tracking_server(uri)
    shown = str(redact(uri))
    if not uri.startswith("http"):
        return Finding(OK, shown)
    version = server_version()
    match = re.match(r"(\d+)\.(\d+)", version)
    if match and (int(match[1]), int(match[2])) < OLDEST_MLFLOW:
        oldest = ".".join(map(str, OLDEST_MLFLOW))
        raise InputError(f"{shown} is MLflow {version}: {oldest} or newer is needed, upgrade the server")
    return Finding(OK, f"MLflow {version} at {shown}")


def artifacts(arguments: argparse.Namespace) -> Finding:
    """Return whether an artifact of a run can be written through the tracking server and read back."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return Finding(NOT_SET, "MLFLOW_TRACKING_URI: artifacts of runs go to files beside it")
    check_tracking_server(tracking_uri())
    check_artifacts()
    return Finding(OK, "written, read back and deleted")


def s3(arguments: argparse.Namespace) -> Finding:
    """Return whether an object can be written, read and deleted."""
    url = arguments.s3 or os.environ.get("LONGTAIL_CHECKPOINTS", "")
    if not url.startswith("s3://") and not arguments.s3:
        return Finding(NOT_SET, "no place: give --s3 s3://BUCKET/PREFIX or set LONGTAIL_CHECKPOINTS to one")
    bucket, prefix = split_url(url, "--s3" if arguments.s3 else "LONGTAIL_CHECKPOINTS")
    key = f"{prefix}/longtail-doctor-{uuid.uuid4().hex}".lstrip("/")
    client, content = connect_store(url), uuid.uuid4().bytes

    def asked(operation: str, **options: object) -> dict[str, object]:
        function = getattr(client, operation)
        answer: dict[str, object] = guard(
            lambda: function(Bucket=bucket, Key=key, **options), client, f"{operation} {url}", patient=False
        )
        return answer

    asked("put_object", Body=content)
    try:
        body = asked("get_object")["Body"]
        if body.read() != content:
            raise InputError(f"{url} gives back another content than was written: check the store")
    finally:
        asked("delete_object")
    return Finding(OK, f"written, read back and deleted in {url}")


def kubeflow(arguments: argparse.Namespace) -> Finding:
    """Return whether Kubeflow Pipelines answers, is new enough and lets us see its runs."""
    if not (arguments.host or os.environ.get(HOST)):
        return Finding(NOT_SET, f"no server: give --host or set {HOST}")
    server = connect(arguments)
    server.call(server.runs.run_service_list_runs, page_size=1, namespace=server.namespace)
    if not server.version:
        return Finding(NOTE, f"{server.host} lets us in, but does not tell its version: 2.17 or newer is needed")
    return Finding(OK, f"Kubeflow Pipelines {server.version} at {server.host}")


def clock(arguments: argparse.Namespace) -> Finding:
    """Return how far this machine's time is from that of the servers that are named."""
    worst = None
    for url, certificates in _addresses(arguments).items():
        difference = _difference(url, certificates)
        if difference is not None and (worst is None or abs(difference) > abs(worst[0])):
            worst = (difference, str(redact(url)))
    if worst is None:
        return Finding(NOT_SET, "no server that tells the time")
    seconds, url = worst
    if abs(seconds) <= SECONDS_NOTED:
        return Finding(OK, f"at most {SECONDS_NOTED} s from the servers'")
    way = "behind" if seconds > 0 else "ahead of"
    message = f"{abs(seconds):.0f} s {way} {url}: set it by NTP; S3 refuses signatures from {SECONDS_REFUSED} s on"
    return Finding(NOTE if abs(seconds) < SECONDS_REFUSED else WRONG, message)


def _addresses(arguments: argparse.Namespace) -> dict[str, str | bool]:
    """Return every server with an address, and the certificates that it is trusted by."""
    named = {
        os.environ.get("MLFLOW_TRACKING_URI", ""): os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", ""),
        os.environ.get("AWS_ENDPOINT_URL", ""): os.environ.get("AWS_CA_BUNDLE", ""),
        arguments.host or os.environ.get(HOST, ""): arguments.ca or os.environ.get(CERTIFICATES, ""),
    }
    return {url: bundle or True for url, bundle in named.items() if url.startswith("http")}


def _difference(url: str, certificates: str | bool) -> float | None:
    """Return how many seconds a server's time is after ours; None if it does not tell."""
    import requests

    try:
        date = requests.head(url, timeout=5, verify=certificates, allow_redirects=False).headers["Date"]
        return (parsedate_to_datetime(date).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    except (requests.RequestException, OSError, KeyError, ValueError):
        return None
