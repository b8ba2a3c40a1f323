"""Artifacts of steps under `s3://`: copied to this machine to be read, and put there when they are complete.

The manifest is uploaded last and names every file by its SHA-256, so that an artifact in a store is whole or is not
there. An artifact's local copy is kept in the cache folder under the digest of its manifest, hence of all its content.
"""

import hashlib
import json
import mimetypes
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from longtail.artifacts import MANIFEST, sha256_file
from longtail.data.cache import cache_folder, copying
from longtail.errors import InputError
from longtail.storage.client import Download, connect, download, guard, is_missing, is_url, split_url, upload


def local_artifact(place: str) -> Path:
    """Return the folder of an artifact by its path or its `s3://` address.

    Raises:
        InputError: If a store has no finished artifact there, cannot be read, or its files are not the manifest's.
    """
    return _fetched(place.rstrip("/")) if is_url(place) else Path(place)


def check_place(place: str) -> None:
    """Raise `InputError` soon if a place is in a store that cannot be reached or refuses to be listed."""
    if is_url(place):
        bucket, prefix = split_url(place, "the address")
        client = connect(place)
        guard(lambda: client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1), client, place)


def join(place: str, name: str) -> str:
    """Return what is called `name` in a folder or below an address."""
    return f"{place.rstrip('/')}/{name}" if is_url(place) else str(Path(place) / name)


@contextmanager
def local_outputs(places: Mapping[str, str], *, deliver: bool = True) -> Generator[dict[str, Path]]:
    """Yield where a step writes its outputs on this machine; those under `s3://` are put there when the block ends.

    Args:
        places: Path or `s3://` address of each output, by name: a folder with a manifest, or a file.
        deliver: False for all processes of a data-parallel step but the one that writes.

    Yields:
        The path of each. What cannot be uploaded stays there, and the message says where.

    Raises:
        InputError: If a store does not take an output.
    """
    paths = {name: _staged(place) if is_url(place) else Path(place) for name, place in places.items()}
    for name, path in paths.items():
        if is_url(places[name]):
            with copying(places[name]):
                path.parent.mkdir(parents=True, exist_ok=True)
    yield paths
    for name, path in paths.items():
        if deliver and is_url(places[name]) and path.exists():
            _deliver(path, places[name])
            shutil.rmtree(path.parent)


def _staged(url: str) -> Path:
    split_url(url, "the address")
    return cache_folder() / "uploads" / hashlib.sha256(url.encode()).hexdigest() / PurePosixPath(url).name


def _deliver(path: Path, url: str) -> None:
    """Upload a file, or an artifact: its earlier manifest goes first, the new one comes last."""
    bucket, prefix = split_url(url, "the address")
    client = connect(url)

    def put() -> None:
        if path.is_file():
            kind = mimetypes.guess_type(path.name)[0]
            upload(client, bucket, [(path, prefix)], **({"ContentType": kind} if kind else {}))
            return
        client.delete_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST}")
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        upload(client, bucket, [(path / name, f"{prefix}/{name}") for name in names if name != MANIFEST])
        upload(client, bucket, [(path / MANIFEST, f"{prefix}/{MANIFEST}")])

    try:
        guard(put, client, url)
    except InputError as error:
        raise InputError(f"{error}; what was to go there is kept in {path}") from None


def _fetched(url: str) -> Path:
    """Return the local copy of a store's artifact."""
    bucket, prefix = split_url(url, "the address")
    client = connect(url)
    manifest = guard(lambda: _manifest(client, bucket, prefix), client, url)
    if manifest is None:
        raise InputError(
            f"{url} holds no finished artifact (no {MANIFEST}): give the address of one, or write it again"
        )
    target = cache_folder() / "artifacts" / hashlib.sha256(manifest).hexdigest() / PurePosixPath(url).name
    if target.is_dir():
        return target
    files = _files(manifest, url)
    with copying(url):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            work = Path(folder) / target.name
            work.mkdir()
            for name in files:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
            wanted = [Download(f"{prefix}/{name}", work / name) for name in files]
            guard(lambda: download(client, bucket, wanted), client, url)
            for name, digest in files.items():
                if sha256_file(work / name) != digest:
                    raise InputError(f"{url}/{name} does not match its digest {str(digest)[:12]}: write it again")
            (work / MANIFEST).write_bytes(manifest)
            if not target.is_dir():  # unless another process was faster
                os.replace(work, target)
    return target


def _manifest(client: Any, bucket: str, prefix: str) -> bytes | None:
    from botocore.exceptions import ClientError

    try:
        return bytes(client.get_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST}")["Body"].read())
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def _files(manifest: bytes, url: str) -> dict[str, str]:
    """Return the digests of an artifact's files by their names, which lie inside it."""
    try:
        files = json.loads(manifest)["files"]
        inside = all(not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in files)
        if isinstance(files, dict) and inside:
            return files
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{url}/{MANIFEST} lists no files of an artifact with their digests: write it again")
