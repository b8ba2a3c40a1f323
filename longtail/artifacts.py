"""Artifacts as folders: written whole or not at all, checked by digest when read, never pickled.

An artifact is a folder with arrays (npy), weights (safetensors), tables (Parquet, JSON) and one
`manifest.json` that is written last: schema, schema version, the artifact's own fields, and the SHA-256 of
every other file.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from longtail.errors import InputError

MANIFEST = "manifest.json"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file's content, empty if the path is that of no file."""
    return sha256_file(Path(path)) if path and Path(path).is_file() else ""


def sha256_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, atomically: a reader sees the old file or the new one, never half of it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_reject_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist: give the path of a finished artifact") from None
    except ValueError as error:  # also of bytes that are not UTF-8
        raise InputError(f"{path} is not valid JSON ({error}): write the artifact again") from None


def write_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]) -> None:
    """Write an npy file of a known shape block by block, for arrays larger than memory.

    These are plain writes: the pages of a memory-mapped output would count as the process's memory.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


@contextmanager
def new_artifact(path: Path, schema: str, schema_version: int, fields: dict[str, Any]) -> Generator[Path]:
    """Yield an empty folder beside `path`; on success seal it with a manifest and rename it to `path`.

    Args:
        path: Where the artifact appears, whole, when the block ends without an exception. What an earlier
            attempt left there is replaced.
        schema: Name of the artifact's layout, such as `longtail.dataset`.
        schema_version: Version of that layout.
        fields: The manifest's own fields; the block may add to this dict until it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*"):  # of an attempt that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield work
        files = {}
        for file in sorted(entry for entry in work.rglob("*") if entry.is_file()):
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
            files[file.relative_to(work).as_posix()] = sha256_file(file)
        write_json(work / MANIFEST, {"schema": schema, "schema_version": schema_version, **fields, "files": files})
        work.chmod(0o755)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        os.replace(work, path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def open_artifact(path: Path, schema: str, schema_version: int) -> dict[str, Any]:
    """Return an artifact's manifest after checking its schema, version and every file's digest.

    Raises:
        InputError: If the folder is not a whole artifact of that schema, or a file was changed or lost.
    """
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("schema") != schema:
        found = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{path} holds {found!r}, not {schema!r}: give the output of the step that writes {schema}")
    if manifest.get("schema_version") != schema_version:
        raise InputError(
            f"{path} has schema version {manifest.get('schema_version')!r}, this release reads {schema_version}: "
            "write it again"
        )
    if not isinstance(manifest.get("files"), dict):
        raise InputError(f"{path} lists no files with their digests: write it again")
    for name, expected in manifest["files"].items():
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InputError(f"{path} lists the file {name!r}: only names inside the artifact are allowed")
        file = path / name
        if not file.is_file():
            raise InputError(f"{file} is missing: the cache may point at a deleted object; run again without cache")
        if sha256_file(file) != expected:
            raise InputError(f"{file} does not match its digest {expected[:12]}: it was changed; write it again")
    return manifest


def artifact_digest(path: Path) -> str:
    """Return the SHA-256 of an artifact's manifest, which stands for all of its files."""
    return sha256_file(path / MANIFEST)


def _reject_constant(word: str) -> NoReturn:
    """Refuse NaN and infinities, which Python reads but JSON does not have."""
    raise ValueError(f"{word} is not a JSON number")
