import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.metrics import evaluate
from longtail.evaluation.table import check_comparable, class_count, comparison_rows, comparison_table

LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])
COUNTS = [500, 200, 50, 5]


@pytest.fixture
def evaluations():
    return {
        "CE as trained": evaluate(np.array([0, 0, 1, 1, 2, 0, 0, 0]), LABELS, COUNTS),
        "TailCalib": evaluate(np.array([0, 0, 1, 0, 2, 0, 3, 3]), LABELS, COUNTS),
    }


def test_rows_hold_accuracies_and_gains_over_the_first(evaluations):
    assert comparison_rows(evaluations) == [
        ["method", "all", "many (2 classes)", "medium (1 class)", "few (1 class)", "gain few", "gain all"],
        ["CE as trained", "62.50", "100.00", "50.00", "0.00", "–", "–"],
        ["TailCalib", "75.00", "75.00", "50.00", "100.00", "+100.00", "+12.50"],
    ]


def test_a_loss_keeps_its_sign(evaluations):
    rows = comparison_rows(dict(reversed(evaluations.items())))
    assert rows[2][-2:] == ["-100.00", "-12.50"]


def test_text_is_aligned(evaluations):
    header, rule, *lines = comparison_table(evaluations).splitlines()
    assert {len(line) for line in (header, rule, *lines)} == {len(header)}
    assert lines[1].startswith("TailCalib ")
    assert lines[1].endswith("+12.50")
    end = header.index("few (1 class)") + len("few (1 class)")
    assert lines[0][:end].endswith("0.00")


def test_markdown_escapes_bars(evaluations):
    table = comparison_table({"a|b": evaluations["TailCalib"]}, style="markdown")
    header, rule, line = table.splitlines()
    assert line.startswith(r"| a\|b")
    assert rule.count("|") == header.count("|") == 8
    assert rule.count(":") == 6


def test_empty_group_is_a_dash():
    evaluation = evaluate(np.array([0, 1]), np.array([0, 1]), [30, 30])
    header, line = comparison_rows({"CE": evaluation})
    assert (header[2], header[4], class_count(evaluation, "few")) == (
        "many (no classes)",
        "few (no classes)",
        "no classes",
    )
    assert line == ["CE", "100.00", "–", "100.00", "–", "–", "–"]
    assert comparison_rows({"CE": evaluation, "cRT": evaluate([0, 1], [0, 1], [30, 30])})[2][-2:] == ["–", "+0.00"]


def test_refuses_what_cannot_be_compared(evaluations):
    with pytest.raises(InputError, match="0 classifiers"):
        comparison_rows({})
    with pytest.raises(InputError, match="style is 'html': choose from text, markdown"):
        comparison_table(evaluations, style="html")
    for other in (evaluate(LABELS, LABELS, [500, 5, 5, 5]), evaluate(LABELS[:4], LABELS[:4], COUNTS)):
        with pytest.raises(InputError, match="'cRT' and 'CE as trained' were evaluated on different"):
            check_comparable({**evaluations, "cRT": other})
