import numpy as np
import pytest

from longtail.data.scan import drop_colour, read_fitted, sample_statistics, scan
from longtail.data.tables import ImageTable
from longtail.errors import InputError


def make_table(images):
    def read(i):
        if images[i] is None:
            raise InputError("not a readable image")
        return images[i]

    return ImageTable(np.zeros(len(images), np.int64), lambda i: f"image {i}", read)


def test_stores_every_image_at_its_place(pixels, tmp_path):
    images = [pixels(i, 8, 8, 3) for i in range(200)]
    ids = np.arange(0, 200, 2)
    seen = []
    found = scan(make_table(images), ids, 0, tmp_path / "x.npy", seen.append)
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.stack(images)[ids])
    assert found.single_size() == (8, 8)
    assert (found.colour, found.corrupt, sum(seen)) == (True, [], 100)


def test_grey_images_are_repeated_beside_colour_ones_and_dropped_alone(pixels, tmp_path):
    grey, colour = pixels(0, 8, 8, 1), pixels(1, 8, 8, 3)
    assert scan(make_table([grey, colour]), np.arange(2), 0, tmp_path / "mixed.npy").colour
    assert np.array_equal(np.load(tmp_path / "mixed.npy")[0], np.repeat(grey, 3, axis=2))
    assert not scan(make_table([grey] * 5), np.arange(5), 0, tmp_path / "grey.npy").colour
    drop_colour(tmp_path / "grey.npy")
    assert np.array_equal(np.load(tmp_path / "grey.npy"), np.stack([grey] * 5))
    assert sorted(file.name for file in tmp_path.glob("*.*")) == ["grey.npy", "mixed.npy"]


def test_lists_corrupt_images_and_goes_on(pixels, tmp_path):
    images = [None, pixels(0, 8, 8, 3), None]
    found = scan(make_table(images), np.arange(3), 0, tmp_path / "x.npy")
    assert found.corrupt == ["'image 0': not a readable image", "'image 2': not a readable image"]
    with pytest.raises(InputError, match="toy has 2 corrupt images: 'image 0'"):
        found.check("toy")
    assert scan(make_table([None]), np.arange(1), 0, tmp_path / "y.npy").corrupt


def test_names_the_sizes_there_are(pixels):
    images = [pixels(0, 8, 8, 3), pixels(0, 8, 9, 3), pixels(0, 8, 8, 3)]
    found = scan(make_table(images), np.arange(3), 0)
    with pytest.raises(InputError, match=r"2 sizes: 8x8 \(2, such as 'image 0'\), 8x9 \(1, .*; set data.image_size"):
        found.single_size()
    assert scan(make_table(images), np.arange(3), 6).single_size() == (6, 6)


@pytest.mark.parametrize(("side", "stored"), [(64, True), (65, False)])
def test_large_images_are_not_stored(pixels, tmp_path, side, stored):
    scan(make_table([pixels(0, side, 3, 3)]), np.arange(1), 0, tmp_path / "x.npy")
    assert (tmp_path / "x.npy").exists() == stored


def test_statistics_agree_with_numpy(pixels):
    images = pixels(0, 150, 5, 4, 3)
    mean, deviation = sample_statistics(images.__getitem__, 150, 1000)
    assert mean == pytest.approx(images.mean((0, 1, 2)) / 255)
    assert deviation == pytest.approx(images.std((0, 1, 2)) / 255)
    mean, _ = sample_statistics(images.__getitem__, 150, 2)
    assert mean == pytest.approx(images[[0, 149]].mean((0, 1, 2)) / 255)


def test_a_constant_channel_can_be_divided_by(pixels):
    images = np.full((4, 3, 3, 1), 7, np.uint8)
    assert sample_statistics(images.__getitem__, 4, 10)[1] == [1 / 255]


def test_a_corrupt_image_is_named():
    with pytest.raises(InputError, match="'image 0': not a readable image"):
        read_fitted(make_table([None]), 0, 8)
