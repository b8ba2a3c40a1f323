"""A home, a cache and an environment of the tests' own."""

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory):
    """Keep the user's own runs, servers and caches out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "KFP_", "LONGTAIL_")):
                patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dead_server(monkeypatch) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Three classes of JPEG files in train/CLASS and test/CLASS, each of its own size and colour."""
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for label, name in enumerate(("cat", "dog", "owl")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                height, width = random.integers(32, 41, 2)
                pixels = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
                pixels[..., label] += 120
                Image.fromarray(pixels).save(root / split / name / f"{i}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def feature_table(tmp_path_factory) -> Path:
    """Rows of three classes, 40, 12 and 4 of them, with eight features in plain columns."""
    random, labels = np.random.default_rng(0), np.repeat(["cat", "dog", "owl"], [40, 12, 4])
    x = random.normal(size=(len(labels), 8)) + 2 * np.eye(3, 8)[np.repeat([0, 1, 2], [40, 12, 4])]
    columns = {f"f{i}": x[:, i].astype(np.float32) for i in range(8)}
    path = tmp_path_factory.mktemp("features") / "table.parquet"
    pq.write_table(pa.table({**columns, "label": labels}), path, row_group_size=20)
    return path


@pytest.fixture
def library(tmp_path) -> Path:
    """A copy of the library's source that may be changed."""
    import longtail

    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(longtail.__file__).parent, tmp_path / "longtail", ignore=ignore))
