import errno
import os
from pathlib import Path

import pytest

from longtail.data.cache import cache_folder, copying
from longtail.errors import InputError


def test_follows_the_variable_and_falls_back_to_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "longtail"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "longtail"


def test_a_failure_to_write_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = rf"^s3://b/x cannot be copied to {tmp_path}/longtail \(No space left on device\): set XDG_CACHE_HOME$"
    with pytest.raises(InputError, match=said), copying("s3://b/x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
