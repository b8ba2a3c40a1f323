import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from longtail.errors import InputError
from longtail.evaluation.metrics import Evaluation, evaluate

COUNTS = np.array([500, 101, 100, 50, 20, 19, 5])


def draw(seed, size=COUNTS.size, images=400):
    generator = np.random.default_rng(seed)
    labels = generator.integers(size, size=images)
    scores = generator.normal(size=(images, size))
    scores[np.arange(images), labels] += generator.normal(1.0, 1.0, size=images)
    return scores, labels


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed):
    scores, labels = draw(seed)
    predictions = scores.argmax(axis=1)
    evaluation = evaluate(scores, labels, COUNTS)
    np.testing.assert_array_equal(evaluation.confusion, confusion_matrix(labels, predictions, labels=range(7)))
    assert evaluation.confusion.dtype == np.int64
    assert evaluation.macro_f1 == pytest.approx(100 * f1_score(labels, predictions, average="macro"))
    assert evaluation.per_class.mean() == pytest.approx(100 * balanced_accuracy_score(labels, predictions))
    assert evaluation.top1 == pytest.approx(100 * np.mean(labels == predictions))


def test_macro_f1_leaves_out_an_untested_class_even_if_it_is_predicted():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 2])
    evaluation = evaluate(predictions, labels, [30, 30, 30])
    expected = f1_score(labels, predictions, labels=[0, 1], average="macro")
    assert evaluation.macro_f1 == pytest.approx(100 * expected)
    assert evaluation.untested == (2,)
    assert evaluation.medium == pytest.approx(50.0)
    np.testing.assert_array_equal(evaluation.per_class, [50.0, 50.0, 0.0])


def test_thresholds_are_those_of_the_paper():
    evaluation = evaluate(np.arange(7), np.arange(7), COUNTS)
    assert evaluation.groups == ("many", "many", "medium", "medium", "medium", "few", "few")
    np.testing.assert_array_equal(evaluation.members("few"), [5, 6])


def test_cifar100_lt_group_sizes():
    # TailCalib, arXiv 2111.05956: at imbalance 100, 50 and 10 the groups have 35/35/30, 41/41/18 and 69/31/0 classes.
    for factor, sizes in {100: (35, 35, 30), 50: (41, 41, 18), 10: (69, 31, 0)}.items():
        counts = np.floor(500 * (1 / factor) ** (np.arange(100) / 99) + 1e-9).astype(np.int64)
        groups = evaluate(np.arange(100), np.arange(100), counts).groups
        assert tuple(groups.count(group) for group in ("many", "medium", "few")) == sizes


def test_group_score_is_the_unweighted_mean_over_classes():
    labels = np.array([0] * 8 + [1] * 2)
    predictions = np.array([0] * 8 + [1, 0])
    evaluation = evaluate(predictions, labels, [300, 200])
    assert (evaluation.top1, evaluation.many) == (90.0, 75.0)
    assert evaluation.medium is None
    assert evaluation.few is None


def test_own_thresholds():
    evaluation = evaluate([0, 1, 0], [0, 1, 2], [9, 5, 4], many_above=4, few_below=5)
    assert evaluation.groups == ("many", "many", "few")


def test_scores_and_predictions_give_the_same_and_ties_go_to_the_lower_class():
    scores = np.array([[0.5, 0.5], [0.1, 0.9]], dtype=np.float32)
    first, second = evaluate(scores, [0, 1], [3, 2]), evaluate([0, 1], [0, 1], [3, 2])
    assert first.to_dict() == second.to_dict()
    assert first.top1 == pytest.approx(100.0)


def test_json_round_trip_keeps_every_value():
    labels = np.array([0, 0, 5, 3])
    evaluation = evaluate(np.array([0, 1, 5, 0]), labels, COUNTS)
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    restored = Evaluation.from_dict(values)
    assert restored.to_dict() == evaluation.to_dict()
    assert restored.confusion.dtype == np.int64
    assert values["untested"] == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("scores", "labels", "counts", "options", "message"),
    [
        ([[0.0, np.nan], [1.0, 0.0]], [0, 1], [5, 5], {}, "NaN in 1 of 2 rows"),
        (np.zeros((2, 3)), [0, 1], [5, 5], {}, r"shape \(2, 3\).*\(N, 2\) floats"),
        (np.zeros((2, 2), dtype=int), [0, 1], [5, 5], {}, "type int64"),
        (np.zeros((3, 2)), [0, 1], [5, 5], {}, "3 rows for 2 labels"),
        ([0, 2], [0, 1], [5, 5], {}, r"predictions has classes from 0 to 2.*\[0, 2\)"),
        ([0.0, 1.0], [0, 1], [5, 5], {}, "predictions has shape"),
        ([0, 1], [0, -1], [5, 5], {}, "labels has classes from -1 to 0"),
        ([0, 1], [0.0, 1.0], [5, 5], {}, "labels has shape"),
        ([0, 1], [[0, 1]], [5, 5], {}, r"labels has shape \(1, 2\)"),
        ([], [], [5, 5], {}, "labels has 0 images"),
        (np.zeros((0, 2)), [], [5, 5], {}, "labels has 0 images"),
        ([0, 1], [0, 1], [5, -5], {}, "train_counts has"),
        ([0, 1], [0, 1], [], {}, "train_counts has"),
        ([0, 1], [0, 1], [5, 5], {"many_above": 10, "few_below": 12}, "few_below is 12 and many_above is 10.*most 11"),
    ],
)
def test_wrong_input_is_one_line(scores, labels, counts, options, message):
    with pytest.raises(InputError, match=message) as caught:
        evaluate(scores, labels, counts, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"groups": ["few"]}, "KeyError.*to_dict"),
        ({"groups": ["few"], "confusion": None}, "must be square"),
        ({"groups": ["few"], "confusion": [[1, 2]]}, "must be square"),
        ({"groups": ["few"], "confusion": [[-1]]}, "must be square"),
        ({"groups": ["few"], "confusion": [[0.5]]}, "must be square"),
        ({"groups": ["few", "few"], "confusion": [[1], [1, 2]]}, "not an evaluation"),
        ({"groups": [], "confusion": []}, "must be square"),
        ({"groups": ["rare"], "confusion": [[1]]}, "group 'rare': choose from many"),
        ({"groups": [["few"]], "confusion": [[1]]}, r"group \['few'\]"),
        ({"groups": ["few"], "confusion": [[0]]}, "0 images"),
    ],
)
def test_wrong_json_is_one_line(values, message):
    with pytest.raises(InputError, match=message) as caught:
        Evaluation.from_dict(values)
    assert "\n" not in str(caught.value)
