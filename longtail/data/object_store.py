"""Files in an S3 store: listed, and copied once into the cache folder by their ETag.

Address and credentials come from the usual variables (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...).
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from longtail.data.cache import cache_folder
from longtail.errors import InputError

Result = TypeVar("Result")

ATTEMPTS = 3
CONNECT_SECONDS = 5
READ_SECONDS = 30
BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class StoredObject:
    """One object of a bucket, as it was when it was listed."""

    endpoint: str
    bucket: str
    key: str
    etag: str
    size: int


def is_url(path: str) -> bool:
    """Return whether a path is an address in an object store."""
    return path.startswith("s3://")


def list_objects(url: str, folders: Sequence[str]) -> dict[str, StoredObject]:
    """Return the objects that lie directly in some folders, by folder and file name.

    Args:
        url: `s3://bucket/prefix`.
        folders: Folders under that prefix, such as `data/`, or nothing for the prefix itself.

    Raises:
        InputError: If the store cannot be reached, refuses access or has no such bucket.
    """
    bucket, prefix = _parse(url)
    client = _client(url)
    start = f"{prefix}/" if prefix else ""

    def pages() -> list[dict[str, Any]]:
        paginator = client.get_paginator("list_objects_v2")
        return [
            entry
            for folder in folders
            for page in paginator.paginate(Bucket=bucket, Prefix=start + folder, Delimiter="/")
            for entry in page.get("Contents", [])
        ]

    endpoint = client.meta.endpoint_url
    return {
        entry["Key"].removeprefix(start): StoredObject(endpoint, bucket, entry["Key"], entry["ETag"], entry["Size"])
        for entry in _guard(pages, client, url)
        if not entry["Key"].endswith("/")
    }


def fetch(objects: Mapping[str, StoredObject]) -> dict[str, Path]:
    """Return local copies of objects, downloading those that are not in the cache folder yet.

    Raises:
        InputError: If the store cannot be reached, or an object changed since it was listed.
    """
    targets = {name: _target(stored) for name, stored in objects.items()}
    missing = [name for name, target in targets.items() if not target.is_file()]
    if missing:
        url = f"s3://{objects[missing[0]].bucket}"
        client = _client(url)
        for name in missing:
            stored, target = objects[name], targets[name]
            _guard(partial(_download, client, stored, target), client, f"{url}/{stored.key}")
    return targets


def _target(stored: StoredObject) -> Path:
    identity = f"{stored.endpoint}\n{stored.bucket}\n{stored.key}\n{stored.etag}\n{stored.size}"
    name = stored.key.rpartition("/")[2]
    return cache_folder() / "objects" / hashlib.sha256(identity.encode()).hexdigest() / name


def _download(client: Any, stored: StoredObject, target: Path) -> None:
    """Copy an object beside its target and rename it; a connection that breaks midway is tried again."""
    from botocore.exceptions import ConnectionError as BrokenConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                body = client.get_object(Bucket=stored.bucket, Key=stored.key, IfMatch=stored.etag)["Body"]
                for block in body.iter_chunks(BLOCK_BYTES):
                    file.write(block)
            os.replace(temporary, target)
            return
        except (BrokenConnection, HTTPClientError, IncompleteReadError):
            if attempt == ATTEMPTS - 1:
                raise
        finally:
            Path(temporary).unlink(missing_ok=True)


def _parse(url: str) -> tuple[str, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.\-_]*", bucket):
        # Not repeated in the message: whoever writes user:password@ there should not find it in a log.
        raise InputError("data.path is not s3://BUCKET/PREFIX with a plain bucket name; set AWS_* variables for keys")
    return bucket, prefix.rstrip("/")


def _client(url: str) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    try:
        return boto3.session.Session().client("s3", config=settings)
    except (BotoCoreError, ValueError) as error:
        raise InputError(f"{url}: no S3 client ({type(error).__name__}): check the AWS_* variables") from None


def _guard(call: Callable[[], Result], client: Any, url: str) -> Result:
    """Return the call's result, or raise one line that repeats no header, key or signature."""
    from botocore.exceptions import BotoCoreError, ClientError

    address = urlsplit(client.meta.endpoint_url)
    where = f"{url} at {address.hostname}" + (f":{address.port}" if address.port else "")
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown error")
        raise InputError(f"{where}: the store answered {code}; check bucket, key, AWS_* credentials") from None
    except OSError as error:
        raise InputError(f"{url} cannot be copied to {cache_folder()} ({error.strerror}): set XDG_CACHE_HOME") from None
    except BotoCoreError as error:
        raise InputError(f"{where}: {type(error).__name__}; check AWS_ENDPOINT_URL and AWS_* credentials") from None
