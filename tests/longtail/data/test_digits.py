import numpy as np

from longtail.config import DataConfig
from longtail.data.digits import arrays, load


def test_split_is_stratified_fixed_and_whole():
    source = load(DataConfig(seed=3))
    assert len(source.train.labels) + len(source.test.labels) == 1797
    assert np.bincount(source.test.labels).tolist() == [50] * 10
    assert np.array_equal(source.test.labels, load(DataConfig(seed=4)).test.labels)
    names = {source.train.names(i) for i in range(len(source.train.labels))}
    assert names.isdisjoint(source.test.names(i) for i in range(500))


def test_images_are_scaled_to_bytes():
    images, labels = arrays()
    assert (images.shape, images.dtype, images.min(), images.max()) == ((1797, 8, 8, 1), np.uint8, 0, 255)
    source = load(DataConfig())
    row = int(source.train.names(5).split()[1])
    assert np.array_equal(source.train.read(5), images[row])
    assert source.train.labels[5] == labels[row]
