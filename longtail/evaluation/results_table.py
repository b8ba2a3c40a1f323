"""The results table: means over runs beside published numbers, as Markdown."""

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from longtail.errors import InputError
from longtail.evaluation.results_labels import AS_TRAINED
from longtail.evaluation.results_rows import Row, number

NO_VALUE = "–"
PUBLISHED_COLUMNS = (
    *("method", "base", "imbalance_factor", "epochs", "top1", "top1_sd", "many", "medium", "few", "runs"),
    *("source", "note", "readme"),
)
_HEADER = ("base", "method", "epochs", "all", "gain", "many", "medium", "few", "minutes", "runs", "source")
SCORES = ("top1", "many", "medium", "few")
_TEXT_COLUMNS = {"base", "method", "source"}
OWN = "this repository"
_EXPLANATION = (
    "CIFAR-100-LT, ResNet-32 with 128 features, accuracy on the full test set in percent: mean ± sample standard "
    "deviation over runs of different seeds. Gain: points over the same networks as trained. Many: classes with more "
    "than 100 training images, few: with fewer than 20. Minutes: training and the method's retraining. "
    '"(reference)" marks runs with quirks of the paper\'s code. *Italics: published by others, not our runs.*'
)
NO_RUNS = "No runs have been collected yet."


@dataclass(frozen=True)
class Statistic:
    """Mean and spread over runs.

    Attributes:
        mean: Their mean.
        sd: Sample standard deviation, with n - 1; None for a single run.
    """

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Statistic | None":
        """Return the statistic of values; None if there is no value, or one of them is missing."""
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)

    def text(self, signed: bool = False) -> str:
        """Return the mean with one digit, and the spread."""
        mean = f"{self.mean:+.1f}" if signed else f"{self.mean:.1f}"
        return mean if self.sd is None else f"{mean} ± {self.sd:.1f}"


@dataclass(frozen=True)
class Summary:
    """A method on a base, over all of its runs.

    Attributes:
        imbalance_factor: Largest class count over smallest.
        epochs: Of the network's training.
        base: What the network was trained with; marked if the protocol is not the clean one.
        method: Name of the method.
        runs: How many.
        scores: `top1`, `many`, `medium` and `few` in percent.
        gain: `top1` minus that of the same network as trained, in points; None for the network as trained itself.
        gain_few: The same of `few`.
        minutes: Training and retraining.
    """

    imbalance_factor: float
    epochs: int
    base: str
    method: str
    runs: int
    scores: dict[str, Statistic | None]
    gain: Statistic | None
    gain_few: Statistic | None
    minutes: Statistic | None


@dataclass(frozen=True)
class Published:
    """A result that others published; numbers are the text they published, empty where they gave none."""

    method: str
    base: str
    imbalance_factor: float
    epochs: str
    top1: str
    top1_sd: str
    many: str
    medium: str
    few: str
    runs: str
    source: str
    note: str
    readme: bool


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Return a summary for each group and method of rows that are in the order of the table.

    Gains are of each network over itself as trained, so that their spread is not that of the networks.
    """
    trained = {row.trained: row for row in rows if row.method == AS_TRAINED}

    def gain(found: Sequence[Row], score: Callable[[Row], float | None]) -> Statistic | None:
        if found[0].method == AS_TRAINED:
            return None
        pairs = [(score(row), score(trained[row.trained]) if row.trained in trained else None) for row in found]
        return Statistic.of([None if own is None or before is None else own - before for own, before in pairs])

    summaries = []
    for (_, method), group in groupby(rows, lambda row: (row.group, row.method)):
        found = list(group)
        first = found[0]
        summaries.append(
            Summary(
                first.imbalance_factor,
                first.epochs,
                first.base if first.protocol == "clean" else f"{first.base} ({first.protocol})",
                method,
                len(found),
                {
                    name: Statistic.of([getattr(row, name) for row in found])
                    for name in ("top1", "many", "medium", "few")
                },
                gain(found, lambda row: row.top1),
                gain(found, lambda row: row.few),
                Statistic.of([None if row.seconds is None else row.seconds / 60 for row in found]),
            )
        )
    return summaries


def read_published(text: str, name: str) -> list[Published]:
    """Return published results from a CSV file.

    Args:
        text: With the columns `PUBLISHED_COLUMNS`.
        name: The file's name, for errors.

    Raises:
        InputError: If the header or a value is not as it should be, or a row names no source.
    """
    header, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    if tuple(header) != PUBLISHED_COLUMNS:
        raise InputError(f"{name} has the columns {','.join(header)!r}: they must be {','.join(PUBLISHED_COLUMNS)}")
    return [_published(cells, f"{name}, line {line}") for line, cells in enumerate(lines, start=2)]


def _published(cells: Sequence[str], where: str) -> Published:
    if len(cells) != len(PUBLISHED_COLUMNS):
        raise InputError(f"{where} has {len(cells)} cells: a row has {len(PUBLISHED_COLUMNS)}")
    values = dict(zip(PUBLISHED_COLUMNS, cells, strict=True))
    for key in ("epochs", "top1", "top1_sd", "many", "medium", "few", "runs"):
        if values[key] or key == "top1":
            number(values[key], f"{where}: {key}")
    if not values["source"]:
        raise InputError(f"{where} names no source: say where {values['method']!r} was published")
    if values["readme"] not in {"yes", "no"}:
        raise InputError(f"{where}: readme is {values['readme']!r}: choose from yes, no")
    factor = number(values.pop("imbalance_factor"), f"{where}: imbalance_factor")
    return Published(**values | {"imbalance_factor": factor, "readme": values["readme"] == "yes"})  # type: ignore[arg-type]


def factors(summaries: Sequence[Summary], published: Sequence[Published] = ()) -> list[float]:
    """Return the imbalance factors that there are results for, the largest first."""
    own = {entry.imbalance_factor for entry in summaries}
    others = {entry.imbalance_factor for entry in published}
    return sorted(own | others, reverse=True)


def markdown_table(summaries: Sequence[Summary], published: Sequence[Published]) -> str:
    """Return one table: our means and spreads, then what others published, in italics and by rising accuracy.

    Args:
        summaries: Of one imbalance factor, in the order of the table.
        published: Of the same one.
    """
    rule = ["---" if name in _TEXT_COLUMNS else "---:" for name in _HEADER]
    others = sorted(published, key=lambda entry: float(entry.top1))
    rows = [*(_own_cells(entry) for entry in summaries), *(_published_cells(entry) for entry in others)]
    lines = [_HEADER, rule, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure_names(imbalance_factor: float) -> tuple[str, str]:
    """Return the file names of the two figures of an imbalance factor: accuracies, and gains."""
    return f"accuracy_if{imbalance_factor:g}.png", f"gain_if{imbalance_factor:g}.png"


def document(summaries: Sequence[Summary], published: Sequence[Published], figures: str = "") -> str:
    """Return the explanation, and a heading, table and figures for each imbalance factor, as Markdown.

    Args:
        summaries: All of them, in the order of the table.
        published: Results of others, shown below ours of the same imbalance factor.
        figures: What comes before the figures' file names, such as `results/`.
    """
    parts = [_EXPLANATION] if summaries else [NO_RUNS, _EXPLANATION]
    for factor in factors(summaries, published):
        own = [entry for entry in summaries if entry.imbalance_factor == factor]
        others = [entry for entry in published if entry.imbalance_factor == factor]
        parts += [f"### Imbalance factor {factor:g}", markdown_table(own, others)]
        if own:
            accuracy, gain = figure_names(factor)
            parts.append(f"![Accuracy of each method, over all and over few-shot classes]({figures}{accuracy})")
            parts.append(f"![Gain of each method over the same network as trained]({figures}{gain})")
    return "\n\n".join(parts) + "\n"


def _own_cells(summary: Summary) -> list[str]:
    scores = [_text(summary.scores[name]) for name in SCORES]
    gain = NO_VALUE if summary.gain is None else summary.gain.text(signed=True)
    minutes = NO_VALUE if summary.minutes is None else f"{summary.minutes.mean:.0f}"
    described = [summary.base, summary.method, str(summary.epochs)]
    return [*described, scores[0], gain, *scores[1:], minutes, str(summary.runs), OWN]


def _published_cells(entry: Published) -> list[str]:
    top1 = f"{entry.top1} ± {entry.top1_sd}" if entry.top1_sd else entry.top1
    method = f"{entry.method} ({entry.note})" if entry.note else entry.method
    scores = [top1, "", entry.many, entry.medium, entry.few]
    cells = [entry.base, method, entry.epochs, *scores, "", entry.runs, entry.source]
    return [f"*{cell}*" if cell else NO_VALUE for cell in cells]


def _text(statistic: Statistic | None) -> str:
    return NO_VALUE if statistic is None else statistic.text()
