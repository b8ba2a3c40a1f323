"""Small models as they lie in a logged model's folder, and images and rows for them."""

import io

import numpy as np
import pytest
from PIL import Image

from longtail.networks import NetworkSpec, build, save
from longtail.networks.identity import IDENTITY
from longtail.prediction import Predictor

CLASSES = ("zero", "one", "two")


def png(image):
    """Return the bytes of a PNG of an image (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def write_images(folder, images):
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image if isinstance(image, bytes) else png(image))


@pytest.fixture(scope="session")
def encode():
    return png


@pytest.fixture(scope="session")
def predictor(tmp_path_factory):
    """A network of colour images of 8 pixels."""
    folder = tmp_path_factory.mktemp("model")
    spec = NetworkSpec("small_cnn", "cosine", (8, 8, 3), CLASSES, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    save(build(spec, 1), folder / "artifacts" / "network", {"method": "crt", "image_size": 8, "crop_size": 0})
    return Predictor(folder)


@pytest.fixture(scope="session")
def row_predictor(tmp_path_factory):
    """A network of rows of five features."""
    folder = tmp_path_factory.mktemp("rows")
    spec = NetworkSpec(IDENTITY, "linear", (1, 1, 5), CLASSES, (0.0,) * 5, (1.0,) * 5)
    save(build(spec, 1), folder / "artifacts" / "network", {"method": "crt"})
    return Predictor(folder)


@pytest.fixture(scope="session")
def pictures():
    """Forty images by path, in folders, of which number 7 is damaged and number 9 empty."""
    rng = np.random.default_rng(0)
    found = {f"{'ab'[i % 2]}/c {i:02d}.png": rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for i in range(40)}
    found["b/c 07.png"] = png(found["b/c 07.png"])[:60]
    found["b/c 09.png"] = b""
    return found


@pytest.fixture
def picture_folder(tmp_path, pictures):
    folder = tmp_path / "pictures"
    write_images(folder, pictures)
    write_images(folder, {".hidden/x.png": b"", "a/.x.png": b"", "a/notes.txt": b"no image"})
    return folder


@pytest.fixture
def dead_store(servers, use_store, monkeypatch):
    """Return a function that points this process at a port without a store."""
    monkeypatch.setenv("LONGTAIL_PATIENCE", "0")
    monkeypatch.setattr("longtail.storage.client.ATTEMPTS", 1)
    return lambda: use_store(servers.free_port())
