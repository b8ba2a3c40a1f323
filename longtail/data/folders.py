"""Folders of a data source, on this machine or in a store, looked into in the same way."""

import os
from pathlib import Path

from longtail.data.object_store import StoredFolder, StoredObject, fetch, is_url, list_folder
from longtail.errors import InputError

Folder = Path | StoredFolder


def open_folder(path: str) -> Folder:
    """Return a folder, which may not exist, by its path or `s3://` address.

    Raises:
        InputError: If a store cannot be listed.
    """
    return list_folder(path) if is_url(path) else Path(path).resolve()


def folder_names(folder: Folder) -> list[str]:
    """Return the sorted names of the folders in a folder, but hidden ones."""
    if isinstance(folder, StoredFolder):
        return sorted(name for name in folder.folders if name[:1] != ".")
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")


def file_names(folder: Folder) -> list[str]:
    """Return the sorted names of the files in a folder, but hidden ones."""
    if isinstance(folder, StoredFolder):
        return sorted(name for name in folder.files if name[0] != ".")
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and not entry.is_dir())


def entry(folder: Folder, path: str) -> Path | StoredObject:
    """Return what names a file below a folder: its path, or its object in a store."""
    return folder.find(path) if isinstance(folder, StoredFolder) else folder / path


def local_file(folder: Folder, path: str) -> Path:
    """Return a file below a folder; one in a store is copied once into the cache folder.

    Args:
        folder: Where it is.
        path: Its path there.

    Raises:
        RuntimeError: If the store does not give it, which is no fault of the file.
    """
    if not isinstance(folder, StoredFolder):
        return folder / path
    try:
        return fetch({path: folder.find(path)}, folder.client)[path]
    except InputError as error:
        raise RuntimeError(str(error)) from None
