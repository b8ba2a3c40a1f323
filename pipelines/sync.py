"""`longtail sync`: runs that were recorded on disk while MLflow was away, sent to it."""

import argparse
from typing import Any

from longtail.tracking.redaction import redact
from longtail.tracking.server import durable_place, tracking_uri


def add_sync(commands: Any) -> None:
    """Add the subcommand to those of `longtail`."""
    sync = commands.add_parser("sync", help="send what was recorded on disk while MLflow was away")
    sync.add_argument(
        "--from",
        default=durable_place(),
        dest="place",
        metavar="s3://…",
        help="where pods kept their checkpoints, and such records (default: LONGTAIL_CHECKPOINTS)",
    )
    sync.set_defaults(command=_sync)


def _sync(arguments: argparse.Namespace) -> int:
    from longtail.tracking.sync import send_all

    uri = tracking_uri()
    sent = send_all(uri, arguments.place)
    for run in sent:
        print(f"sent  {run.run_id}  {run.name}" if run.run_id else f"kept  {run.name}: {run.reason}")
    arrived = sum(bool(run.run_id) for run in sent)
    print(f"{arrived} of {len(sent)} runs sent to {redact(uri)}" if sent else "nothing waits to be sent")
    return 0 if arrived == len(sent) else 1
