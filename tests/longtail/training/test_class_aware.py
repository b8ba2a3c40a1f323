import pytest
import torch

from longtail.training.class_aware import SAMPLES_PER_CLASS, class_aware_order

COUNTS = [40, 9, 7, 2, 1]
LABELS = torch.repeat_interleave(torch.arange(5), torch.tensor(COUNTS))[
    torch.randperm(59, generator=torch.Generator().manual_seed(0))
]


def order(length, labels=LABELS, seed=0):
    return class_aware_order(labels, length, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 4, 19, 20, 400, 1003])
def test_length_and_range(length):
    rows = order(length)
    assert rows.shape == (length,)
    assert rows.dtype == torch.int64
    assert 0 <= rows.min() <= rows.max() < len(LABELS)


@pytest.mark.parametrize("seed", range(5))
def test_a_draw_is_four_rows_of_one_class(seed):
    draws = LABELS[order(4 * 57, seed=seed)].view(-1, SAMPLES_PER_CLASS)
    assert (draws == draws[:, :1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_classes_come_equally_often_within_one_draw(seed):
    drawn = LABELS[order(4 * 57, seed=seed)][::SAMPLES_PER_CLASS]
    for end in range(1, 58):  # at any moment, not at the end alone
        counts = torch.bincount(drawn[:end], minlength=5)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_every_row_of_a_class_is_used_once_before_any_is_used_twice(seed):
    rows = order(4 * 57, seed=seed)
    for label, count in enumerate(COUNTS):
        own = rows[LABELS[rows] == label]
        for start in range(0, len(own) - count + 1, count):
            assert len(own[start : start + count].unique()) == count


def test_classes_without_rows_are_left_out():
    labels = torch.tensor([0, 0, 3, 3, 3])
    counts = torch.bincount(labels[order(80, labels)], minlength=4)
    assert counts.tolist() == [40, 0, 0, 40]


def test_generator_decides():
    assert torch.equal(order(100), order(100))
    assert not torch.equal(order(100), order(100, seed=1))
