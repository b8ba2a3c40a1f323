"""Two processes, each with its own batches, against one with all of them."""

import json
import socket
import subprocess
import sys

import pytest
import torch

from longtail.hessian.processes import gathered, rank, stream, total

SCRIPT = """
import json, sys
import torch
from torch import distributed, nn
from torch.nn import functional as F
from longtail.hessian import analyze

torch.set_num_threads(1)
traces, place, world, port = sys.argv[1], *map(int, sys.argv[2:5])
if world > 1:
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=place, world_size=world)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
x, y = torch.randn(23, 5).double(), torch.arange(23) % 3
batches = list(zip(x.split([8, 12, 3]), y.split([8, 12, 3])))
if world > 1:
    batches = batches[:1] if place == 0 else batches[1:]
report = analyze(model, F.cross_entropy, batches, traces=traces, probes=400, lanczos_steps=40)
found = {"samples": report.samples, "loss": report.loss, "first_order": report.layers["2.weight"].first_order}
for name, layer in {"full": report.full, **report.layers}.items():
    found[name] = [layer.top_eigenvalue, layer.lowest_eigenvalue, layer.trace, layer.trace_stderr]
print(json.dumps(found))
if world > 1:
    distributed.destroy_process_group()
"""


def run(traces: str, world: int) -> list[dict]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, traces, str(place), str(world), str(port)], stdout=subprocess.PIPE, text=True
        )
        for place in range(world)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * world
    return [json.loads(output) for output in outputs]


@pytest.mark.parametrize("traces", ["probes", "xtrace"])
def test_two_processes_find_what_one_finds(traces):
    (alone,), (first, second) = run(traces, 1), run(traces, 2)
    assert first == second
    assert first["samples"] == alone["samples"] == 23
    assert first["loss"] == pytest.approx(alone["loss"], abs=1e-12)
    for name in ("full", "0.weight", "2.weight", "4.weight"):
        assert first[name][:2] == pytest.approx(alone[name][:2], abs=1e-9)
        tolerance = 4 * (first[name][3] ** 2 + alone[name][3] ** 2) ** 0.5 + 1e-9
        assert abs(first[name][2] - alone[name][2]) < tolerance


def test_one_process_is_a_group_of_its_own():
    assert rank() == 0
    assert gathered([1, 2]) == [1, 2]
    assert torch.equal(total(torch.ones(2)), torch.ones(2))


def test_streams_differ_by_place_and_seed():
    draws = {float(torch.rand((), generator=stream(*key))) for key in [(0, 1), (0, 2), (1, 1), (0, 1, 0)]}
    assert len(draws) == 4
    assert torch.rand((), generator=stream(3, 4)) == torch.rand((), generator=stream(3, 4))
