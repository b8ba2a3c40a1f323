"""What a run was and what came of it, in sentences."""

from longtail.evaluation import Evaluation
from longtail.run_report.facts import Facts

_NAMED = {"top1": "the whole test set", "few": "few-shot classes"}


def title(facts: Facts) -> str:
    """Return the heading of the run's page."""
    name = facts.data.get("name", "")
    what = f" on {name}" if name else ""
    return f"Longtail run{what}: {_count(len(facts.evaluations), 'classifier')} compared"


def sentences(facts: Facts) -> list[str]:
    """Return the run in words: the data, each group's gain, the curvature, the gate, what was computed."""
    told = [said for step in ("head_curvature", "promotion") if (said := facts.sentence(step))]
    return [_data(facts), *_accuracy(facts), *told, computed(facts)]


def computed(facts: Facts) -> str:
    """Return how many steps this run computed and how long that took."""
    cached = facts.cached
    spent = {label: float(made["seconds"]) for label, made in facts.lineage.items()}
    fresh = [seconds for label, seconds in spent.items() if label not in cached]
    said = f"This run computed {len(fresh)} of {_count(len(spent), 'step')} in {duration(sum(fresh))} of work"
    if not cached:
        return f"{said}."
    saved = duration(sum(spent[label] for label in cached))
    return f"{said}; the others came from the cache, where they had taken {saved}."


def duration(seconds: float) -> str:
    """Return a time as one reads it.

    >>> [duration(value) for value in (0.26, 59.96, 61, 3600)]
    ['0.3 s', '1 min 0 s', '1 min 1 s', '1 h 0 min']
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def signed(points: float) -> str:
    """Return a difference with its sign.

    >>> [signed(value) for value in (1.25, -0.01, -3.0)]
    ['+1.2', '+0.0', '-3.0']
    """
    return f"{round(points, 1) + 0.0:+.1f}"


def _data(facts: Facts) -> str:
    counts, tested = facts.train_counts, next(iter(facts.evaluations.values())).support.sum()
    named = f" of {facts.data['name']}" if facts.data.get("name") else ""
    groups = [_group(facts, group) for group in ("many", "medium", "few")]
    return (
        f"{counts.sum():,} training examples{named} in {_count(len(counts), 'class', 'es')}, {counts.max():,} in the "
        f"largest and {counts.min():,} in the smallest: {', '.join(part for part in groups if part)}; "
        f"{tested:,} test examples."
    )


def _group(facts: Facts, group: str) -> str:
    size = sum(entry == group for entry in next(iter(facts.evaluations.values())).groups)
    bound = {
        "many": f"more than {facts.many_above}",
        "medium": f"{facts.few_below} to {facts.many_above}",
        "few": f"fewer than {facts.few_below}",
    }[group]
    return f"{size} {group}-shot ({bound})" if size else ""


def _accuracy(facts: Facts) -> list[str]:
    """Return how the best classifier compares with the baseline, for all and for the few-shot classes."""
    baseline = next(iter(facts.evaluations))
    told = []
    for group, named in _NAMED.items():
        values = {
            name: value for name, scores in facts.evaluations.items() if (value := _score(scores, group)) is not None
        }
        if not values:
            continue
        best = max(values, key=lambda name: values[name])
        before, after = values[baseline], values[best]
        if best == baseline:
            others = " no other classifier is more accurate." if len(values) > 1 else ""
            told.append(f"On {named}, {baseline} is right in {before:.1f}\u00a0%{';' if others else '.'}{others}")
        else:
            told.append(
                f"On {named}, {best} gains most: from {before:.1f}\u00a0% ({baseline}) to {after:.1f}\u00a0%, "
                f"{signed(after - before)} points{_interval(facts, best, group)}."
            )
    return told


def _interval(facts: Facts, method: str, group: str) -> str:
    low, high = facts.gains[method][group]
    return f" (95\u00a0% interval {signed(low)} to {signed(high)})"


def _score(scores: Evaluation, group: str) -> float | None:
    value: float | None = getattr(scores, group)
    return value


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"
