import json

from longtail.claims.rules import conclude
from longtail.claims.statistics import mean_interval
from longtail.claims.summary import as_json, as_page, as_text

GOOD = conclude("C7", "lenet, 5 seeds", {"error": mean_interval([-0.1, 0.1]), "cost": mean_interval([0.5, 0.6])})
BAD = conclude("C6", "lenet, 5 seeds", {}, remark="Nothing was seen")


def test_text_has_verdict_statement_and_numbers():
    text = as_text([BAD, GOOD])
    lines = text.splitlines()
    assert lines[0] == "C6    does not hold  lenet, 5 seeds"
    assert "C7    does not hold  lenet, 5 seeds" in lines or "C7    holds partly   lenet, 5 seeds" in lines
    assert max(map(len, lines)) <= 110
    assert "Nothing was seen" in text
    assert "not measured" in text


def test_json_can_be_read_back():
    content = json.loads(json.dumps(as_json([GOOD], {"seeds": [1, 2]})))
    assert content["settings"] == {"seeds": [1, 2]}
    assert content["findings"][0]["claim"] == "C7"
    assert content["findings"][0]["verdict"] == GOOD.verdict


def test_page_explains_the_thresholds():
    page = as_page([GOOD], [], {"seeds": [1, 2]})
    assert "below 0.5" in page
    assert GOOD.statement in page
    assert "A claim holds if all its criteria are met" in page
