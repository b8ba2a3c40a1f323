import numpy as np
import pytest

from longtail.artifacts import new_artifact
from longtail.calibration.artifact import Samples, write_samples
from longtail.calibration.embedding import Embedding, embed, embedding_figure, move_apart
from longtail.calibration.figures import borrowing
from longtail.config import CalibrationConfig
from longtail.features import Features
from longtail.pages import png


def write(folder, X, labels, counts):
    fields = {"class_names": [f"class {i}" for i in range(len(counts))], "train_counts": list(counts), "views": 0}
    with new_artifact(folder, "longtail.features", 1, fields) as target:
        (target / "train").mkdir()
        np.save(target / "train" / "view-0.npy", X.astype(np.float32))
        np.save(target / "train" / "labels.npy", labels)
    return Features.open(folder)


def generate(features, folder, normalise=False, **config):
    write_samples(features, 0, CalibrationConfig(**config), normalise, folder, seed=0)
    return Samples.open(folder)


@pytest.fixture
def clusters(tmp_path):
    """Six well separated Gaussian classes, calibrated by themselves and their nearest class."""
    rng, counts = np.random.default_rng(0), [40, 30, 25, 10, 6, 3]
    labels = np.repeat(np.arange(6), counts)
    centres = 20 * np.eye(6)[[0, 1, 2, 0, 1, 2]] + 8 * np.eye(6)
    features = write(tmp_path / "features", centres[labels] + rng.normal(size=(len(labels), 6)), labels, counts)
    return generate(features, tmp_path / "samples", n_neighbors=2), features


@pytest.fixture
def many(tmp_path):
    """Two classes of more features than are shown."""
    rng, counts = np.random.default_rng(0), [200, 90]
    features = write(tmp_path / "many", rng.normal(size=(290, 4)), np.repeat([0, 1], counts), counts)
    return generate(features, tmp_path / "generated", n_neighbors=2), features


def embedded(samples, features, seed=0):
    return embed(samples, features, borrowing(samples, len(features.class_names)), seed)


def test_the_smallest_classes_are_shown_among_those_that_lent_to_them(clusters):
    found = embedded(*clusters)
    assert found.tail == (5, 4, 3)
    assert set(found.lenders) == {0, 1, 2}
    real, made = np.bincount(found.labels[~found.generated]), np.bincount(found.labels[found.generated])
    assert real.tolist() == [40, 30, 25, 10, 6, 3]
    assert made.tolist() == [0, 0, 0, 30, 34, 37]
    assert found.points.shape == (215, 2) and np.isfinite(found.points).all()
    assert found.available == 215
    assert found.summary(6) == "114 real and 101 generated features out of 215, 6 of 6 classes"


def test_generated_features_lie_with_the_real_ones_of_their_class(clusters):
    found = embedded(*clusters)
    pairs = ((5, 2), (4, 1), (3, 0))  # a class and the one that lent to it
    middle = {label: np.median(found.points[found.labels == label], axis=0) for label in range(6)}
    for tail, lender in pairs:
        made = found.points[(found.labels == tail) & found.generated]
        far = [label for label in range(6) if label not in (tail, lender)]
        distances = np.array([np.linalg.norm(made - middle[label], axis=1) for label in (tail, *far)])
        assert (distances.argmin(axis=0) == 0).mean() > 0.9


def test_the_seed_decides_everything(many):
    one, same, other = (embedded(*many, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.points, same.points)
    assert not np.array_equal(one.points, other.points)


def test_large_classes_are_sampled(many):
    found = embedded(*many)
    assert np.bincount(found.labels[~found.generated]).tolist() == [45, 60]
    assert found.generated.sum() == 60 and found.available == 400


def test_features_are_seen_as_the_head_sees_them(tmp_path):
    # Lengths are noise to a cosine head; only directions tell the classes apart.
    rng, counts = np.random.default_rng(0), [30, 10]
    labels = np.repeat([0, 1], counts)
    X = np.eye(2)[labels] + 0.05 * rng.random((40, 2))
    X *= rng.uniform(0.1, 50, size=(40, 1))
    features = write(tmp_path / "features", X, labels, counts)
    found = embedded(generate(features, tmp_path / "samples", True, n_neighbors=2, tukey=0.5), features)
    middle = np.stack([found.points[found.labels == label].mean(axis=0) for label in (0, 1)])
    nearest = np.linalg.norm(found.points[:, None] - middle, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, found.labels)


@pytest.mark.parametrize("counts", [[12, 12], [3, 2], [1]])
def test_nothing_generated_or_too_little_gives_no_map(tmp_path, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    features = write(tmp_path / "features", np.random.default_rng(0).normal(size=(len(labels), 3)), labels, counts)
    assert embedded(generate(features, tmp_path / "samples", n_neighbors=1), features) is None


@pytest.mark.parametrize("X", [np.zeros((12, 4)), np.arange(12.0)[:, None], np.eye(12)])
@pytest.mark.filterwarnings("error:invalid value")
def test_degenerate_features_still_give_a_picture(tmp_path, X):
    features = write(tmp_path / "features", X, np.repeat([0, 1], [9, 3]), [9, 3])
    found = embedded(generate(features, tmp_path / "samples", n_neighbors=1, eps=0.0), features)
    assert np.isfinite(found.points).all()
    assert png(embedding_figure(found, features)).startswith(b"\x89PNG")


def test_the_figure_names_every_class_and_no_names_overlap(clusters):
    figure = embedding_figure(embedded(*clusters), clusters[1])
    axes = figure.axes[0]
    figure.draw_without_rendering()
    names = [text for text in axes.texts if text.get_text().startswith("class ")]
    assert sorted(name.get_text() for name in names) == [
        f"class {label} ({count})" for label, count in enumerate([40, 30, 25, 10, 6, 3])
    ]
    boxes = [name.get_window_extent() for name in names]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert "3 smallest classes" in axes.get_title(loc="left")
    real = axes.collections[2].get_offsets()  # of the smallest class: after the grey ones and its generated ones
    for place in axes.transData.transform(real):
        assert not any(box.contains(*place) for box in boxes)


def test_dollar_signs_and_long_names_are_drawn(tmp_path):
    names = (r"$\wrong$", "a name of far more characters than there is room for")
    features = Features(tmp_path, names, np.array([30, 2]), 0, "")
    points = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    found = Embedding(points, np.arange(20) % 2, np.arange(20) % 4 == 1, (1,), (0,), 20)
    figure = embedding_figure(found, features)
    assert png(figure).startswith(b"\x89PNG")
    assert "The smallest class, real" in figure.axes[0].get_title(loc="left")


def test_boxes_move_apart_only_as_far_as_they_must():
    centres = np.array([[0.0, 0], [5, 2], [100, 0]])
    moved = move_apart(centres, np.full((3, 2), [20.0, 10]), np.empty((0, 2)))
    assert moved[1, 1] - moved[0, 1] >= 10
    assert moved[1, 1] - moved[0, 1] < 12
    np.testing.assert_array_equal(moved[:, 0], centres[:, 0])
    np.testing.assert_array_equal(moved[2], centres[2])


def test_boxes_at_one_place_and_on_points_find_room():
    points = np.array([[0.0, y] for y in range(0, 60, 8)])
    moved = move_apart(np.zeros((6, 2)), np.full((6, 2), [20.0, 10]), points)
    assert np.diff(np.sort(moved[:, 1])).min() >= 10
    assert np.abs(moved[:, 1:] - points[:, 1]).min() >= 5
