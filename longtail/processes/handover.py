"""What a step and the pods of its job give each other, through object storage."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from longtail.artifacts import MANIFEST
from longtail.storage.artifacts import local_artifact, local_outputs
from longtail.storage.client import Download, connect, download, guard, split_url


def give(path: Path, url: str) -> None:
    """Put an artifact at an address, unless a whole one is there: pods may be reading it.

    Args:
        path: Folder of the artifact.
        url: Address that is named by its content.
    """
    if not _keys(f"{url}/{MANIFEST}"):
        with local_outputs({"given": url}) as written:
            shutil.rmtree(written["given"], ignore_errors=True)
            shutil.copytree(path, written["given"])


def take(url: str, path: Path) -> None:
    """Copy an artifact, or a file, from an address to a path, replacing what an earlier attempt left there."""
    if _keys(f"{url}/{MANIFEST}"):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(local_artifact(url), path)
        return
    bucket, key = split_url(url)
    client = connect(url)
    guard(lambda: download(client, bucket, [Download(key, path)]), client, url)


def text(url: str) -> str:
    """Return the text at an address; empty if there is none."""
    if not _keys(url):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        take(url, Path(folder) / "text")
        return (Path(folder) / "text").read_text(encoding="utf-8")


def put_text(url: str, content: str) -> None:
    """Put a text at an address, unless there is one: the first counts."""
    bucket, key = split_url(url)
    client = connect(url)
    if not _keys(url):
        guard(lambda: client.put_object(Bucket=bucket, Key=key, Body=content.encode()), client, url)


def forget(url: str) -> None:
    """Remove what is at an address, and below it."""
    bucket, _ = split_url(url)
    client = connect(url)
    for key in _keys(url):
        guard(lambda key=key: client.delete_object(Bucket=bucket, Key=key), client, url)  # type: ignore[misc]


def _keys(url: str) -> list[str]:
    """Return the keys at an address and below it, at most 1,000."""
    bucket, prefix = split_url(url)
    client = connect(url)
    listed: dict[str, Any] = guard(lambda: client.list_objects_v2(Bucket=bucket, Prefix=prefix), client, url)
    keys = [str(entry["Key"]) for entry in listed.get("Contents", [])]
    return [key for key in keys if key == prefix or key.startswith(f"{prefix}/")]
