"""`longtail claims`: what the paper on the Hessian's spectrum found, put to the test on networks of this machine.

Every network is trained and measured once: what was done lies as one file a run in the output folder.
"""

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError

if TYPE_CHECKING:
    from longtail.claims.evaluation import Figure
    from longtail.claims.records import Run
    from longtail.claims.rules import Finding

SEEDS = "1,2,3,4,5"
PAGE, JSON = "claims.html", "claims.json"
_LEAST_SEEDS = 2  # for an interval
_LEAST_STEPS = 2  # for a spectrum that is more than a point


@dataclass(frozen=True)
class ClaimsResult:
    """What was found.

    Attributes:
        findings: In the order of the claims.
        files: Figures, page and JSON.
        computed: Networks that were trained or measured now.
    """

    findings: tuple["Finding", ...]
    files: tuple[Path, ...]
    computed: int


def add_claims(commands: Any) -> None:
    """Add `claims` to the command line's subparsers."""
    parser = commands.add_parser("claims", help="test the paper's claims on the Hessian on small networks")
    parser.add_argument("--claims", default="", metavar="C1,C2,…", help="only these of C1 to C7 (default: all)")
    parser.add_argument("--seeds", default=SEEDS, metavar="1,2,…", help="two or more (default: %(default)s)")
    parser.add_argument("--network", default="lenet", metavar="NAME", help="trained on digits (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="of each network (default: %(default)s)")
    parser.add_argument(
        "--runs",
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN",
        help="trained backbones, as folders or MLflow ids of backbone_training: C1, C2, C4 and C5 on them too",
    )
    parser.add_argument("--only-runs", action="store_true", help="train nothing, look at the given backbones alone")
    parser.add_argument(
        "--dataset", nargs="+", action="extend", type=Path, default=[], metavar="DIR", help="what they were trained on"
    )
    parser.add_argument(
        "--lanczos-steps", type=int, default=40, metavar="N", help="products of each spectrum (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default: claims in LONGTAIL_HOME)")
    parser.set_defaults(command=_claims)


def run_claims(arguments: argparse.Namespace) -> ClaimsResult:
    """Return the findings, after training and measuring what is not on disk.

    Raises:
        InputError: If a claim, a seed, a setting or a given backbone is wrong.
        RuntimeError: If training diverges.
    """
    from longtail.claims import checkpoints
    from longtail.claims.evaluation import figures, findings
    from longtail.claims.experiment import SGD, Experiment
    from longtail.claims.measurement import Depth
    from longtail.claims.rules import choose
    from longtail.tracking.run import home

    names = choose([name.strip() for name in arguments.claims.split(",") if name.strip()])
    seeds = () if arguments.only_runs else _seeds(arguments.seeds)
    if arguments.only_runs and not arguments.runs:
        raise InputError("--only-runs without --runs leaves nothing to look at: give folders of backbones")
    backbones = [checkpoints.backbone_folder(given, home()) for given in arguments.runs]
    datasets = [checkpoints.dataset_of(folder, arguments.dataset, home()) for folder in backbones]
    if arguments.lanczos_steps < _LEAST_STEPS:
        raise InputError(f"--lanczos-steps {arguments.lanczos_steps}: give {_LEAST_STEPS} or more")
    experiment = Experiment(network=arguments.network, epochs=arguments.epochs)
    experiment.recipe(SGD, 0.0)  # wrong settings are told before anything is made
    depth = Depth(spectrum_steps=arguments.lanczos_steps)
    out = _folder(arguments.out or home() / "claims")
    before = _count(out / "runs")
    trained = _train(experiment, depth, out / "runs", names, seeds) if seeds else []
    given = [
        checkpoints.measured(folder, dataset, depth, out / "runs")
        for folder, dataset in zip(backbones, datasets, strict=True)
    ]
    groups = checkpoints.groups(given)
    found = tuple(findings(names, trained, groups))
    settings = {
        "claims": names,
        "seeds": list(seeds),
        "experiment": dataclasses.asdict(experiment),
        "depth": dataclasses.asdict(depth),
        "backbones": [str(folder) for folder in backbones],
    }
    files = tuple(_write(out, found, figures(names, trained, groups), settings))
    return ClaimsResult(found, files, _count(out / "runs") - before)


def _train(experiment: Any, depth: Any, folder: Path, names: Sequence[str], seeds: Sequence[int]) -> list["Run"]:
    """Return the runs that the claims need."""
    from longtail.claims.experiment import ALL, DECAY, MIDDLE, SGD
    from longtail.claims.laboratory import Laboratory
    from longtail.progress import progress

    arms = [SGD]
    if {"C6", "C7"} & set(names):
        arms = [SGD, DECAY, ALL, MIDDLE] if "C6" in names else [SGD, ALL, MIDDLE]
    return Laboratory(experiment, depth, folder, progress("claims", "epochs")).runs(arms, seeds)


def _write(
    out: Path, findings: Sequence["Finding"], figures: Iterable["Figure"], settings: dict[str, Any]
) -> Iterator[Path]:
    """Write everything into the folder.

    Yields:
        Each file.
    """
    from longtail.artifacts import write_json
    from longtail.claims.summary import as_json, as_page
    from longtail.pages import png

    shown = []
    for figure in figures:
        (out / figure.file).write_bytes(png(figure.plot.figure))
        shown.append(figure.plot)
        yield out / figure.file
    write_json(out / JSON, as_json(findings, settings))
    yield out / JSON
    (out / PAGE).write_text(as_page(findings, shown, settings), encoding="utf-8")
    yield out / PAGE


def _claims(arguments: argparse.Namespace) -> int:
    from longtail.claims.summary import as_text

    for name in ("longtail.progress", "longtail.claims"):
        logging.getLogger(name).setLevel(logging.INFO)
    started = time.monotonic()
    try:
        result = run_claims(arguments)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        print("finished runs are kept: run the same command again to go on from here", file=sys.stderr)
        return 1
    print(f"{as_text(result.findings)}\n")
    print(f"{result.computed} networks computed, {time.monotonic() - started:.1f} s")
    for file in result.files:
        print(f"{ {'.png': 'figure', '.json': 'numbers'}.get(file.suffix, 'page'):11} {file}")
    return 0


def _seeds(text: str) -> tuple[int, ...]:
    """Return the seeds, which are different whole numbers and none of those that choose strengths.

    Raises:
        InputError: If they are not, or too few for an interval.
    """
    from longtail.claims.experiment import TUNING_SEEDS

    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--seeds {text!r}: give whole numbers, such as {SEEDS}") from None
    if len(seeds) < _LEAST_SEEDS or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds {text!r}: an interval needs {_LEAST_SEEDS} or more different seeds from 0 on")
    if taken := set(seeds) & set(TUNING_SEEDS):
        raise InputError(f"--seeds {text!r}: {min(taken)} chooses the strength of the penalties; give another one")
    return seeds


def _folder(path: Path) -> Path:
    try:
        (path / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be made ({error.strerror}): give another folder") from None
    return path


def _count(folder: Path) -> int:
    """Return how many runs are on disk."""
    return len(list(folder.glob("*.json")))
