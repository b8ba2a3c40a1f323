"""Small sources in their real layouts, written by the tests themselves."""

import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "longtail"


def _encode(pixels, kind="PNG", mode=None):
    picture = Image.fromarray(pixels)
    buffer = BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind)
    return buffer.getvalue()


def image_seed(split, i):
    return 1000 * len(split) + i


@pytest.fixture(scope="session")
def encode():
    """Encode pixels of shape (H, W) or (H, W, 3)."""
    return _encode


@pytest.fixture(scope="session")
def pixels():
    """Random pixels of a shape, the same for the same seed."""
    return lambda seed, *shape: np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def parquet_folder(tmp_path, pixels):
    """Write `train` and `test` Parquet files with `per_class` 8x8 images of each class; return the folder."""

    def write(
        classes=3,
        train=6,
        test=2,
        names=None,
        column="fine_label",
        plain=False,
        folder="toy",
        edit=lambda split, images, labels: None,
        splits=("train", "test"),
        shape=(8, 8, 3),
        files=2,
    ):
        root = tmp_path / folder
        root.mkdir(parents=True)
        for split, per_class in zip(splits, (train, test), strict=True):
            labels = [c for _ in range(per_class) for c in range(classes)]
            images = [_encode(pixels(image_seed(split, i), *shape)) for i in range(len(labels))]
            edit(split, images, labels)
            kind = pa.binary() if plain else pa.struct({"bytes": pa.binary(), "path": pa.string()})
            cells = pa.array(images if plain else [{"bytes": data, "path": None} for data in images], kind)
            table = pa.table({"img": cells, column: pa.array(labels, pa.int64())})
            if names:
                feature = {"info": {"features": {column: {"names": names, "_type": "ClassLabel"}}}}
                table = table.replace_schema_metadata({"huggingface": json.dumps(feature)})
            step = max(-(-len(labels) // files), 1)
            for number in range(files):
                part = table.slice(number * step, step)
                pq.write_table(part, root / f"{split}-{number:05d}-of-{files:05d}.parquet", row_group_size=4)
        return root

    return write


@pytest.fixture
def image_folder(tmp_path, pixels):
    """Write `train/CLASS/*.png` and `test/CLASS/*.png`; return the folder."""

    def write(shape=(8, 8, 3), train=6, test=2, classes=("cat", "dog"), suffix="png", kind="PNG", test_name="test"):
        root = tmp_path / "folder"
        for split, count in (("train", train), (test_name, test)):
            for label, name in enumerate(classes):
                (root / split / name).mkdir(parents=True)
                for i in range(count):
                    data = _encode(pixels(image_seed(split, 100 * label + i), *shape), kind)
                    (root / split / name / f"{i}.{suffix}").write_bytes(data)
        return root

    return write


@pytest.fixture
def class_folder(tmp_path, pixels):
    """Write `CLASS/*.png` with a number of images for each class; return the folder."""

    def write(shape=(8, 8, 3), **counts):
        root = tmp_path / "classes"
        for label, (name, count) in enumerate(counts.items()):
            (root / name).mkdir(parents=True)
            for i in range(count):
                (root / name / f"{i}.png").write_bytes(_encode(pixels(100 * label + i, *shape)))
        return root

    return write


@pytest.fixture
def imagenet_folder(tmp_path):
    """Write JPEG files named as in ILSVRC-2012, in one folder or by class; return the folder.

    Each image has a colour of its own that changes smoothly, as JPEG compresses noise badly.
    """

    def write(per_class=14, classes=4, flat=True, shape=(9, 12), name="images"):
        root = tmp_path / name
        ramp = np.indices(shape).sum(0) / (sum(shape) - 2)
        for label in range(classes):
            wordnet_id = f"n0{1532829 + 1000 * label}"
            folder = root if flat else root / wordnet_id
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                colour = np.random.default_rng([label, i]).uniform(60, 200, 3)
                image = (colour + 50 * ramp[:, :, None]).astype(np.uint8)
                (folder / f"{wordnet_id}_{i}.JPEG").write_bytes(_encode(image, "JPEG"))
        return root

    return write
