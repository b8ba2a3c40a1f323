import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtail.config import PromotionConfig
from longtail.errors import InputError
from longtail.gate import Scores
from longtail.tracking import champions, promotion
from longtail.tracking.promotion import promote_version
from longtail.tracking.registry import champion, keep_scores, kept_scores, numbered

CONFIG = PromotionConfig(model="fish", overall_fall=5.0)
NAMES, GROUPS = ("a", "b", "c", "d"), ("many", "many", "few", "few")
LABELS = np.repeat(np.arange(4), 100)


def scores(few, seed=0):
    """Return the scores of a model that gets this share of the few-shot images right."""
    right = np.random.default_rng(seed).random(400) < np.array([0.9, 0.9, few, few])[LABELS]
    return Scores(LABELS, np.where(right, LABELS, 0), NAMES, GROUPS, "d" * 64)


@pytest.fixture
def champion_and_challenger(tracking, registered):
    """A client, and two versions of which the first is the champion and half as good in the tail."""
    first, second = registered(tracking, seed=1), registered(tracking, seed=2)
    for version, few in ((first, 0.3), (second, 0.6)):
        keep_scores(tracking, version, scores(few), version.run_id)
    champions.promote(tracking, "fish", 1, expected=None)
    return tracking, numbered(tracking, "fish", 1), numbered(tracking, "fish", 2)


def test_a_better_version_comes_into_use_and_its_report_is_kept(champion_and_challenger):
    client, _, second = champion_and_challenger
    outcome = promote_version(client, second, scores(0.6), CONFIG, second.run_id)
    assert outcome.promoted and outcome.sentence.endswith("It is the champion now.")
    found = champion(client, "fish")
    assert found.number == 2
    run_id, _, path = found.tags["gate_report"].removeprefix("runs:/").partition("/")
    assert "fish/2 passes the gate" in Path(client.download_artifacts(run_id, path)).read_text(encoding="utf-8")
    report = json.loads(Path(client.download_artifacts(run_id, path.replace("html", "json"))).read_bytes())
    assert report["promoted"] and report["champion"] == "fish/1" and report["differences"]["few"]["low"] > 0


def test_the_champion_again_is_no_change(champion_and_challenger):
    client, first, _ = champion_and_challenger
    outcome = promote_version(client, first, scores(0.3), CONFIG, first.run_id)
    assert outcome.promoted and outcome.decision is None and outcome.sentence == "fish/1 is the champion already."


def test_a_version_that_is_no_better_stays_challenger(champion_and_challenger):
    client, _, second = champion_and_challenger
    outcome = promote_version(client, second, scores(0.3), CONFIG, second.run_id)
    assert not outcome.promoted and champion(client, "fish").number == 1 and "does not pass" in outcome.sentence


def test_a_version_that_passes_may_be_left_where_it_is(champion_and_challenger):
    client, _, second = champion_and_challenger
    outcome = promote_version(client, second, scores(0.6), replace(CONFIG, promote=False), second.run_id)
    assert outcome.decision.promoted and not outcome.promoted and champion(client, "fish").number == 1


def test_a_champion_that_was_not_tested_on_this_set_is_tested_once(champion_and_challenger):
    client, _, second = champion_and_challenger
    mine, asked = replace(scores(0.6), test_digest="e" * 64), []

    def score(version):
        asked.append(version.label)
        return replace(scores(0.3), test_digest="e" * 64)

    for _ in range(2):
        outcome = promote_version(client, second, mine, replace(CONFIG, promote=False), second.run_id, score)
        assert outcome.decision.promoted
    assert asked == ["fish/1"] and kept_scores(client, numbered(client, "fish", 1), "e" * 64) is not None


def test_without_a_way_to_test_it_the_answer_is_no(champion_and_challenger):
    client, _, second = champion_and_challenger
    mine = replace(scores(0.9), test_digest="e" * 64)
    outcome = promote_version(client, second, mine, CONFIG, second.run_id)
    assert not outcome.promoted and "no predictions of fish/1 on this held-out set" in outcome.sentence

    def refuse(version):
        raise InputError("it reads images, this run has rows of features")

    outcome = promote_version(client, second, mine, CONFIG, second.run_id, refuse)
    assert not outcome.promoted and "fish/1 (it reads images, this run has rows of features)" in outcome.sentence
    assert not promote_version(client, second, None, CONFIG, second.run_id).promoted


def test_the_first_version_is_promoted_only_if_asked(tracking, registered):
    first = registered(tracking)
    assert not promote_version(tracking, first, scores(0.5), CONFIG, first.run_id).promoted
    assert champion(tracking, "fish") is None
    assert promote_version(tracking, first, scores(0.5), replace(CONFIG, bootstrap=True), first.run_id).promoted


def test_a_champion_that_changes_meanwhile_is_compared_with(champion_and_challenger, registered, monkeypatch):
    client, _, second = champion_and_challenger
    third, real, seen = registered(client, seed=3), champions.promote, []
    keep_scores(client, third, scores(0.95), third.run_id)

    def late(client, name, number, **options):
        seen.append(options["expected"])
        if len(seen) == 1:
            assert real(client, name, 3, expected=1)
        return real(client, name, number, **options)

    monkeypatch.setattr(promotion, "promote", late)
    outcome = promote_version(client, second, scores(0.6), CONFIG, second.run_id)
    assert seen == [1] and not outcome.promoted and outcome.decision.champion == "fish/3"
    assert champion(client, "fish").number == 3
