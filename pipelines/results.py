"""`longtail results`: runs in MLflow to one CSV file, and that file to the table, its figures and the README.

`collect` needs the tracking server the runs were logged to; `table` needs only what is kept with the code.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError

if TYPE_CHECKING:
    from longtail.config import PipelineConfig
    from longtail.evaluation.results_rows import Row
    from longtail.evaluation.results_table import Published, Summary
    from longtail.tracking.search import PipelineRecord

CSV = Path("results/cifar100_lt.csv")
PUBLISHED = Path("results/published.csv")
README = Path("README.md")
TABLE = "table.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

DATASET = "cifar100"
NETWORK = "resnet32_128"
_THRESHOLDS = 100, 20
_GONE = "the run that computed it is gone or did not log it; `longtail run --no-cache` computes it again"


def add_results(commands: Any) -> None:
    """Add `results collect` and `results table` to the command line's subparsers."""
    parser = commands.add_parser("results", help="collect runs into the results table, and write it")
    actions = parser.add_subparsers(required=True, metavar="ACTION", title="actions")
    collect_ = actions.add_parser("collect", help="read finished CIFAR-100-LT runs from MLflow into the CSV file")
    collect_.add_argument(
        "--tracking-uri",
        nargs="+",
        action="extend",
        default=[],
        metavar="URI",
        help="MLflow stores (default: the one runs go to)",
    )
    collect_.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="only runs with this setting"
    )
    collect_.add_argument("--run", nargs="+", action="extend", default=[], metavar="RUN_ID", help="only these runs")
    collect_.add_argument(
        "--dataset", default=DATASET, metavar="NAME", help="what the runs call CIFAR-100 (default: %(default)s)"
    )
    collect_.add_argument("--out", type=Path, default=CSV, metavar="FILE.csv", help="(default: %(default)s)")
    collect_.set_defaults(command=_collect)
    table = actions.add_parser("table", help="write the table, its figures and the README's block from the CSV file")
    table.add_argument("--csv", type=Path, default=CSV, metavar="FILE.csv", help="(default: %(default)s)")
    table.add_argument("--published", type=Path, default=PUBLISHED, metavar="FILE.csv", help="(default: %(default)s)")
    table.add_argument("--out", type=Path, default=CSV.parent, metavar="DIR", help="(default: %(default)s)")
    table.add_argument("--readme", type=Path, default=README, metavar="FILE.md", help="(default: %(default)s)")
    table.set_defaults(command=_table)


def collect(
    uris: Sequence[str],
    existing: Sequence["Row"],
    *,
    dataset: str = DATASET,
    run_ids: Sequence[str] = (),
    where: Sequence[str] = (),
) -> tuple[list["Row"], list[str]]:
    """Return rows with those of the finished runs of some MLflow stores merged in, and why runs were left out.

    Args:
        uris: The stores.
        existing: Rows that stay unless a run gives them anew.
        dataset: The data set's name in the runs; capitals and punctuation do not count.
        run_ids: Only these runs; empty for all.
        where: Settings that a run must have, each as `group.key=value`.

    Raises:
        InputError: If a store cannot be read, one of the runs is in none, or two runs contradict each other.
    """
    from longtail.evaluation.results_labels import has, settings
    from longtail.evaluation.results_rows import merge
    from longtail.tracking.search import finished_pipelines

    rows: list[Row] = []
    notes: list[str] = []
    averaged: dict[Any, PipelineRecord] = {}
    missing = set(run_ids)
    wanted = dict(_assignment(text) for text in where)
    settings(wanted)
    for uri in uris:
        for record in finished_pipelines(uri, {"backbone.network": NETWORK}):
            if run_ids and record.run_id not in run_ids:
                continue
            missing.discard(record.run_id)
            try:
                found = _rows(record, dataset) if has(record.params, wanted) else []
            except InputError as error:
                notes.append(f"left out run {record.run_id}: {error}")
                continue
            if not found:
                continue
            rows += found
            if any(row.seconds is None for row in found):
                notes.append(f"run {record.run_id} has rows without seconds: {_GONE}")
            notes += _differences(averaged.setdefault(found[0].group, record), record)
    if missing:
        raise InputError(f"no finished {NETWORK} run is {min(missing)!r}: give the MLflow id of a pipeline's run")
    return merge(existing, rows), notes


def rendered(rows: Sequence["Row"], published: Sequence["Published"]) -> tuple[str, str]:
    """Return `results/table.md`, with all published results, and the README's block, with the chosen ones."""
    from longtail.evaluation.results_table import document, factors, summarise

    summaries = summarise(rows)
    title = "# Results\n\nWritten by `make results` from `cifar100_lt.csv` and `published.csv`.\n\n"
    own = factors(summaries)
    chosen = [entry for entry in published if entry.readme and entry.imbalance_factor in own]
    return title + document(summaries, published), document(summaries, chosen, f"{CSV.parent.name}/")


def with_block(text: str, block: str) -> str | None:
    """Return a text with another block between its two markers; None if it has not exactly one such place."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        return None
    return f"{before}{begin}{block}{end}{after}"


def _collect(arguments: argparse.Namespace) -> int:
    from longtail.evaluation.results_rows import csv_text, read_rows
    from longtail.tracking.run import tracking_uri

    existing = read_rows(_read(arguments.out), str(arguments.out)) if arguments.out.exists() else []
    uris = arguments.tracking_uri or [tracking_uri()]
    rows, notes = collect(uris, existing, dataset=arguments.dataset, run_ids=arguments.run, where=arguments.where)
    for note in notes:
        print(note, file=sys.stderr)
    _write(arguments.out, csv_text(rows).encode())
    print(f"wrote {arguments.out}: {len(rows)} rows, {len(set(rows) - set(existing))} of them new or changed")
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from longtail.evaluation.results_rows import read_rows
    from longtail.evaluation.results_table import read_published, summarise

    rows = read_rows(_read(arguments.csv), str(arguments.csv))
    published = read_published(_read(arguments.published), str(arguments.published))
    readme = _read(arguments.readme)
    table, block = rendered(rows, published)
    _write(arguments.out / TABLE, table.encode())
    print(f"wrote {arguments.out / TABLE}")
    for name, png in _figures(summarise(rows)):
        _write(arguments.out / name, png)
        print(f"wrote {arguments.out / name}")
    changed = with_block(readme, block)
    if changed is None:
        print(f"{arguments.readme} stays as it is: it has no lines {BEGIN} and {END}")
    else:
        _write(arguments.readme, changed.encode())
        print(f"wrote {arguments.readme}")
    return 0


def _figures(summaries: Sequence["Summary"]) -> Iterator[tuple[str, bytes]]:
    from longtail.evaluation.results_figures import accuracy_figure, gain_figure
    from longtail.evaluation.results_table import factors, figure_names
    from longtail.pages import png

    for factor in factors(summaries):
        own = [entry for entry in summaries if entry.imbalance_factor == factor]
        accuracy, gain = figure_names(factor)
        yield accuracy, png(accuracy_figure(own))
        yield gain, png(gain_figure(own))


def _rows(record: "PipelineRecord", dataset: str) -> list["Row"]:
    """Return the rows of a run.

    Raises:
        InputError: If it is of another data set, or its settings make it another problem.
    """
    from longtail.evaluation.results_labels import settings
    from longtail.evaluation.results_rows import rows_of_run

    config = settings(record.params)
    subset_sha256 = _subset(record, dataset)
    _check_problem(config)
    training = _seconds(record, "backbone_training")
    retraining = {method: _seconds(record, f"classifier_retraining/{method}") for method in config.retraining.methods}
    seconds = {
        method: None if training is None or took is None else training + took for method, took in retraining.items()
    }
    return rows_of_run(config, record.metrics, seconds, subset_sha256, record.run_id)


def _subset(record: "PipelineRecord", dataset: str) -> str:
    """Return the digest of the chosen training images."""
    step = record.steps.get("data_imbalancing")
    found = {
        name.removesuffix("-train"): digest
        for name, digest in (step.datasets if step else {}).items()
        if name.endswith("-train")
    }
    for name, digest in found.items():
        if _plain(name) == _plain(dataset):
            return digest
    if found:
        raise InputError(f"its data set is {min(found)!r}, not {dataset!r}")
    raise InputError(f"its data set is not known: {_GONE}")


def _check_problem(config: "PipelineConfig") -> None:
    if config.data.profile != "exponential" or config.data.image_size:
        raise InputError(f"it is not CIFAR-100-LT: {config.data.profile} profile, image size {config.data.image_size}")
    if (config.evaluation.many_above, config.evaluation.few_below) != _THRESHOLDS:
        raise InputError("its many-shot and few-shot classes are not the paper's (above 100, below 20 images)")


def _seconds(record: "PipelineRecord", step: str) -> float | None:
    found = record.steps.get(step)
    return found.seconds if found else None


def _differences(first: "PipelineRecord", record: "PipelineRecord") -> Iterator[str]:
    """Yield a warning if two runs that will be averaged are not of the same settings."""
    from longtail.evaluation.results_labels import differences

    differing = [f"{key} ({a} and {b})" for key, (a, b) in differences(first.params, record.params).items()]
    if differing:
        yield (
            f"runs {first.run_id} and {record.run_id} are averaged though they differ in {', '.join(differing)}: "
            "choose with --run"
        )


def _assignment(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise InputError(f"{text!r} is not a setting: write group.key=value, such as calibration.n_neighbors=2")
    return key.strip(), value.strip()


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path} cannot be read ({reason}): give another file") from None


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give another place") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give another place") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
