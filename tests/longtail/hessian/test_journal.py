import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from longtail.errors import InputError
from longtail.hessian import analyze
from longtail.hessian.journal import Journal, digest


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float64)}


def test_computes_once_and_goes_on(tmp_path):
    compute = Counted()
    first = Journal(tmp_path / "a", "q").result("x", compute)
    second = Journal(tmp_path / "a", "q").result("x", compute)
    assert compute.calls == 1
    assert all(torch.equal(first[name], second[name]) for name in first)
    Journal(tmp_path / "a", "q").result("y", compute)
    assert compute.calls == 2


def test_another_question_starts_anew(tmp_path):
    compute = Counted()
    Journal(tmp_path, "q").result("x", compute)
    Journal(tmp_path, "other").result("x", compute)
    assert compute.calls == 2


def test_half_written_results_count_for_nothing(tmp_path):
    compute = Counted()
    journal = Journal(tmp_path, "q")
    journal.result("x", compute)
    path = tmp_path / "x.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert torch.equal(journal.result("x", compute)[""], torch.arange(3.0))
    assert compute.calls == 2
    with pytest.raises(ZeroDivisionError):
        journal.result("z", lambda: 1 / 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["question.json", "x.safetensors"]


def test_closing_removes_the_folder(tmp_path):
    Journal(tmp_path / "a", "q").close()
    assert not (tmp_path / "a").exists()
    without = Journal(None, "q")
    assert torch.equal(without.result("x", Counted())[""], torch.arange(3.0))
    without.close()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("1")
    with pytest.raises(InputError, match="is not empty and no journal"):
        Journal(tmp_path, "q")
    assert (tmp_path / "precious").exists()


def test_the_digest_sees_weights_buffers_and_settings():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    digests = {digest(model, [1]), digest(model, [2])}
    model[1].running_mean += 1
    digests.add(digest(model, [1]))
    model[0].weight.data += 1
    digests.add(digest(model, [1]))
    assert len(digests) == 4
    assert digest(model, [1]) in digests
    model[0].weight = model[1].weight  # tied
    assert digest(model, [1]) not in digests


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
