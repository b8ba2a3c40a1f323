"""The gate applied to versions of a registered model: evidence found or made, decision kept, alias moved."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from longtail.config.promotion import PromotionConfig
from longtail.errors import InputError
from longtail.gate import Candidate, Decision, Scores, decide
from longtail.gate.page import gate_page
from longtail.tracking.champions import ChampionChanged, promote
from longtail.tracking.registry import Version, champion, keep_scores, kept_scores

_ATTEMPTS = 5
"""Times that a decision is made again because another version came into use meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """What became of a version.

    Attributes:
        sentence: It, in words.
        promoted: Whether the version is in use now.
        decision: The gate's report; None if nothing had to be decided.
    """

    sentence: str
    promoted: bool
    decision: Decision | None


def promote_version(
    client: Any,
    version: Version,
    scores: Scores | None,
    config: PromotionConfig,
    run_id: str,
    score: Callable[[Version], Scores] | None = None,
) -> Outcome:
    """Decide whether a version replaces the champion, keep the report and move the alias.

    If the champion changes in the meantime, the version is compared with the new one.

    Args:
        client: An `MlflowClient`.
        version: The challenger.
        scores: Its predictions; None if there are none, which is a no.
        config: Bounds; whether the alias is moved.
        run_id: Run that the report and the champion's predictions are kept with.
        score: Makes a version's predictions on the same held-out set if they were not kept; None where it cannot.

    Returns:
        What became of it.

    Raises:
        InputError: If the champion changes all the time.
    """
    for _ in range(_ATTEMPTS):
        current = champion(client, version.name)
        if current is not None and current.number == version.number:
            return Outcome(f"{version.label} is the champion already.", True, None)
        decision = decide(
            Candidate(version.label, scores, version.curvature),
            None if current is None else _candidate(client, current, scores, run_id, score),
            config,
        )
        report = _keep(client, version, decision, run_id)
        if not decision.promoted:
            return Outcome(decision.sentence, False, decision)
        if not config.promote:
            return Outcome(f"{decision.sentence} It was not promoted, as promotion.promote=false.", False, decision)
        before = None if current is None else current.number
        try:
            promote(client, version.name, version.number, expected=before, report=report)
        except ChampionChanged:
            continue
        return Outcome(f"{decision.sentence} It is the champion now.", True, decision)
    raise InputError(f"the champion of {version.name} changed {_ATTEMPTS} times meanwhile: try again")


def _candidate(
    client: Any, version: Version, scores: Scores | None, run_id: str, score: Callable[[Version], Scores] | None
) -> Candidate:
    """Return the champion with its predictions on the challenger's held-out set, if they are there or can be made."""
    kept = kept_scores(client, version, scores.test_digest) if scores else None
    if kept is None and scores is not None and score is not None:
        try:
            kept = score(version)
        except InputError as error:  # a champion that reads something else cannot be compared, which is a no
            return Candidate(f"{version.label} ({error})", None, version.curvature)
        keep_scores(client, version, kept, run_id)
    return Candidate(version.label, kept, version.curvature)


def _keep(client: Any, version: Version, decision: Decision, run_id: str) -> str:
    """Return the address of the report's page, which is stored with the run."""
    name = f"gate/{version.name}-{version.number}"
    client.log_text(run_id, json.dumps(decision.to_dict(), indent=1), f"{name}.json")
    client.log_text(run_id, gate_page(decision), f"{name}.html")
    return f"runs:/{run_id}/{name}.html"
