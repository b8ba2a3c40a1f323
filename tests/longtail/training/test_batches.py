import numpy as np
import pytest
import torch
from PIL import Image

from longtail.config import DataConfig
from longtail.data.dataset import Dataset, build_dataset
from longtail.training.batches import Images

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lazy(tmp_path_factory):
    """Images too large to be packed: decoded from their files whenever they are asked for."""
    root = tmp_path_factory.mktemp("large")
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            (root / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (72, 72, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "images" / split / name / f"{i}.png")
    config = DataConfig(source="imagefolder", path=str(root / "images"), profile="natural")
    build_dataset(config, root / "dataset")
    return Dataset.open(root / "dataset").split("train")


@pytest.mark.parametrize("kind", ["packed", "lazy"])
def test_rows_come_in_the_order_asked_for(kind, dataset, request):
    split = dataset.split("train") if kind == "packed" else request.getfixturevalue("lazy")
    assert (split.packed is None) == (kind == "lazy")
    rows = torch.tensor([5, 0, 11, 5])
    batch = Images(split, CPU).batch(rows)
    assert batch.dtype == torch.uint8
    assert batch.shape[0] == 4
    np.testing.assert_array_equal(batch.numpy(), split.images(rows.numpy()))
    assert torch.equal(batch[0], batch[3])
    assert not torch.equal(batch[0], batch[1])


def test_packed_images_are_resident(dataset):
    split = dataset.split("train")
    images = Images(split, CPU)
    assert images.resident.shape == (len(split), 8, 8, 1)
    np.testing.assert_array_equal(images.batch(torch.arange(len(split))).numpy(), np.array(split.packed))


def test_lazy_images_are_not(lazy):
    assert Images(lazy, CPU).resident is None
