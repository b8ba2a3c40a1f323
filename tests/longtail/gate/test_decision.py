import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from longtail.config.promotion import PromotionConfig
from longtail.gate import Candidate, decide

CONFIG = PromotionConfig(model="fish")


def outcomes(decision):
    return {criterion.name: criterion.passed for criterion in decision.criteria}


@pytest.mark.parametrize("images", [5, 50])
def test_equal_models_are_promoted_at_no_more_than_the_stated_rate(model, images):
    lenient = replace(CONFIG, overall_fall=100.0)  # so that the rate is that of the rise alone
    promoted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        decision = decide(model(rng, images=images), model(rng, images=images, name="fish/1"), lenient)
        promoted += decision.promoted
        assert outcomes(decision)["evidence"]
    assert promoted <= binom.ppf(0.999, 200, CONFIG.level)
    assert images == 5 or promoted >= binom.ppf(0.001, 200, CONFIG.level)  # not by never promoting at all


def test_a_better_model_is_promoted_most_of_the_time_and_the_better_the_more_often(model):
    rates = {}
    for gain in (0.1, 0.2):
        promoted = 0
        for seed in range(50):
            rng = np.random.default_rng(seed)
            challenger, champion = model(rng, gain, 100, others=0.01), model(rng, images=100, name="fish/1")
            promoted += decide(challenger, champion, replace(CONFIG, overall_fall=2.0)).promoted
        rates[gain] = promoted / 50
    assert rates[0.2] >= 0.9 and rates[0.2] > rates[0.1] > 0.3


def test_the_very_same_model_is_not_promoted(model):
    same = model(np.random.default_rng(0))
    decision = decide(same, replace(same, name="fish/1"), CONFIG)
    assert outcomes(decision) == {"evidence": True, "rise": False, "overall": True, "classes": True}
    assert "few-shot accuracy goes from" in decision.sentence and "no rise beyond chance" in decision.sentence


def test_a_rise_of_the_tail_does_not_pay_for_a_fall_of_the_rest(model):
    rng = np.random.default_rng(0)
    challenger, champion = model(rng, 0.2, 200, others=-0.2), model(rng, images=200, name="fish/1")
    decision = decide(challenger, champion, replace(CONFIG, class_fall=100.0, overall_fall=0.5))
    found = outcomes(decision)
    assert found["rise"] and found["classes"] and not decision.promoted
    measured = next(one for one in decision.criteria if one.name == "overall")
    right = [np.mean(one.scores.predictions == one.scores.labels) for one in (challenger, champion)]
    assert measured.measured == pytest.approx(100 * (right[0] - right[1])) and measured.bound == -0.5
    assert "more than 0.5 points" in decision.sentence


def test_too_few_images_to_exclude_a_fall_are_a_no_and_say_so(model):
    rng = np.random.default_rng(1)
    challenger, champion = model(rng, 0.1, images=10), model(rng, images=10, name="fish/1")
    overall = next(one for one in decide(challenger, champion, CONFIG).criteria if one.name == "overall")
    assert overall.measured >= -1 > overall.low and not overall.passed
    assert "which does not exclude a fall of more than 1 points" in overall.sentence


def broken(candidate, label, share):
    rows = np.flatnonzero(candidate.scores.labels == label)
    predictions = candidate.scores.predictions.copy()
    predictions[rows[: int(share * len(rows))]] = (label + 1) % 10
    return replace(candidate, scores=replace(candidate.scores, predictions=predictions))


def test_one_class_that_collapses_stops_a_promotion_and_is_named(model):
    rng = np.random.default_rng(0)
    challenger, champion = model(rng, 0.4, 100), model(rng, images=100, name="fish/1")
    assert decide(challenger, champion, replace(CONFIG, overall_fall=5.0)).promoted
    decision = decide(broken(challenger, 0, 0.5), champion, replace(CONFIG, overall_fall=50.0))
    assert outcomes(decision) == {"evidence": True, "rise": True, "overall": True, "classes": False}
    assert "class 'a' falls by" in decision.sentence and "more than the allowed 20" in decision.sentence
    assert decide(broken(challenger, 0, 0.5), champion, replace(CONFIG, overall_fall=50.0, class_fall=80)).promoted


def test_a_class_of_few_images_falls_within_noise(model):
    rng = np.random.default_rng(1)
    challenger, champion = model(rng, 0.4, 5), model(rng, images=5, name="fish/1")
    decision = decide(broken(challenger, 0, 0.8), champion, replace(CONFIG, overall_fall=50.0))
    classes = next(one for one in decision.criteria if one.name == "classes")
    assert classes.passed and classes.measured <= -60


def test_missing_evidence_is_a_no_with_its_reason(model):
    rng = np.random.default_rng(0)
    champion, better = model(rng, name="fish/1"), model(rng, 0.5)
    unscored = Candidate("fish/2", None, {})
    others = replace(better, scores=replace(better.scores, test_digest="e" * 64))
    for challenger, current, reason in (
        (unscored, champion, "no predictions of fish/2 on a held-out set"),
        (better, replace(champion, scores=None), "no predictions of fish/1 on this held-out set"),
        (others, champion, "fish/1 was tested on other images than fish/2"),
    ):
        decision = decide(challenger, current, CONFIG)
        assert not decision.promoted and reason in decision.sentence and not decision.differences


def test_the_first_model_needs_to_be_asked_for(model):
    first = model(np.random.default_rng(0))
    refused, promoted = decide(first, None, CONFIG), decide(first, None, replace(CONFIG, bootstrap=True))
    assert not refused.promoted and "first model, and promotion.bootstrap is not set" in refused.sentence
    assert promoted.promoted and not decide(replace(first, scores=None), None, replace(CONFIG, bootstrap=True)).promoted


@pytest.mark.parametrize(
    ("mine", "theirs", "passed", "reason"),
    [
        ({"trace": 2.0, "top_eigenvalue": 1.0}, {"trace": 2.0, "top_eigenvalue": 1.0}, True, "1.00 times"),
        ({"trace": 2.0, "top_eigenvalue": 3.1}, {"trace": 2.0, "top_eigenvalue": 1.0}, False, "top eigenvalue is 3.10"),
        ({}, {"trace": 2.0}, False, "no curvature of fish/2 is known"),
        ({"trace": 2.0}, {}, False, "trace of fish/1 and fish/2 cannot be compared"),
        ({"trace": 2.0}, {"trace": -1.0}, False, "cannot be compared"),
        ({"trace": float("nan")}, {"trace": 1.0}, False, "cannot be compared"),
    ],
)
def test_flatness_is_asked_for_by_its_bound(model, mine, theirs, passed, reason):
    rng = np.random.default_rng(0)
    challenger, champion = model(rng, 0.3, curvature=mine), model(rng, name="fish/1", curvature=theirs)
    assert "flatness" not in outcomes(decide(challenger, champion, CONFIG))
    decision = decide(challenger, champion, replace(CONFIG, flatness=1.5))
    assert outcomes(decision)["flatness"] is passed
    assert reason in decision.criteria[-1].sentence


def test_without_few_shot_classes_the_next_group_has_to_rise(model):
    rng = np.random.default_rng(0)
    challenger, champion = model(rng), model(rng, name="fish/1")
    groups = tuple("medium" if group == "few" else "many" for group in challenger.scores.groups)
    challenger = replace(challenger, scores=replace(challenger.scores, groups=groups))
    assert "medium-shot accuracy" in decide(challenger, champion, CONFIG).sentence


def test_the_report_is_json_and_the_same_every_time(model):
    rng = np.random.default_rng(0)
    challenger, champion = model(rng, 0.3), model(rng, name="fish/1")
    first, again = (json.dumps(decide(challenger, champion, CONFIG).to_dict(), allow_nan=False) for _ in range(2))
    assert first == again and json.loads(first)["criteria"][1]["name"] == "rise"
