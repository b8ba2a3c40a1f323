import json

from longtail.drift.counts import count_changes
from longtail.drift.reasons import Drift, Reason, page
from longtail.drift.shift import Shift

NOTHING = Drift("digits/3", "a" * 64, "a" * 64)
FOUND = Drift(
    "digits/3",
    "a" * 64,
    "b" * 64,
    (Reason("classes", "1 class appeared: '<ant>'.", {"appeared": ["<ant>"]}),),
    count_changes({"cat": 5}, {"<ant>": 9, "cat": 5}),
    Shift("", 25, 0.71, 1e-9, True),
    (Shift("cat", 5, 0.71, 1e-5, True),),
)


def test_no_reason_is_told_from_new_content_without_one():
    assert not NOTHING.needed
    assert "byte for byte" in NOTHING.sentence
    assert "new content" in Drift("digits/3", "a", "b").sentence


def test_everything_is_json():
    assert FOUND.needed
    assert FOUND.class_names == ("<ant>", "cat")
    read = json.loads(json.dumps(FOUND.to_dict()))
    assert read["reasons"][0] == {
        "kind": "classes",
        "sentence": "1 class appeared: '<ant>'.",
        "numbers": {"appeared": ["<ant>"]},
    }
    assert read["counts"][0] == {"name": "<ant>", "then": 0, "now": 9}
    assert read["whole"]["distance"] == 0.71


def test_page_says_it_all_and_escapes_names():
    text = page(FOUND)
    assert "There is a reason to train again." in text
    assert "&lt;ant&gt;" in text
    assert "<ant>" not in text
    assert "Feature means" in text
    assert "no reason" in page(NOTHING)
    assert "Feature means" not in page(NOTHING)
