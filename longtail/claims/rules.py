"""The claims, and from which numbers on each holds: one table, and one rule for the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from longtail.claims.statistics import Interval
from longtail.errors import InputError

HOLDS, PARTLY, FAILS = "holds", "holds partly", "does not hold"


@dataclass(frozen=True)
class Criterion:
    """A number that must lie, with its whole 95 % interval, on one side of a threshold."""

    name: str
    meaning: str
    side: Literal["below", "above"]
    threshold: float
    essential: bool = True  # without any essential criterion met a claim does not hold

    def met(self, interval: Interval) -> bool:
        """Return whether the whole interval is on the right side."""
        return interval.high < self.threshold if self.side == "below" else interval.low > self.threshold


@dataclass(frozen=True)
class Claim:
    """What the paper says, and what would have to be measured for it to be so."""

    statement: str
    criteria: tuple[Criterion, ...]
    trains: bool = False  # whether it needs networks that are trained here


@dataclass(frozen=True)
class Finding:
    """What was measured for a claim on one kind of network."""

    claim: str
    statement: str
    networks: str  # which, and how many
    measured: str
    verdict: str  # `holds`, `holds partly` or `does not hold`
    values: Mapping[str, Any]  # plain JSON values


CLAIMS: Mapping[str, Claim] = {
    "C1": Claim(
        "Layer spectra resemble the spectrum of the whole network: a bulk at zero and a few outliers.",
        (
            # Half as far as chance is a weak demand: nearly all of any spectrum lies in its bulk.
            Criterion("distance", "distance of a layer to the whole, over that of a shuffled spectrum", "below", 0.5),
            # Layers may be alike without being like the whole in particular: one of them is then as near as it is.
            Criterion(
                "others", "distance of a layer to the whole, over that to another layer", "below", 1.0, essential=False
            ),
            Criterion("bulk", "share of a layer's eigenvalues within 1 % of its top one from zero", "above", 0.8),
        ),
    ),
    "C2": Claim(
        "The spectra of middle layers are nearest to that of the whole network.",
        (
            Criterion("true", "distance of middle layers over that of outer ones", "below", 1.0),
            Criterion("curvature", "the same of shares of curvature, where zeros weigh nothing", "below", 1.0, False),
            Criterion("legacy", "the same by the published code's distance", "below", 1.0, essential=False),
            # Zero is what layers drawn at random would reach.
            Criterion("nearest", "seeds whose nearest layer is a middle one, less chance", "above", 0.0, False),
            # The largest layer has nearly all of the whole's bulk, so it is near whatever its depth.
            Criterion(
                "size", "rank correlation of distance and distance from mid-depth, given size", "above", 0, False
            ),
        ),
    ),
    "C3": Claim(
        "Trace and top eigenvalue fall as training proceeds, once they are past their peak.",
        (
            Criterion("trace", "rank correlation of trace and epoch from the peak on", "below", -0.8),
            Criterion("top", "the same of the top eigenvalue", "below", -0.8),
            Criterion("fall", "last trace over the peak's", "below", 1.0, essential=False),
            Criterion("layers", "share of layers with both correlations below -0.8", "above", 0.8, essential=False),
        ),
        trains=True,
    ),
    "C4": Claim(
        "A layer has about as many outliers as there are classes, and its Gauss-Newton block is close to its Hessian.",
        (
            Criterion("outliers", "median of |outliers of a layer / classes - 1|", "below", 0.5),
            Criterion("residual", "largest norm of the rest over that of the layer's Hessian", "below", 0.05),
        ),
    ),
    "C5": Claim(
        "The whole network's Gauss-Newton matrix has nearly the spectrum of the Hessian at some epochs.",
        (
            Criterion("top", "least relative difference of the top eigenvalues", "below", 0.05),
            Criterion(
                "negative", "lowest over top eigenvalue of the Hessian there", "below", 0.1, essential=False
            ),  # a Gauss-Newton matrix has no negative eigenvalue
        ),
    ),
    "C6": Claim(
        "Networks that generalise better have a lower trace, and penalising the trace makes them generalise better.",
        (
            Criterion("correlation", "rank correlation of trace at equal training loss and test error", "above", 0.0),
            Criterion("error", "test error with penalty less without, percentage points", "below", 0.0),
            Criterion("decay", "test error with penalty less with weight decay", "below", 0.0, essential=False),
            Criterion("trace", "trace at equal training loss, with penalty over without", "below", 1.0, False),
        ),
        trains=True,
    ),
    "C7": Claim(
        "Penalising the middle layers alone is as good as penalising all, and cheaper.",
        (
            # What half a percentage point means: two or three of the 500 test images.
            Criterion("error", "test error with middle layers less with all, percentage points", "below", 0.5),
            Criterion("cost", "seconds a step with middle layers over those with all", "below", 1.0, essential=False),
        ),
        trains=True,
    ),
}


def choose(names: Sequence[str]) -> list[str]:
    """Return the claims that are asked for, in their order; all if none is.

    Raises:
        InputError: If one is unknown.
    """
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is not a claim: choose from {', '.join(CLAIMS)}")
    return [name for name in CLAIMS if not names or name in names]


def conclude(
    claim: str, networks: str, measures: Mapping[str, Interval], *, remark: str = "", values: Mapping[str, Any] = {}
) -> Finding:
    """Return a claim's finding from what was measured.

    A claim holds if all its criteria are met, does not hold if no essential one is, and holds partly otherwise. So a
    number whose interval reaches over its threshold counts against the claim.

    Args:
        claim: Which one.
        networks: On which networks.
        measures: An interval for each criterion; one that could not be measured is missing, and not met.
        remark: What else a reader must know.
        values: What else was measured, as plain JSON values.

    Raises:
        InputError: If there is no such claim.
    """
    rule = CLAIMS[choose([claim])[0]]
    met = {entry.name: entry.name in measures and entry.met(measures[entry.name]) for entry in rule.criteria}
    if all(met.values()):
        verdict = HOLDS
    elif any(met[entry.name] for entry in rule.criteria if entry.essential):
        verdict = PARTLY
    else:
        verdict = FAILS
    parts = [_sentence(entry, measures.get(entry.name), met[entry.name]) for entry in rule.criteria]
    plain = {
        entry.name: None
        if (found := measures.get(entry.name)) is None
        else {"value": found.value, "low": found.low, "high": found.high, "met": met[entry.name]}
        for entry in rule.criteria
    }
    measured = "; ".join(parts) + (f". {remark}" if remark else "")
    return Finding(claim, rule.statement, networks, measured, verdict, {"criteria": plain, **values})


def _sentence(criterion: Criterion, interval: Interval | None, met: bool) -> str:
    if interval is None:
        return f"{criterion.meaning}: not measured"
    answer = "met" if met else "not met"
    return f"{criterion.meaning} {interval} ({answer}: {criterion.side} {criterion.threshold:g})"
