"""Files of data sources in an S3 store: listed, and copied once into the cache folder by their ETag."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail.data.cache import cache_folder, copying
from longtail.storage.client import Download, connect, download, guard, is_url, split_url

__all__ = ["StoredFolder", "StoredObject", "fetch", "is_url", "list_all", "list_folder", "list_objects", "read"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a bucket, as it was when it was listed."""

    endpoint: str
    bucket: str
    key: str
    etag: str
    size: int


class StoredFolder:
    """What lies below an address, as it was when it was listed.

    Attributes:
        files: Objects that lie directly in it, by name.
        folders: Folders that lie directly in it, by name.
        client: Reads them.
    """

    def __init__(self, url: str, client: Any) -> None:
        self.url, self.client = url, client
        self.files: dict[str, StoredObject] = {}
        self.folders: dict[str, StoredFolder] = {}

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "StoredFolder":
        """Return a folder below it, an empty one if there is none."""
        return self.folders.get(name) or StoredFolder(f"{self.url}/{name}", self.client)

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.url.rpartition("/")[2]

    def find(self, path: str) -> StoredObject:
        """Return the object at a path below it, which must be there."""
        first, separator, rest = path.partition("/")
        return self.folders[first].find(rest) if separator else self.files[first]


def list_objects(url: str, folders: Sequence[str]) -> dict[str, StoredObject]:
    """Return the objects that lie directly in some folders, by folder and file name.

    Args:
        url: `s3://bucket/prefix`.
        folders: Folders under that prefix, such as `data/`, or nothing for the prefix itself.

    Raises:
        InputError: If the store cannot be reached, refuses access or has no such bucket.
    """
    return _list(connect(url), url, folders, {"Delimiter": "/"})


def list_folder(url: str) -> StoredFolder:
    """Return everything that lies below an address.

    Args:
        url: `s3://bucket/prefix`.

    Raises:
        InputError: If the store cannot be reached, refuses access or has no such bucket.
    """
    root = StoredFolder(url.rstrip("/"), connect(url))
    for path, stored in list_all(url, root.client).items():
        folder, (*parents, name) = root, path.split("/")
        for parent in parents:
            folder = folder.folders.setdefault(parent, folder / parent)
        folder.files[name] = stored
    return root


def list_all(url: str, client: Any) -> dict[str, StoredObject]:
    """Return all objects below an address by their path there.

    Args:
        url: `s3://bucket/prefix`.
        client: Of the store.

    Raises:
        InputError: If the store cannot be reached, refuses access or has no such bucket.
    """
    return _list(client, url, [""], {})


def read(stored: StoredObject, client: Any, start: int = 0, stop: int | None = None) -> bytes:
    """Return an object's bytes in [start, stop), all of them by default, as they were when it was listed.

    Raises:
        InputError: If the store cannot be reached, or the object changed since it was listed.
    """
    part = {} if stop is None else {"Range": f"bytes={start}-{stop - 1}"}
    wanted = {"Bucket": stored.bucket, "Key": stored.key, "IfMatch": stored.etag, **part}
    url = f"s3://{stored.bucket}/{stored.key}"
    return guard(lambda: bytes(client.get_object(**wanted)["Body"].read()), client, url)


def fetch(objects: Mapping[str, StoredObject], client: Any = None) -> dict[str, Path]:
    """Return local copies of objects, downloading those that are not in the cache folder yet.

    Args:
        objects: All of one bucket.
        client: Of their store; None makes one.

    Raises:
        InputError: If the store cannot be reached, or an object changed since it was listed.
    """
    targets = {name: _target(stored) for name, stored in objects.items()}
    missing = [name for name, target in targets.items() if not target.is_file()]
    if missing:
        client = client or connect(f"s3://{objects[missing[0]].bucket}")
        for name in missing:
            _download(client, objects[name], targets[name])
    return targets


def _list(client: Any, url: str, folders: Sequence[str], parameters: dict[str, str]) -> dict[str, StoredObject]:
    bucket, prefix = split_url(url)
    start = f"{prefix}/" if prefix else ""

    def pages() -> list[dict[str, Any]]:
        paginator = client.get_paginator("list_objects_v2")
        return [
            entry
            for folder in folders
            for page in paginator.paginate(Bucket=bucket, Prefix=start + folder, **parameters)
            for entry in page.get("Contents", [])
        ]

    endpoint = client.meta.endpoint_url
    return {
        entry["Key"].removeprefix(start): StoredObject(endpoint, bucket, entry["Key"], entry["ETag"], entry["Size"])
        for entry in guard(pages, client, url)
        if not entry["Key"].endswith("/")
    }


def _target(stored: StoredObject) -> Path:
    identity = f"{stored.endpoint}\n{stored.bucket}\n{stored.key}\n{stored.etag}\n{stored.size}"
    name = stored.key.rpartition("/")[2]
    return cache_folder() / "objects" / hashlib.sha256(identity.encode()).hexdigest() / name


def _download(client: Any, stored: StoredObject, target: Path) -> None:
    """Copy an object into a folder beside its target and rename it."""
    url = f"s3://{stored.bucket}/{stored.key}"
    with copying(url):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            wanted = Download(stored.key, Path(folder) / target.name, stored.etag, stored.size)
            guard(lambda: download(client, stored.bucket, [wanted]), client, url)
            os.replace(wanted.target, target)
