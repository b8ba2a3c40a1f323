import socket

import pytest
import torch

from longtail.networks import build, load
from longtail.training import distributed


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    distributed.start()
    module, values = torch.nn.Linear(2, 2), torch.tensor([1.0, 2.0])
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.wrap(module) is module
    assert distributed.total(values) is values
    assert distributed.any_process(True)
    assert not distributed.any_process(False)
    distributed.barrier()
    assert distributed.from_first(values) is values


def test_device_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.device() == torch.device("cpu")


def test_device_is_the_gpu_of_the_local_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.device() == torch.device("cuda", 3)


def test_two_processes_compute_the_gradients_of_one(run, start, rest, make_spec, dataset, tmp_path):
    """LeNet has no batch normalisation and nothing is augmented: the two shares must add up to the whole batch.

    The processes get the environment that torchrun gives.
    """
    rate, settings = (
        0.1,
        {
            "network": "lenet",
            "head": "linear",
            "epochs": 2,
            "batch_size": 190,
            "learning_rate": 0.1,
            "schedule": "constant",
            "momentum": 0.0,
            "augmentation": "none",
            "precision": "float32",
            "checkpoint_seconds": 0.0,
        },
    )
    alone, history = run(validation=dataset.split("validation"), **settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    started = [start(settings, tmp_path, address | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    assert [rest(epochs) for _, epochs in started] == [[1, 2], []]  # only the first process reports
    for process, _ in started:
        process.join(60)
    assert [process.exitcode for process, _ in started] == [0, 0]
    together, manifest = load(tmp_path / "network")
    untrained = build(make_spec(network="lenet", head="linear"), seed=1).state_dict()
    for (name, one), two in zip(alone.state_dict().items(), together.state_dict().values(), strict=True):
        if "." in name:
            assert not torch.equal(one, untrained[name])
        assert ((one - two) / rate).abs().max() < 1e-5, name
    for ours, theirs in zip(history, manifest["history"], strict=True):
        assert theirs["train/loss"] == pytest.approx(ours["train/loss"], abs=1e-5)
        assert theirs["train/accuracy"] == pytest.approx(ours["train/accuracy"], abs=1e-5)
        assert theirs["validation/accuracy"] == ours["validation/accuracy"]


def test_two_processes_penalise_the_trace_alike(start, rest, tmp_path):
    """Batch normalisation, a graph that is differentiated three times, and one that is not shared."""
    for batch_norm in ("eval", "train"):
        settings = {
            "head": "linear",
            "epochs": 1,
            "batch_size": 190,
            "learning_rate": 0.1,
            "precision": "float32",
            "trace_penalty": {"weight": 1e-3, "every": 1, "ramp": 0.0, "batch_norm": batch_norm},
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        folder = tmp_path / batch_norm
        started = [start(settings, folder, address | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
        assert [rest(epochs) for _, epochs in started] == [[1], []]
        for process, _ in started:
            process.join(60)
            assert process.exitcode == 0
        (epoch,) = load(folder / "network")[1]["history"]
        assert epoch["train/trace_penalty"] != 0
        assert epoch["train/penalty_skipped"] == 0


def test_a_process_without_the_checkpoint_goes_on_from_that_of_the_first(start, rest, tmp_path):
    """As on two machines: the second has a folder of its own, which is empty."""
    settings = {"head": "linear", "epochs": 1, "batch_size": 190, "precision": "float32"}
    process, epochs = start(settings, tmp_path / "first")
    assert rest(epochs) == [1]
    process.join(60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    started = [
        start(settings, tmp_path / folder, address | {"RANK": rank, "LOCAL_RANK": rank})
        for rank, folder in (("0", "first"), ("1", "second"))
    ]
    assert [rest(epochs) for _, epochs in started] == [[], []]
    for process, _ in started:
        process.join(60)
    assert [process.exitcode for process, _ in started] == [0, 0]
    assert not (tmp_path / "second").exists()
