"""One way to an S3 store: its client, transfers in parts, and errors in one line.

Address, credentials and certificates come from the usual variables (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
`AWS_CA_BUNDLE`, ...) or from the role of the machine or pod. Nothing here sets one of them: a placeholder would hide
the role.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from longtail.errors import InputError
from longtail.retries import persist, work_patience

Result = TypeVar("Result")

ATTEMPTS = 3
CONNECT_SECONDS = 5
READ_SECONDS = 30
CONNECTIONS = 32
PART_BYTES = 16 * 2**20

log = logging.getLogger(__name__)


class UnreachableError(InputError):
    """A store did not answer, or answered that it cannot serve just now."""


@dataclass(frozen=True)
class Download:
    """One object to copy.

    Attributes:
        key: Of the object.
        target: File to write.
        etag: Version that must be read; empty takes the newest.
        size: In bytes, if the version is given.
    """

    key: str
    target: Path
    etag: str = ""
    size: int = 0


def is_url(path: str) -> bool:
    """Return whether a path is an address in an object store."""
    return path.startswith("s3://")


def split_url(url: str, name: str = "data.path") -> tuple[str, str]:
    """Return bucket and prefix, without a slash at its end, of `s3://bucket/prefix`.

    Args:
        url: The address.
        name: What is wrong if it is malformed.

    Raises:
        InputError: If it is malformed; it is not repeated, as user:password@ may stand in it.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not is_url(url) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.\-_]*", bucket):
        raise InputError(f"{name} is not s3://BUCKET/PREFIX with a plain bucket name; set AWS_* variables for keys")
    return bucket, prefix.rstrip("/")


def connect(url: str) -> Any:
    """Return a client of the store; short failures are tried again by itself, after growing random waits.

    Raises:
        InputError: If the variables make no client.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    try:
        return boto3.session.Session().client("s3", config=settings)
    except (BotoCoreError, ValueError) as error:
        raise InputError(f"{url}: no S3 client ({type(error).__name__}): check the AWS_* variables") from None


def guard(call: Callable[[], Result], client: Any, url: str, *, patient: bool = True) -> Result:
    """Return the call's result, waiting for a store that is away if a step is at work in this process.

    Args:
        call: Calls the store; it must not matter if it is carried out twice.
        client: Of the store.
        url: What is read or written, for messages.
        patient: False waits for nothing.

    Raises:
        InputError: If the store refuses, or is away for too long; the message repeats no header, key or signature.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    address = urlsplit(client.meta.endpoint_url)
    where = f"{url} at {address.hostname}" + (f":{address.port}" if address.port else "")
    seconds = work_patience() if patient else 0.0

    def waiting(error: Exception) -> None:
        log.warning("%s: %s; trying again for %.0f s", where, _name(error), seconds)

    try:
        return persist(call, is_outage, seconds, waiting)
    except ClientError as error:
        kind = UnreachableError if is_outage(error) else InputError
        raise kind(f"{where}: the store answered {_name(error)}; check bucket, key, AWS_* credentials") from None
    except S3DownloadFailedError:  # not the version that was asked for
        raise InputError(f"{where} changed while it was read: run again") from None
    except (BotoCoreError, RetriesExceededError) as error:
        kind = UnreachableError if is_outage(error) else InputError
        raise kind(f"{where}: {_name(error)}; check AWS_ENDPOINT_URL and AWS_* credentials") from None


def is_outage(error: Exception) -> bool:
    """Return whether an error of the store may go away by itself: no connection, a broken one, or too much to do."""
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, SSLError
    from botocore.exceptions import ConnectionError as NoConnectionError
    from s3transfer.exceptions import RetriesExceededError

    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status >= 500 or status == 429
    broken = (NoConnectionError, HTTPClientError, IncompleteReadError, RetriesExceededError, UnreachableError)
    return isinstance(error, broken) and not isinstance(error, SSLError)


def is_missing(error: Exception) -> bool:
    """Return whether an error of the store says that there is no such object; a bucket must be there."""
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    return code in {"NoSuchKey", "404", "NotFound"}


def download(client: Any, bucket: str, objects: Sequence[Download]) -> None:
    """Copy objects to files, in parts and at the same time; a given version is read or nothing.

    Args:
        client: Of the store.
        bucket: Where the objects are.
        objects: What goes where; the folders are there.
    """
    from s3transfer.subscribers import BaseSubscriber

    class Known(BaseSubscriber):  # type: ignore[misc]
        """Names version and size, so that no request has to ask for them."""

        def __init__(self, known: Download) -> None:
            self.known = known

        def on_queued(self, future: Any, **_: Any) -> None:
            future.meta.provide_transfer_size(self.known.size)
            future.meta.provide_object_etag(self.known.etag)

    alone = len(objects) == 1 and 0 < objects[0].size <= PART_BYTES
    # Only ranges are read by version, so every object is read as a range.
    with _transfers(client, multipart_threshold=1, use_threads=not alone) as manager:
        copies = [
            manager.download(bucket, entry.key, str(entry.target), subscribers=[Known(entry)] if entry.etag else [])
            for entry in objects
        ]
        for copy in copies:
            copy.result()


def upload(client: Any, bucket: str, files: Sequence[tuple[Path, str]], **extra: Any) -> None:
    """Copy files to keys of a bucket, in parts and at the same time, with the client's checksums.

    Args:
        client: Of the store.
        bucket: Where they go.
        files: Each with its key.
        extra: More of what S3 takes with an object, such as `Metadata` or `ContentType`.
    """
    with _transfers(client, multipart_threshold=PART_BYTES) as manager:
        for copy in [manager.upload(str(file), bucket, key, extra_args=extra) for file, key in files]:
            copy.result()


def _transfers(client: Any, **settings: Any) -> Any:
    """Return a manager of transfers in parts."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    return create_transfer_manager(client, TransferConfig(multipart_chunksize=PART_BYTES, **settings))


def _name(error: Exception) -> str:
    """Return what an error is called: the store's code, or the kind of failure."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "unknown error"))
    return type(getattr(error, "last_exception", None) or error).__name__
