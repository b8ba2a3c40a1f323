"""Where checkpoints are kept: named by what was asked for, never by the process, pod or machine that writes them."""

from pathlib import Path

from longtail.steps.execution import home_folder
from longtail.storage.client import is_url
from longtail.storage.mirror import Mirror
from longtail.tracking.server import durable_place


def checkpoint_file(key: str) -> Path:
    """Return the file of a checkpoint on this machine: in the folder that LONGTAIL_CHECKPOINTS names, else at home.

    Args:
        key: Digest of all that the work depends on.
    """
    place = durable_place()
    folder = home_folder("checkpoints") if not place or is_url(place) else Path(place)
    return folder / f"{key[:32]}.safetensors"


def checkpoint_mirror(key: str) -> Mirror | None:
    """Return the copies of that file under LONGTAIL_CHECKPOINTS, if that is an `s3://` address.

    Args:
        key: Digest of all that the work depends on.

    Raises:
        InputError: If the address is malformed.
    """
    place = durable_place()
    return Mirror(f"{place.rstrip('/')}/{key[:32]}") if is_url(place) else None
