"""Copies of one checkpoint in an S3 store, uploaded beside the work, for a process on another machine to go on from.

A copy lies at `<url>/0` or `<url>/1` in turn, so that the one before the newest is always there; an object of S3 is
replaced whole or not at all. Each carries how far it is and its SHA-256. Several processes may have the same address:
what they write are equal steps of the same work, and none replaces a copy that is further than its own.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from longtail.artifacts import sha256_file
from longtail.storage.client import (
    Download,
    UnreachableError,
    connect,
    download,
    guard,
    split_url,
    upload,
)

SLOTS = ("0", "1")

log = logging.getLogger(__name__)

Progress = Sequence[int]
"""How far a copy is, such as (epoch, step); compared from left to right."""


@dataclass(frozen=True)
class _Copy:
    """What is in one slot of the store; `progress` is empty if it cannot be told."""

    slot: str
    progress: list[int]
    sha256: str = ""


class Mirror:
    """Copies of a file in a store. While it is open, files are uploaded in a thread of its own.

    Args:
        url: `s3://bucket/prefix`, of this file alone.

    Raises:
        InputError: If the address is malformed, or the variables make no client.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._bucket, self._prefix = split_url(self.url, "the address of checkpoints")
        self._client = connect(self.url)
        self._lock = threading.Lock()
        self._waiting: tuple[Path, list[int]] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._upload: Future[None] | None = None
        self._spoilt: set[str] = set()
        self._warned = False

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the newest file is uploaded, or has failed to be."""
        self._pool.shutdown(wait=True)

    def further(self, progress: Progress, folder: Path) -> Iterator[Path]:
        """Yield copies that are further than some progress, the furthest first.

        A store that does not answer is waited for as long as for any work, and then done without.

        Args:
            progress: How far the file is that is here; empty for none.
            folder: Where each copy is written, under the same name.

        Raises:
            InputError: If the store refuses, as for a wrong bucket or key.
        """
        target = folder / f".{self._prefix.rpartition('/')[2]}.fetched"
        try:
            copies = guard(self._listed, self._client, self.url)
            for copy in sorted(copies, key=lambda copy: copy.progress, reverse=True):
                if copy.progress <= list(progress):
                    return
                guard(partial(self._get, copy, target), self._client, self.url)
                if sha256_file(target) == copy.sha256:
                    yield target
                else:
                    log.warning("the checkpoint %s/%s is damaged: trying the one before it", self.url, copy.slot)
                self._spoilt.add(copy.slot)  # whoever took it does not come back
        except UnreachableError as error:
            log.warning("%s: going on without the checkpoints there", error)
        finally:
            target.unlink(missing_ok=True)

    def offer(self, path: Path, progress: Progress) -> None:
        """Upload a file soon, unless a newer one is offered before its turn comes; failures are logged.

        Args:
            path: File to upload; it may be replaced, but not written to, as soon as this returns.
            progress: How far it is.
        """
        snapshot = path.with_name(f".{path.name}.offered")
        with self._lock:
            snapshot.unlink(missing_ok=True)
            _link(path, snapshot)
            self._waiting = (snapshot, list(progress))
            if self._upload is None or self._upload.done():
                self._upload = self._pool.submit(self._work)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            path, progress = taken
            try:
                # Without patience, as the process may be about to be killed.
                guard(partial(self._put, path, progress), self._client, self.url, patient=False)
                self._warned = False
            except Exception as error:
                if not self._warned:
                    log.warning("a checkpoint is not in the store: %s; trying again with the next one", error)
                self._warned = True
            finally:
                path.unlink(missing_ok=True)

    def _take(self) -> tuple[Path, list[int]] | None:
        with self._lock:
            if self._waiting is None:
                self._upload = None
                return None
            (path, progress), self._waiting = self._waiting, None
            return path.rename(path.with_suffix(".uploading")), progress

    def _put(self, path: Path, progress: list[int]) -> None:
        copies = [copy for copy in self._listed() if copy.slot not in self._spoilt]
        if any(copy.progress > progress for copy in copies):
            return
        newest = max(copies, key=lambda copy: copy.progress, default=None)
        slot = next(slot for slot in SLOTS if newest is None or slot != newest.slot)
        metadata = {"progress": json.dumps(progress), "sha256": sha256_file(path)}
        key = f"{self._prefix}/{slot}"
        upload(self._client, self._bucket, [(path, key)], Metadata=metadata)
        self._spoilt.discard(slot)

    def _listed(self) -> list[_Copy]:
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}/")
        keys = {entry["Key"] for entry in listed.get("Contents", [])}
        return [self._look(slot) for slot in SLOTS if f"{self._prefix}/{slot}" in keys]

    def _look(self, slot: str) -> _Copy:
        found = self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}/{slot}").get("Metadata", {})
        try:
            return _Copy(slot, [int(part) for part in json.loads(found["progress"])], found["sha256"])
        except (KeyError, ValueError, TypeError):
            return _Copy(slot, [])  # written by somebody else

    def _get(self, copy: _Copy, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        download(self._client, self._bucket, [Download(f"{self._prefix}/{copy.slot}", target)])


def _link(path: Path, target: Path) -> None:
    """Give a file a second name, so that replacing the first one keeps it; copy it where that cannot be done."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
