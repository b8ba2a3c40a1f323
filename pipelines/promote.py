"""`longtail promote`, `rollback` and `history`: which version of a registered model is in use, decided by its gate."""

import argparse
from typing import TYPE_CHECKING, Any

from longtail.config import PromotionConfig, parse
from longtail.errors import InputError
from longtail.settings import resolve

if TYPE_CHECKING:
    from longtail.tracking.registry import Version

_HEADER = ("from", "until", "version", "why", "few, %", "all, %", "run")
_NONE = "–"


def add_promote(commands: Any) -> None:
    """Add `promote`, `rollback` and `history` to the command line's subparsers."""
    promote = commands.add_parser("promote", help="bring a registered model's version into use if it passes the gate")
    promote.add_argument("name", metavar="NAME", help="the registered model, as in promotion.model")
    promote.add_argument("--version", type=int, default=0, metavar="N", help="(default: the challenger)")
    promote.add_argument("--bootstrap", action="store_true", help="the first model needs no champion to pass")
    promote.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a bound, such as promotion.overall_fall=2"
    )
    promote.set_defaults(command=_promote)
    back = commands.add_parser("rollback", help="bring the version back into use that the champion was promoted from")
    back.add_argument("name", metavar="NAME", help="the registered model")
    back.set_defaults(command=_rollback)
    told = commands.add_parser("history", help="which versions of a registered model were in use, when and why")
    told.add_argument("name", metavar="NAME", help="the registered model")
    told.set_defaults(command=_history)


def _promote(arguments: argparse.Namespace) -> int:
    from longtail.gate.page import gate_table
    from longtail.tracking.promotion import promote_version
    from longtail.tracking.registry import kept_scores, named_failures

    config = _settings(arguments)
    with named_failures():
        client = _registry(arguments.name)
        version = _chosen(client, arguments)
        scores = kept_scores(client, version, version.tags.get("test_digest", ""))
        outcome = promote_version(client, version, scores, config, version.run_id)
    if outcome.decision is not None:
        print(f"{gate_table(outcome.decision)}\n")
    print(outcome.sentence)
    return 0 if outcome.promoted else 1


def _rollback(arguments: argparse.Namespace) -> int:
    from longtail.tracking.champions import rollback
    from longtail.tracking.registry import named_failures

    with named_failures():
        note = rollback(_registry(arguments.name), arguments.name)
    instead = "" if note.before is None else f", in place of {arguments.name}/{note.before}"
    print(f"{arguments.name}/{note.version} is the champion again{instead}.")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from longtail.text_table import text_table
    from longtail.tracking.champions import history
    from longtail.tracking.registry import named_failures, versions

    with named_failures():
        client = _registry(arguments.name)
        reigns = history(client, arguments.name)
        known = {version.number: version for version in versions(client, arguments.name)}
    rows = [list(_HEADER)]
    for reign in reigns:
        version = known.get(reign.note.version or 0)
        number = _NONE if reign.note.version is None else str(reign.note.version)
        told = [version.tags.get("few", _NONE), version.tags.get("top1", _NONE)] if version else [_NONE, _NONE]
        run = version.run_id if version else _NONE
        rows.append([reign.note.at, reign.until or "now", number, reign.note.why, *told, run])
    print(text_table(rows) if reigns else f"{arguments.name} had no champion yet: longtail promote {arguments.name}")
    return 0


def _settings(arguments: argparse.Namespace) -> PromotionConfig:
    for override in arguments.set:
        if not override.startswith("promotion."):
            raise InputError(f"--set {override}: give a setting of the gate, such as promotion.overall_fall=2")
    config = resolve("", arguments.set).promotion
    return parse(PromotionConfig, {**vars(config), "bootstrap": config.bootstrap or arguments.bootstrap}, "promotion")


def _registry(name: str) -> Any:
    from longtail.tracking.registry import check_name, registry
    from longtail.tracking.server import check_tracking_server, tracking_uri

    check_name(name)
    check_tracking_server(tracking_uri())
    return registry()


def _chosen(client: Any, arguments: argparse.Namespace) -> "Version":
    from longtail.tracking.registry import CHALLENGER, by_alias, numbered

    if arguments.version:
        return numbered(client, arguments.name, arguments.version)
    challenger = by_alias(client, arguments.name, CHALLENGER)
    if challenger is None:
        raise InputError(f"{arguments.name} has no challenger: run a pipeline with promotion.model={arguments.name}")
    return challenger
