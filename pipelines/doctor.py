"""`longtail doctor`: what a run needs, looked at before one is started; for each thing `ok` or what to do."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from longtail.errors import InputError
from longtail.tracking.redaction import redact
from pipelines.doctor_finding import WRONG, Finding
from pipelines.kubeflow import add_connection

Check = Callable[[argparse.Namespace], Finding]


def add_doctor(commands: Any) -> None:
    """Add the subcommand `doctor`."""
    parser = commands.add_parser("doctor", help="check tracking, S3, Kubeflow, images, GPU, clock and disk")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--s3", default="", metavar="URL", help="s3://BUCKET/PREFIX to try (default: LONGTAIL_CHECKPOINTS)"
    )
    parser.add_argument("--policy", default="", metavar="FILE", help="policy file whose images are looked for")
    add_connection(parser)
    parser.set_defaults(command=_doctor)


def examine(arguments: argparse.Namespace) -> dict[str, Finding]:
    """Return what each check found; a check that fails is a finding too."""
    from pipelines import doctor_machine, doctor_services
    from pipelines.doctor_images import images

    checks: dict[str, Check] = {
        "tracking": doctor_services.tracking,
        "artifacts": doctor_services.artifacts,
        "s3": doctor_services.s3,
        "kubeflow": doctor_services.kubeflow,
        "clock": doctor_services.clock,
        "images": images,
        "gpu": doctor_machine.gpu,
        "disk": doctor_machine.disk,
    }
    return {name: _finding(check, arguments) for name, check in checks.items()}


def _finding(check: Check, arguments: argparse.Namespace) -> Finding:
    try:
        return check(arguments)
    except InputError as error:
        return Finding(WRONG, str(error))
    except Exception as error:
        # The other checks are worth more than a traceback.
        return Finding(WRONG, f"{type(error).__name__}: {' '.join(str(redact(str(error))).split())[:200]}")


def _doctor(arguments: argparse.Namespace) -> int:
    findings = examine(arguments)
    if arguments.json:
        print(json.dumps({name: asdict(finding) for name, finding in findings.items()}, indent=1))
    else:
        for name, finding in findings.items():
            print(f"{finding.state:8} {name:10} {finding.message}")
    return 1 if any(finding.state == WRONG for finding in findings.values()) else 0
