"""Where a run goes on when the tracking server is lost: an MLflow store of its own on disk, which is sent later.

A store is a folder with an SQLite database, the files, and `identity.json`, which says which run of the server it
belongs to. It lies where LONGTAIL_CHECKPOINTS says, if that is a folder, and else at home; if that is an `s3://`
address, the store is put there when the run ends, as the pod and its disk may go.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from longtail.artifacts import read_json, write_json
from longtail.errors import InputError
from longtail.locks import exclusive
from longtail.storage.client import connect as connect_store
from longtail.storage.client import guard, is_url, split_url, upload
from longtail.tracking.attempts import create_run
from longtail.tracking.identity import Identity, named_experiment
from longtail.tracking.server import connect, durable_place, home

IDENTITY, LOCK = "identity.json", "lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Belonging:
    """Which run of the server a store belongs to.

    Attributes:
        identity: The run.
        ends: Whether the run ends with this process.
        experiment_id: Where the run is, if that is known; else `experiment` names it.
        experiment: Name of the experiment.
        run_id: The run's id in the store itself.
    """

    identity: Identity
    ends: bool
    experiment_id: str
    experiment: str
    run_id: str = ""

    @classmethod
    def read(cls, store: Path) -> "Belonging":
        """Return what a store says of itself.

        Raises:
            InputError: If it says nothing, or what is no identity.
        """
        values = read_json(store / IDENTITY)
        try:
            return cls(**{**values, "identity": Identity(**values["identity"])})
        except (TypeError, KeyError):
            raise InputError(f"{store / IDENTITY} names no run: delete {store} to give its run up") from None


class OfflineStore:
    """A run's store, held by this process until it ends.

    Attributes:
        path: Its folder.
        client: An `MlflowClient` of it.
        run_id: The run's id in it.
        experiment_id: The experiment's id in it.
    """

    def __init__(self, belonging: Belonging) -> None:
        self.path = stores_folder() / uuid.uuid4().hex
        self.path.mkdir(parents=True)
        self._lock = (self.path / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        shutil.copyfile(_empty_database(), self.path / "mlflow.db")
        uri = f"sqlite:///{self.path / 'mlflow.db'}"
        self.client = connect(uri)
        self.experiment_id = named_experiment(self.client, uri, belonging.experiment)
        name = belonging.identity.name or "run"
        self.run_id = create_run(self.client, self.experiment_id, uuid.uuid4().hex, name=name)
        write_json(self.path / IDENTITY, asdict(replace(belonging, run_id=self.run_id)))

    def close(self) -> None:
        """Let go of the ended run's store, and put it under LONGTAIL_CHECKPOINTS if that is an `s3://` address."""
        self._lock.close()
        place = durable_place()
        if not is_url(place):
            return
        bucket, prefix = split_url(place, "LONGTAIL_CHECKPOINTS")
        client = connect_store(place)
        files = sorted(file for file in self.path.rglob("*") if file.is_file() and file.name != IDENTITY)
        keys = [(file, f"{prefix}/offline/{self.path.name}/{file.relative_to(self.path).as_posix()}") for file in files]
        last = (self.path / IDENTITY, f"{prefix}/offline/{self.path.name}/{IDENTITY}")
        try:
            guard(lambda: upload(client, bucket, keys), client, place)
            guard(lambda: upload(client, bucket, [last]), client, place)
        except InputError as error:
            log.warning("%s; what was recorded is kept in %s", error, self.path)
            return
        shutil.rmtree(self.path)


def _empty_database() -> Path:
    """Return a database with MLflow's tables, which take seconds to make, for stores to start from."""
    import mlflow

    file = stores_folder() / f"empty-{mlflow.__version__}.db"
    with exclusive(file):
        if not file.is_file():
            with tempfile.TemporaryDirectory(dir=file.parent) as folder:
                new = Path(folder) / file.name
                connect(f"sqlite:///{new}").search_experiments()
                os.replace(new, file)
    return file


def stores_folder() -> Path:
    """Return the folder of the stores on this machine."""
    place = durable_place()
    return (home() if not place or is_url(place) else Path(place).absolute()) / "offline"


def hold(store: Path) -> TextIO | None:
    """Return a handle that keeps other processes off a store while it is open; None if one has it."""
    handle = (store / LOCK).open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def belonging(identity: Identity, *, ends: bool) -> Belonging:
    """Return what a store of this process's run would say of itself, without asking the server."""
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "longtail"
    return Belonging(replace(identity, started=int(time.time() * 1000)), ends, experiment_id, name)
