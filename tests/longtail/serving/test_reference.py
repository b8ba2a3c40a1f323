import numpy as np
import pytest
from safetensors.numpy import load_file

from longtail.serving import ReferenceStatistics

CLASSES = 5


@pytest.fixture
def data():
    """Rows far from zero, so that sums of squares would cancel; class 3 has one row, class 4 none."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2, 3], [40, 30, 20, 1]))
    rows = (1e4 + 10 * labels[:, None] + rng.normal(0, [1, 2, 4], (91, 3))).astype(np.float32)
    return rows, labels


def expected(rows, labels):
    means = np.stack([rows[labels == c].mean(axis=0, dtype=np.float64) for c in range(4)] + [np.zeros(3)])
    within = rows.astype(np.float64) - means[labels]
    return means, np.sqrt(np.square(within).sum(axis=0) / (len(rows) - 4))


def agree(found, rows, labels):
    means, deviation = expected(rows, labels)
    np.testing.assert_allclose(found.means, means, rtol=1e-12)
    np.testing.assert_allclose(found.deviation(), deviation, rtol=1e-9)
    assert found.counts.tolist() == [40, 30, 20, 1, 0]


@pytest.mark.parametrize("block", [1, 7, 91])
def test_blocks_give_what_one_pass_over_all_rows_gives(data, monkeypatch, block):
    monkeypatch.setattr("longtail.serving.reference.BLOCK_VALUES", 3 * block)
    agree(ReferenceStatistics.of(*data, CLASSES), *data)


def test_parts_merge(data):
    rows, labels = data
    whole = ReferenceStatistics.empty(CLASSES, 3)
    for part in np.array_split(np.arange(91), 4):
        whole.merge(ReferenceStatistics.of(rows[part], labels[part], CLASSES))
    agree(whole, rows, labels)


def test_one_row_a_class_has_no_deviation():
    found = ReferenceStatistics.of(np.ones((2, 3), np.float32), np.array([0, 1]), 2)
    assert found.deviation().tolist() == [0, 0, 0]
    assert ReferenceStatistics.empty(2, 3).deviation().tolist() == [0, 0, 0]


def test_the_file_holds_what_later_checks_need(data, tmp_path):
    found = ReferenceStatistics.of(*data, CLASSES)
    found.save(tmp_path / "reference.safetensors")
    tensors = load_file(tmp_path / "reference.safetensors")
    assert {name: (value.dtype.name, value.shape) for name, value in tensors.items()} == {
        "class_means": ("float32", (CLASSES, 3)),
        "std": ("float32", (3,)),
        "class_counts": ("int64", (CLASSES,)),
    }
    np.testing.assert_allclose(tensors["class_means"], found.means, rtol=1e-6)
