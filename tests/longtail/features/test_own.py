import copy

import numpy as np
import pytest
import torch

from longtail.artifacts import new_artifact
from longtail.errors import InputError
from longtail.features import Features, features_to_test, is_changed, write_own
from longtail.features.own import FILE
from longtail.networks import build, load, save


@pytest.fixture
def features(dataset, tmp_path):
    with new_artifact(
        tmp_path / "features", "longtail.features", 1, {"class_names": [], "train_counts": [], "views": 0}
    ) as folder:
        (folder / "test").mkdir()
        np.save(folder / "test" / "view-0.npy", np.zeros((500, 64), np.float32))
    return Features.open(tmp_path / "features")


def test_a_backbone_is_changed_by_an_average_too(make_spec):
    before = build(make_spec(), seed=0).backbone
    for name in ("conv1.weight", "bn2.running_var"):
        after = copy.deepcopy(before)
        assert not is_changed(after, before)
        with torch.no_grad():
            after.state_dict()[name].flatten()[0] += 1
        assert is_changed(after, before)


def test_own_features_come_before_the_shared_ones(make_spec, dataset, features, tmp_path):
    classifier, split = build(make_spec(), seed=0), dataset.split("test")
    save(classifier, tmp_path / "own", {}, lambda folder: write_own(classifier, split, folder, 100))
    save(classifier, tmp_path / "shared", {})
    own, shared = (features_to_test(tmp_path / name, load(tmp_path / name)[1], features) for name in ("own", "shared"))
    with torch.no_grad():
        images = classifier.preprocess(torch.from_numpy(np.array(split.packed)))
        expected = classifier.eval().backbone(images).numpy()
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(shared, features.split("test"))


def test_changed_own_features_are_found(make_spec, dataset, tmp_path):
    classifier, path = build(make_spec(), seed=0), tmp_path / "own"
    save(classifier, path, {}, lambda folder: write_own(classifier, dataset.split("test"), folder, 100))
    data = bytearray((path / FILE).read_bytes())
    data[-1] ^= 1
    (path / FILE).write_bytes(data)
    with pytest.raises(InputError, match=r"features-test\.npy does not match its digest"):
        load(path)
