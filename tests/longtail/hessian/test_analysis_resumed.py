"""An analysis that was interrupted, and one that was killed, go on where they were."""

import signal
import subprocess
import sys

import pytest

from longtail.hessian import analyze


class KilledError(Exception):
    pass


@pytest.mark.parametrize("traces", ["probes", "xtrace"])
@pytest.mark.parametrize("calls", [1, 7, 30])
def test_interrupted_and_resumed_19(make_case, tmp_path, traces, calls):
    """Killed in the middle of a product, it gives the same numbers and repeats at most that one."""
    case = make_case("cosine head")
    settings = {"lanczos_steps": 5, "probes": 4, "densities": 1, "traces": traces}
    batches = case.batches(10, 10, 3)
    expected = analyze(case.model, case.loss, batches, **settings)
    counts = {"left": calls, "all": 0}

    def loss(outputs, targets):
        counts["all"] += 1
        counts["left"] -= 1
        if counts["left"] == 0:
            raise KilledError
        return case.loss(outputs, targets)

    with pytest.raises(KilledError):
        analyze(case.model, loss, batches, journal=tmp_path / "journal", **settings)
    found = analyze(case.model, loss, batches, journal=tmp_path / "journal", **settings)
    assert found.full.trace == expected.full.trace
    for name, layer in expected.layers.items():
        assert found.layers[name].trace == layer.trace
        assert found.layers[name].top_eigenvalue == layer.top_eigenvalue
    assert not (tmp_path / "journal").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from torch import nn
from torch.nn import functional as F
from longtail.hessian import analyze

torch.set_num_threads(1)
journal, last = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
x, y = torch.randn(24, 5).double(), torch.arange(24) % 3
passes, differentiate = 0, torch.autograd.grad

def counted(*arguments, **settings):
    global passes
    passes += 1
    if passes == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return differentiate(*arguments, **settings)

torch.autograd.grad = counted
batches = list(zip(x.split(8), y.split(8)))
report = analyze(model, F.cross_entropy, batches, probes=4, lanczos_steps=6, densities=2, journal=journal)
report.save(journal.parent / "report")
print(passes)
"""
PRODUCT, AGAIN = 3 * 4, 30
"""Backward passes of the whole network's and three layers' products on three batches, and of what is asked anew."""


def test_sigkill_loses_at_most_one_product_19(tmp_path):
    def run(folder, last=0):
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder / "journal"), str(last)]
        (tmp_path / folder).mkdir(exist_ok=True)
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    passes = int(run("whole").stdout)
    for last in (passes // 3, 2 * passes // 3, passes - 1):
        killed = run(f"killed {last}", last)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        again = int(run(f"killed {last}").stdout)
        assert last + again <= passes + PRODUCT + AGAIN
        for file in ("report.json", "densities.npz"):
            found, expected = (tmp_path / folder / "report" / file for folder in (f"killed {last}", "whole"))
            assert found.read_bytes() == expected.read_bytes()
