"""A digest of everything a source holds, quick the second time."""

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from longtail.artifacts import sha256_file, sha256_json
from longtail.config import DataConfig
from longtail.data import digits, imagefolder, mini_imagenet, object_store, parquet, torchvision_cifar
from longtail.data.cache import cache_folder
from longtail.data.folders import entry, open_folder
from longtail.errors import InputError

logger = logging.getLogger(__name__)

Key = tuple[bytes, int, int, int]

SETTLED_SECONDS = 2.0
"""A file younger than this may change again without a new modification time, so its digest is not remembered."""


def source_digest(config: DataConfig) -> str:
    """Return the SHA-256 over names and bytes of all files of a source, as hex.

    Objects in a store count by key, ETag and size; the digits by their arrays; CIFAR that is not downloaded yet
    by its name. One changed image changes the digest, a new modification time alone does not.

    Raises:
        InputError: If the source's files cannot be listed.
    """
    if config.source == "digits":
        images, labels = digits.arrays()
        return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    files = _files(config)
    if files and object_store.is_url(config.path):
        return sha256_json([[stored.key, stored.etag, stored.size] for stored in files.values()])
    if not files and config.source in torchvision_cifar.FOLDERS:
        return sha256_json(f"download:{config.source}")
    if not files:
        raise InputError(f"data.path {config.path!r} holds no files of a data.source={config.source}")
    return sha256_json(sorted(zip(files, file_digests(files.values()), strict=True)))


def file_digests(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, remembered by path, size, modification time and inode."""
    stats = [(path, path.stat()) for path in paths]
    keys: list[Key] = [(os.fsencode(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats]
    known = _recall(keys)
    missing = [key for key in keys if key not in known]
    with ThreadPoolExecutor() as pool:
        fresh = dict(zip(missing, pool.map(lambda key: sha256_file(Path(os.fsdecode(key[0]))), missing), strict=True))
    settled = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    _remember({key: digest for key, digest in fresh.items() if key[2] < settled})
    return [known.get(key) or fresh[key] for key in keys]


def _files(config: DataConfig) -> dict[str, Any]:
    """Return a source's files by their name inside it: local paths, or objects of a store."""
    if config.source == "parquet":
        return parquet.list_files(config.path)
    if config.source == "imagefolder":
        folders = imagefolder.split_folders(open_folder(config.path))
        return {
            f"{split}/{name}/{file}": entry(folder / name, file)
            for split, folder in folders.items()
            for name in imagefolder.class_folders(folder)
            for file in imagefolder.image_files(folder / name)
        }
    if config.source == "mini_imagenet":
        root = open_folder(config.path)
        return {name: entry(root, name) for names in mini_imagenet.class_files(root).values() for name in names}
    folder = torchvision_cifar.root(config) / torchvision_cifar.FOLDERS[config.source]
    return {file.name: file for file in sorted(folder.glob("*")) if file.is_file()}


def _open_memory() -> sqlite3.Connection:
    """Return the open store of digests; a damaged file is replaced by a new one."""
    path = cache_folder() / "digests.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    create = "CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, size INT, mtime INT, inode INT, digest TEXT)"
    connection = sqlite3.connect(path, timeout=10)
    try:
        connection.execute(create)
        connection.execute("SELECT path, size, mtime, inode, digest FROM digests LIMIT 1").fetchone()
        return connection
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError:
        connection.close()
        os.unlink(path)
        connection = sqlite3.connect(path, timeout=10)
        connection.execute(create)
        return connection


def _recall(keys: list[Key]) -> dict[Key, str]:
    query = "SELECT digest FROM digests WHERE path = ? AND size = ? AND mtime = ? AND inode = ?"
    try:
        with closing(_open_memory()) as connection:
            found = {key: connection.execute(query, key).fetchone() for key in keys}
    except (sqlite3.Error, OSError) as error:
        logger.warning("digests cannot be remembered (%s): every file is read", error)
        return {}
    return {key: row[0] for key, row in found.items() if row}


def _remember(digests: Mapping[Key, str]) -> None:
    rows = [(*key, digest) for key, digest in digests.items()]
    try:
        with closing(_open_memory()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError) as error:
        logger.warning("digests cannot be remembered (%s): every file will be read again", error)
