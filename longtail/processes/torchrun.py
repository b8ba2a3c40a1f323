"""A group of processes on this machine."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from longtail.processes.request import FAILURE, Request, raise_failure
from longtail.tracking.identity import SUPERVISOR
from longtail.training.termination import SIGTERM_EXIT, sigterm_flag

_LOOK_SECONDS = 0.1


def run_here(request: Request, processes: int) -> None:
    """Carry out a request by so many processes of `torchrun`, to the end; SIGTERM is passed on to them.

    Args:
        request: Its places are paths of this machine.
        processes: How many.

    Raises:
        InputError: If a process found bad input.
        RuntimeError: If a process failed.
        SystemExit: With code 143 after SIGTERM.
    """
    launcher = ["torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node"]
    command = [sys.executable, "-m", *launcher, str(processes), *request.arguments]
    with tempfile.TemporaryDirectory() as folder, sigterm_flag() as terminated:
        failure = Path(folder) / "failure"
        with _ended(subprocess.Popen(command, env=_environment(processes) | {FAILURE: str(failure)})) as group:
            told = False
            while group.poll() is None:
                if terminated and not told:
                    group.terminate()
                    told = True
                time.sleep(_LOOK_SECONDS)
        if terminated:
            raise SystemExit(SIGTERM_EXIT)
        if group.returncode:
            text = failure.read_text(encoding="utf-8") if failure.exists() else ""
            raise_failure(text, f"torchrun of {processes} processes ended with exit code {group.returncode}")


def _environment(processes: int) -> dict[str, str]:
    """Return the variables of the group: each process gets its share of the processors, and ends with this one."""
    shared = max(1, len(os.sched_getaffinity(0)) // processes) if hasattr(os, "sched_getaffinity") else 1
    # The machine's name need not have an address, as in a container without a network.
    defaults = {"OMP_NUM_THREADS": str(shared)} | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})
    return defaults | os.environ | {SUPERVISOR: str(os.getpid())}


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Generator["subprocess.Popen[bytes]"]:
    """Yield the process; none is left behind if the block fails."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
