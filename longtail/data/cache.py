"""The folder for what can be downloaded or computed again."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from longtail.errors import InputError


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/longtail`, or `~/.cache/longtail` without that variable; it may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "longtail"


@contextmanager
def copying(url: str) -> Generator[None]:
    """Turn a failure to write into the cache folder into one line.

    Args:
        url: What is copied there.

    Raises:
        InputError: Instead of `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{url} cannot be copied to {cache_folder()} ({error.strerror}): set XDG_CACHE_HOME") from None
