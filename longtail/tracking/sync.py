"""Runs that were recorded on disk while the tracking server was away, sent to it afterwards.

Sent twice, a run is what it is sent once: a sending that was cut off is simply begun again.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from longtail.storage.client import Download, connect, download, guard, is_url, split_url
from longtail.tracking.attempts import KEY_TAG, create_run
from longtail.tracking.identity import OFFLINE_TAG, PARENT_TAG, named_experiment
from longtail.tracking.model import publish
from longtail.tracking.offline import IDENTITY, Belonging, hold, stores_folder
from longtail.tracking.recording import log_metric_entries
from longtail.tracking.redaction import redact
from longtail.tracking.server import check_tracking_server
from longtail.tracking.server import connect as connect_tracking

_RUNNING = "RUNNING"


@dataclass(frozen=True)
class Sent:
    """What became of one store.

    Attributes:
        name: The run's name.
        run_id: Its id on the server; empty if it was not sent.
        reason: Why not.
    """

    name: str
    run_id: str
    reason: str = ""


def send_all(uri: str, place: str = "") -> list[Sent]:
    """Send every run that was recorded on disk, oldest first, and delete what was sent.

    Args:
        uri: The tracking server.
        place: `s3://` address whose `offline/` holds more stores, as LONGTAIL_CHECKPOINTS has; empty for none.

    Returns:
        What became of each.

    Raises:
        InputError: If the tracking server or the store of objects cannot be used.
    """
    check_tracking_server(uri)
    sent = [_send(store, uri) for store in _by_age(stores_folder())]
    return sent + (_send_from_store(uri, place) if is_url(place) else [])


def _by_age(folder: Path) -> list[Path]:
    """Return the stores in a folder, oldest first, so that a run comes before those that refer to it."""
    stores = [path.parent for path in folder.glob(f"*/{IDENTITY}")]
    return sorted(stores, key=lambda store: Belonging.read(store).identity.started)


def _send_from_store(uri: str, place: str) -> list[Sent]:
    bucket, prefix = split_url(place, "the address")
    client, start = connect(place), f"{prefix}/offline/".lstrip("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
    keys = guard(lambda: [entry["Key"] for page in pages for entry in page.get("Contents", [])], client, place)
    sent = []
    with tempfile.TemporaryDirectory() as folder:
        targets = {key: Path(folder) / key.removeprefix(start) for key in keys}
        for target in targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
        guard(lambda: download(client, bucket, [Download(*pair) for pair in targets.items()]), client, place)
        for store in _by_age(Path(folder)):
            sent.append(_send(store, uri))
            if sent[-1].run_id:
                own = [key for key in keys if key.startswith(f"{start}{store.name}/")]
                for key in sorted(own, key=lambda key: not key.endswith(f"/{IDENTITY}")):  # it goes first
                    guard(partial(client.delete_object, Bucket=bucket, Key=key), client, place)
    return sent


def _send(store: Path, uri: str) -> Sent:
    """Return what became of one store: it is sent and deleted, or still written to, or the server refuses it."""
    from mlflow.exceptions import MlflowException

    belonging = Belonging.read(store)
    name = belonging.identity.name or "run"
    lock = hold(store)
    if lock is None:
        return Sent(name, "", f"it is still being recorded in {store}")
    with lock:
        try:
            run_id = _Sending(store, belonging, connect_tracking(uri), uri).send()
        except (MlflowException, OSError) as error:
            reason = " ".join(str(redact(str(error))).split())[:300]
            return Sent(name, "", f"{reason}; it stays in {store}")
        shutil.rmtree(store)
    return Sent(name, run_id)


class _Sending:
    """One store on its way to the server."""

    def __init__(self, store: Path, belonging: Belonging, client: Any, uri: str) -> None:
        self._source = connect_tracking(f"sqlite:///{store / 'mlflow.db'}")
        self._store, self._belonging, self._client, self._uri = store, belonging, client, uri
        self._known: dict[str, str] = {}  # id on the server by id in the store

    def send(self) -> str:
        """Return the id that the store's own run has on the server."""
        own = self._belonging
        experiment = own.experiment_id or named_experiment(self._client, self._uri, own.experiment)
        target = own.identity.locate(self._client, experiment)
        self._known[own.run_id] = target
        first = self._source.get_run(own.run_id)
        self._copy(first, target)
        for run in self._others(first):
            key, parent = run.data.tags[KEY_TAG], run.data.tags.get(PARENT_TAG, "")
            tags = {PARENT_TAG: self._known.get(parent, parent)} if parent else {}
            child = create_run(
                self._client, experiment, key, name=run.info.run_name, tags=tags, started=run.info.start_time
            )
            self._known[run.info.run_id] = child
            self._copy(run, child)
            self._end(run, child)
        if own.ends:
            self._end(first, target)
        return target

    def _others(self, first: Any) -> list[Any]:
        """Return the store's further runs, such as children for steps from the cache, oldest first."""
        runs = self._source.search_runs([first.info.experiment_id], order_by=["attributes.start_time ASC"])
        return [run for run in runs if run.info.run_id != first.info.run_id]

    def _copy(self, run: Any, target: str) -> None:
        """Copy everything a run holds but how it ended."""
        from mlflow.entities import Param, RunTag

        tags = {
            name: self._known.get(value, value) for name, value in run.data.tags.items() if not _is_set_by_mlflow(name)
        } | {OFFLINE_TAG: run.info.run_id}
        self._client.log_batch(
            target,
            params=[Param(name, value) for name, value in run.data.params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        for name in run.data.metrics:
            log_metric_entries(self._client, target, self._source.get_metric_history(run.info.run_id, name))
        if run.inputs and run.inputs.dataset_inputs:
            self._client.log_inputs(target, run.inputs.dataset_inputs)
        files = self._moved(run.info.artifact_uri)
        if files.is_dir() and any(files.iterdir()):
            self._client.log_artifacts(target, str(files))
        self._send_models(run, target)

    def _send_models(self, run: Any, target: str) -> None:
        experiment = self._client.get_run(target).info.experiment_id
        own = f"source_run_id = '{run.info.run_id}'"
        for model in self._source.search_logged_models([run.info.experiment_id], own):
            if model.status == "READY":
                publish(self._client, target, experiment, self._moved(model.artifact_location), model.name)

    def _moved(self, uri: str) -> Path:
        """Return a folder of the store where the store lies now; its database has the path of the first place."""
        _, _, inside = unquote(urlsplit(uri).path).partition(f"/{self._store.name}/")
        return self._store / inside

    def _end(self, run: Any, target: str) -> None:
        """End a run as it ended on disk; one that never did was killed."""
        status = "KILLED" if run.info.status == _RUNNING else run.info.status
        self._client.set_terminated(target, status, run.info.end_time)


def _is_set_by_mlflow(name: str) -> bool:
    """Return whether a tag belongs to a run's place: who made it, its name, its parent, its key."""
    return name in {KEY_TAG, PARENT_TAG} or (name.startswith("mlflow.") and name != "mlflow.note.content")
