import dataclasses

from longtail.run_report.words import computed, sentences, title


def plain(facts):
    """Return the sentences with spaces that lines may be broken at."""
    return [said.replace("\u00a0", " ") for said in sentences(facts)]


def test_a_run_in_words(facts):
    assert title(facts) == "Longtail run on toys: 2 classifiers compared"
    data, whole, few, curvature, promotion, work = plain(facts)
    assert data == (
        "355 training examples of toys in 3 classes, 300 in the largest and 5 in the smallest: 1 many-shot (more than "
        "100), 1 medium-shot (20 to 100), 1 few-shot (fewer than 20); 60 test examples."
    )
    low, high = facts.gains["crt"]["top1"]
    assert whole == (
        "On the whole test set, crt gains most: from 60.0 % (baseline) to 73.3 %, +13.3 points (95 % interval "
        f"{low:+.1f} to {high:+.1f})."
    )
    assert few.startswith("On few-shot classes, crt gains most: from 20.0 % (baseline) to 60.0 %, +40.0 points")
    assert curvature == "Balancing by crt lowers the trace."
    assert promotion == "Version 2 is the champion: it is better."
    assert work == (
        "This run computed 3 of 4 steps in 6.0 s of work; the others came from the cache, where they had taken "
        "1 min 0 s."
    )


def test_a_run_without_a_cache_and_of_unknown_data(facts):
    fresh = dataclasses.replace(facts, pipeline_run="p-1", data={}, lineage={"x": facts.lineage["data_imbalancing"]})
    assert computed(fresh) == "This run computed 1 of 1 step in 1 min 0 s of work."
    assert title(fresh) == "Longtail run: 2 classifiers compared"


def test_no_gain_is_no_gain(facts):
    better = dict(reversed(facts.evaluations.items()))
    alone = {"crt": facts.evaluations["crt"]}
    _, whole, *_ = plain(dataclasses.replace(facts, evaluations=better))
    assert whole == "On the whole test set, crt is right in 73.3 %; no other classifier is more accurate."
    _, whole, *_ = plain(dataclasses.replace(facts, evaluations=alone))
    assert whole == "On the whole test set, crt is right in 73.3 %."
