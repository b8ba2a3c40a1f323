import json

import pytest

from longtail.claims.rules import CLAIMS, Criterion, choose, conclude
from longtail.claims.statistics import Interval
from longtail.errors import InputError


def interval(low, high):
    return Interval((low + high) / 2, low, high, 5)


def test_a_criterion_wants_the_whole_interval():
    below, above = Criterion("x", "x", "below", 1.0), Criterion("x", "x", "above", 1.0)
    assert below.met(interval(0.1, 0.9))
    assert not below.met(interval(0.1, 1.1))
    assert above.met(interval(1.1, 1.9))
    assert not above.met(interval(0.9, 1.9))


def test_all_claims_are_there_and_each_has_an_essential_criterion():
    assert list(CLAIMS) == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]
    for claim in CLAIMS.values():
        assert any(entry.essential for entry in claim.criteria)
        assert len({entry.name for entry in claim.criteria}) == len(claim.criteria)


@pytest.mark.parametrize(
    ("error", "cost", "verdict"),
    [
        ((-0.4, 0.3), (0.6, 0.8), "holds"),
        ((-0.4, 0.3), (0.8, 1.2), "holds partly"),
        ((-0.4, 0.7), (0.6, 0.8), "does not hold"),  # cheap, but nobody knows whether as good
        ((-0.4, 0.7), (0.8, 1.2), "does not hold"),
    ],
)
def test_verdicts(error, cost, verdict):
    found = conclude("C7", "five networks", {"error": interval(*error), "cost": interval(*cost)})
    assert found.verdict == verdict
    assert found.networks == "five networks"
    assert found.statement == CLAIMS["C7"].statement


def test_what_was_not_measured_is_not_met():
    found = conclude("C7", "n", {"error": interval(-0.4, 0.3)}, remark="Because.", values={"more": [1]})
    assert found.verdict == "holds partly"
    assert found.measured == (
        "test error with middle layers less with all, percentage points -0.05 [-0.4, 0.3] (met: below 0.5); seconds a "
        "step with middle layers over those with all: not measured. Because."
    )
    assert found.values["criteria"]["cost"] is None
    assert found.values["criteria"]["error"]["met"] is True
    assert found.values["more"] == [1]
    json.dumps(dict(found.values))


def test_choice_of_claims():
    assert choose([]) == list(CLAIMS)
    assert choose(["C5", "C2"]) == ["C2", "C5"]
    with pytest.raises(InputError, match="'C8' is not a claim: choose from C1, C2"):
        choose(["C2", "C8"])
