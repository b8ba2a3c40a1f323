"""One process of a group that trains the backbone; `torchrun` gives it its rank.

`python -m longtail.processes.worker REQUEST`; the request is JSON.
"""

import json
import os
import sys
from collections.abc import Sequence

from longtail.config import BackboneConfig, parse
from longtail.errors import InputError
from longtail.processes.request import Request, telling
from longtail.retries import at_work
from longtail.steps import backbone_training, events
from longtail.steps.execution import Context
from longtail.storage.artifacts import local_artifact, local_outputs
from longtail.tracking.run import Run, attached_run
from longtail.training import distributed


def work(request: Request) -> None:
    """Do this process's part; the first one logs, tracks and writes the outputs."""
    first = os.environ.get("RANK", "0") == "0"
    events.follow_supervisor()
    if first:
        events.log_lines("backbone_training")
    inputs = {name: local_artifact(place) for name, place in request.inputs.items()}
    with at_work(), local_outputs(request.outputs if first else {}) as written:
        run = attached_run(request.run_id) if first else Run.silent()
        context = Context(inputs, written, request.seed, request.pipeline_seed, "", run)
        backbone_training.run(parse(BackboneConfig, request.config, "backbone"), context)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 2 for bad input."""
    (text,) = sys.argv[1:] if argv is None else argv
    try:
        with telling():
            work(Request(**json.loads(text)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        distributed.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
