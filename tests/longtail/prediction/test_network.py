import numpy as np
import pytest
import torch
from PIL import Image

from longtail.errors import InputError
from longtail.networks import load
from longtail.prediction.network import Predictor, Preparation
from longtail.serving import ServedClassifier


def test_a_network_says_what_the_served_one_says(predictor):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    answer = predictor(images)
    with torch.no_grad():
        probabilities, features = ServedClassifier(predictor._served.classifier)(torch.from_numpy(images).float())
    np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-5)
    np.testing.assert_allclose(answer.features, features, rtol=1e-4, atol=1e-5)
    assert [array.shape for array in predictor(images[:0])] == [(0, 3), (0, 64)]


def test_a_network_of_rows(row_predictor):
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    answer = row_predictor(rows)
    np.testing.assert_array_equal(answer.features, rows)
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (row_predictor.reads_rows, row_predictor.input_shape) == (True, (5,))


def test_a_folder_without_our_network_or_with_a_changed_one_is_refused(predictor, tmp_path):
    with pytest.raises(InputError, match="holds no network of ours"):
        Predictor(tmp_path)
    network = tmp_path / "artifacts" / "network"
    network.mkdir(parents=True)
    (network / "manifest.json").write_text("{}")
    with pytest.raises(InputError):
        load(network)


def test_training_images_that_were_resized_and_cropped_say_how():
    """The shorter side to `image_size`, then the middle `crop_size`: as `Split.images` does for training."""
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    square = Image.fromarray(image[10:30]).resize((10, 10), Image.Resampling.BILINEAR)
    prepared = Preparation((8, 8, 3), image_size=10, crop_size=8)(image)
    np.testing.assert_allclose(prepared, np.asarray(square, dtype=float)[1:9, 1:9], atol=1)  # rounding


def test_grey_images_for_a_network_of_colour_and_the_other_way_round():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert Preparation((8, 8, 3))(grey).shape == (8, 8, 1)  # repeated where it is put
    colour = np.repeat(grey, 3, axis=2)
    np.testing.assert_array_equal(Preparation((8, 8, 1))(colour), grey)


@pytest.mark.parametrize(("height", "width"), [(9, 6), (8, 7), (30, 20)])
def test_images_of_another_size_than_those_that_were_no_squares_are_refused(height, width):
    preparation = Preparation((8, 6, 3))
    assert preparation(np.zeros((8, 6, 3), np.uint8)).shape == (8, 6, 3)
    with pytest.raises(InputError, match=rf"has {height}x{width} pixels, the network reads 8x6, and its training"):
        preparation(np.zeros((height, width, 3), np.uint8))


def test_a_crop_without_resizing_takes_the_middle_of_any_image_that_has_it():
    preparation = Preparation((8, 8, 3), crop_size=8)
    image = np.random.default_rng(0).integers(0, 256, (10, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(preparation(image), image[1:9, 11:19])
    with pytest.raises(InputError, match="has 7x30 pixels"):
        preparation(image[:7])


def test_a_square_that_was_not_resized_is_the_target_of_others():
    assert Preparation((8, 8, 3))(np.zeros((30, 20, 3), np.uint8)).shape == (8, 8, 3)
