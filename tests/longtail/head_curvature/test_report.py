import json

import pytest

from longtail.head_curvature.blocks import Block
from longtail.head_curvature.report import HeadCurvature, sentence, shares


@pytest.fixture
def make_head():
    """Return a function that builds the numbers of a head from its Gauss-Newton traces by group."""

    def make(top=1.0, loss=0.5, residual=0.0, **traces):
        total = sum(traces.values())
        blocks = {"all": Block(9, 90, total + residual, total, 0.1, top)}
        blocks |= {group: Block(3, 30, trace, trace, 0.1, top) for group, trace in traces.items()}
        return HeadCurvature("linear", 1.0, loss, 4.0, blocks, None, None)

    return make


def test_one_sentence_of_numbers(make_head):
    heads = {
        "baseline": make_head(2.0, 0.5, many=11.8, few=0.5),
        "crt": make_head(9.0, 0.1, many=1.0, few=1.0),
        "tailcalibx": make_head(3.0, 0.25, many=5.6, few=2.5),
    }
    assert sentence(heads) == (
        "Balancing by tailcalibx lowers the last layer's trace from 12.3 to 8.1 (×0.659), raises its top eigenvalue "
        "from 2 to 3 (×1.5) and moves the few-shot classes' share of the trace from 4 % to 31 %; mean loss from 0.5 "
        "to 0.25 (×0.5), compared with baseline."
    )


def test_a_residual_part_is_told_from_the_gauss_newton_trace(make_head):
    heads = {"baseline": make_head(residual=-5.0, many=3.0, few=1.0), "crt": make_head(residual=1.0, many=1.0, few=1.0)}
    assert sentence(heads).startswith(
        "Balancing by crt raises the last layer's trace from -1 to 3, lowers its Gauss-Newton trace from 4 to 2 "
        "(×0.5), leaves its top eigenvalue at 1 and moves the few-shot classes' share of the Gauss-Newton trace from "
        "25 % to 50 %;"
    )


def test_without_few_shot_classes_there_is_no_share(make_head):
    heads = {"baseline": make_head(many=3.0), "crt": make_head(many=3.0)}
    assert sentence(heads) == (
        "Balancing by crt leaves the last layer's trace at 3 and leaves its top eigenvalue at 1; mean loss at 0.5, "
        "compared with baseline."
    )


def test_one_classifier_and_none(make_head):
    assert sentence({"crt": make_head(many=1234.0)}) == (
        "The last layer of crt has trace 1,234 and top eigenvalue 1 at mean loss 0.5."
    )
    assert sentence({}) == "No classifier's last layer could be analysed."


@pytest.mark.parametrize("traces", [{"all": 0.0, "many": 0.0}, None])
def test_shares_need_traces_that_are_not_zero(traces):
    assert shares(traces) == {}


def test_shares_add_up(make_head):
    assert shares(make_head(many=1.0, medium=2.0, few=5.0).gauss_newton) == {
        "many": 0.125,
        "medium": 0.25,
        "few": 0.625,
    }


def test_it_is_plain_json(make_head):
    values = json.loads(json.dumps(make_head(many=1.0, few=2.0).to_dict(), allow_nan=False))
    assert values["blocks"]["few"]["trace"] == 2.0
    assert values["training_traces"] is None
