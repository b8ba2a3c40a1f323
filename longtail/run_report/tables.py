"""The tables of a run's report: its classifiers, what its steps took, where their results come from."""

from datetime import UTC, datetime

from longtail.evaluation import GROUPS, Evaluation
from longtail.pages import Table
from longtail.run_report.facts import Facts, Intervals
from longtail.run_report.words import signed

_COLUMNS = {"top1": "all", **{group: group for group in GROUPS}}
_DIGITS = 12


def methods_rows(facts: Facts) -> list[list[str]]:
    """Return the classifiers side by side: the header, then accuracies in percent with their 95 % intervals."""
    groups = [
        group for group in _COLUMNS if any(getattr(scores, group) is not None for scores in facts.evaluations.values())
    ]
    first = next(iter(facts.evaluations))
    gained = [group for group in ("top1", "few") if group in groups]
    rows = [["classifier", *(_COLUMNS[group] for group in groups), *(f"gain: {_COLUMNS[group]}" for group in gained)]]
    for method, scores in facts.evaluations.items():
        row = [method, *(_score(scores, group, facts.intervals[method]) for group in groups)]
        before = facts.evaluations[first]
        rows.append(row + [_gain(scores, before, group, facts.gains.get(method, {})) for group in gained])
    return rows


def timings(facts: Facts) -> Table:
    """Return what each step took."""
    rows = [
        [label, f"{float(made['seconds']):.1f}", _moment(made["started"]), _origin(facts, label)]
        for label, made in facts.steps.items()
    ]
    return Table(
        ["step", "seconds", "began (UTC)", "in this run"],
        rows,
        "A step's time is its own, from its first check to its last output; the start of its process comes on top.",
    )


def lineage(facts: Facts) -> Table:
    """Return where the result of each step comes from."""
    header = ["step", "in this run", "MLflow run", "commit", "seed", "SHA-256 of what it wrote"]
    rows = [
        [
            label,
            _origin(facts, label),
            made["run_id"] or None,
            _commit(made["git_commit"]) or None,
            str(int(made["seed"])),
            ", ".join(f"{name} {digest[:_DIGITS]}" for name, digest in made["sha256"].items()),
        ]
        for label, made in facts.steps.items()
    ]
    images = [made["image"] for made in facts.steps.values()]
    if any(images):
        header, rows = [*header, "image"], [[*row, image or None] for row, image in zip(rows, images, strict=True)]
    return Table(header, rows)


def _commit(commit: str) -> str:
    name, mark, _ = commit.partition("-dirty")
    return f"{name[:_DIGITS]}{mark}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _origin(facts: Facts, label: str) -> str:
    return "from the cache" if label in facts.cached else "computed"


def _score(scores: Evaluation, group: str, intervals: Intervals) -> str:
    value = getattr(scores, group)
    if value is None:
        return "–"
    low, high = intervals[group]
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def _gain(scores: Evaluation, before: Evaluation, group: str, intervals: Intervals) -> str:
    if group not in intervals:
        return "–"
    low, high = intervals[group]
    return f"{signed(getattr(scores, group) - getattr(before, group))} ({signed(low)} to {signed(high)})"
