import pytest

from longtail.errors import InputError
from longtail.networks import build, load_retrained, save

DIGEST = "a" * 64


@pytest.fixture
def saved(make_spec, tmp_path):
    """Return a function that saves a small network with some fields and returns its path."""

    def write(name, **fields):
        save(build(make_spec(), seed=0), tmp_path / name, {"features_digest": DIGEST, **fields})
        return tmp_path / name

    return write


def test_classifiers_come_in_their_order_with_path_and_manifest(saved):
    paths = [saved("b", method="crt"), saved("a", method="baseline")]
    found = list(load_retrained(paths, DIGEST))
    assert [path for path, _, _ in found] == paths
    assert [manifest["method"] for _, _, manifest in found] == ["crt", "baseline"]
    assert not any(classifier.training for _, classifier, _ in found)


def test_other_features_are_refused(saved):
    with pytest.raises(InputError, match="b was retrained on other features: give classifiers of the same run"):
        list(load_retrained([saved("a", method="crt"), saved("b", method="x", features_digest="b")], DIGEST))


def test_all_are_checked_before_the_first_is_given(saved):
    paths = [saved("a", method="crt"), saved("b", method="x", features_digest="b")]
    with pytest.raises(InputError, match="b was retrained on other features"):
        next(load_retrained(paths, DIGEST))


def test_a_second_of_one_method_is_refused(saved):
    with pytest.raises(InputError, match="b is a second 'crt': give one classifier of each method"):
        list(load_retrained([saved("a", method="crt"), saved("b", method="crt")], DIGEST))
