"""One process at a time at the same file or folder."""

import fcntl
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold a path for this process alone, by a lock file beside it; wait for an earlier owner to end.

    Args:
        path: What is held; it need not exist.

    Yields:
        Nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process does the same: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
