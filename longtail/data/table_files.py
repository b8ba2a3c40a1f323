"""The Parquet files of a feature table, and a digest of all they hold."""

from pathlib import Path
from typing import Any

from longtail.artifacts import sha256_json
from longtail.config import TableConfig
from longtail.data import object_store
from longtail.data.digest import file_digests
from longtail.errors import InputError

SUFFIX = ".parquet"


def list_tables(path: str) -> dict[str, Any]:
    """Return the files of a table by name, in the order of their names: local paths, or objects of a store.

    Args:
        path: A Parquet file, a folder of `*.parquet` files, or the `s3://` address of either.

    Raises:
        InputError: If there is no such file.
    """
    if not path:
        raise InputError("table.path is '': give a Parquet file of features, `longtail run --features FILE`")
    found = _stored(path) if object_store.is_url(path) else _local(Path(path).resolve())
    if not found:
        raise InputError(f"{path} holds no {SUFFIX} file: give a Parquet file of features or a folder of them")
    return dict(sorted(found.items()))


def fetch_tables(path: str) -> dict[str, Path]:
    """Return the local files of a table by name; those in a store are copied once into the cache folder.

    Raises:
        InputError: If there is no such file, or the store cannot be read.
    """
    listed = list_tables(path)
    return object_store.fetch(listed) if object_store.is_url(path) else listed


def table_digest(config: TableConfig) -> str:
    """Return the SHA-256 over names and bytes of all files of a table, as hex; objects count by key, ETag and size.

    Raises:
        InputError: If there is no such file.
    """
    listed = list_tables(config.path)
    if object_store.is_url(config.path):
        return sha256_json([[stored.key, stored.etag, stored.size] for stored in listed.values()])
    return sha256_json(list(zip(listed, file_digests(listed.values()), strict=True)))


def _local(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {path.name: path}
    return {file.name: file for file in path.glob(f"*{SUFFIX}") if file.is_file()}


def _stored(url: str) -> dict[str, object_store.StoredObject]:
    folder, _, name = url.rpartition("/") if url.endswith(SUFFIX) else (url, "", "")
    listed = object_store.list_objects(folder, ("",))
    return {key: stored for key, stored in listed.items() if key.endswith(SUFFIX) and name in ("", key)}
