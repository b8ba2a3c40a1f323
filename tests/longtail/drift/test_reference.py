import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from longtail.drift.reference import FILE, read_reference
from longtail.errors import InputError


def test_it_is_read_by_class_name(model):
    reference = read_reference(model)
    assert reference.counts == dict.fromkeys("abcde", 48)  # a fifth was held out
    mean = reference.means[2]
    assert not reference.standardised("c", mean[None]).any()
    ones = reference.standardised("c", (mean + reference.deviation)[None])
    assert np.allclose(ones, 1, atol=1e-4)


def test_a_feature_that_was_off_has_a_deviation_that_can_be_divided_by(model):
    tensors = load_file(model / FILE)
    tensors["std"][3] = 0
    save_file(tensors, model / FILE)
    assert read_reference(model).deviation[3] > 0


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_model_without_it_is_named(model, damage):
    file = model / FILE
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:50])
    else:
        save_file({"weight": np.zeros(1)}, file)
    with pytest.raises(InputError, match=r"reference\.safetensors cannot be read"):
        read_reference(model)


def test_moments_of_other_classes_are_refused(model):
    tensors = load_file(model / FILE)
    save_file(tensors | {"class_counts": tensors["class_counts"][:4]}, model / FILE)
    with pytest.raises(InputError, match="of 5 classes"):
        read_reference(model)
