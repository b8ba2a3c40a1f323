import pytest

from longtail.drift.counts import CountChange, count_changes, share_distance


def test_classes_are_matched_by_name():
    changes = count_changes({"cat": 5, "dog": 7}, {"ant": 1, "cat": 6})
    assert changes == (CountChange("ant", 0, 1), CountChange("cat", 5, 6), CountChange("dog", 7, 0))
    assert [change.relative for change in changes] == [None, pytest.approx(0.2), -1.0]


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        (100, 160, True),
        (100, 150, False),  # the bound itself
        (100, 45, True),
        (4, 8, False),  # twice as many, but so do chance's
        (0, 100, False),  # a new class is a reason of its own
        (100, 0, False),
    ],
)
def test_a_change_counts_beyond_the_bound_and_chance(then, now, expected):
    assert CountChange("cat", then, now).exceeds(0.5) is expected


def test_total_variation():
    assert share_distance(count_changes({"cat": 10, "dog": 30}, {"cat": 100, "dog": 300})) == 0
    assert share_distance(count_changes({"cat": 10}, {"dog": 3})) == 1
    assert share_distance(count_changes({"cat": 3, "dog": 1}, {"cat": 1, "dog": 3})) == pytest.approx(0.5)
    assert share_distance(count_changes({"cat": 3}, {})) == 1
