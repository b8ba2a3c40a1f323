"""What is trained here, and how fast."""

import dataclasses
import multiprocessing
import runpy
from pathlib import Path

import pytest

from longtail.config import BackboneConfig
from longtail.networks import build
from longtail.training import train


@pytest.fixture(scope="session")
def make_config():
    """Return a function that gives a recipe that learns the digits in seconds, with changes."""
    digits = BackboneConfig(epochs=3, batch_size=64, learning_rate=0.1, precision="float32")
    return lambda **changes: dataclasses.replace(digits, **changes)


@pytest.fixture(scope="session")
def run(dataset, make_spec, make_config):
    """Return a function that trains a new network on the digits; it returns the network and the history."""

    def call(*, seed=1, validation=None, teacher=None, on_epoch=None, observer=None, **changes):
        places = {name: changes.pop(name) for name in ("checkpoint", "mirror", "on_resume") if name in changes}
        config = make_config(**changes)
        classifier = build(make_spec(network=config.network, head=config.head), seed=1)
        training = dataset.split("train")
        history = train(
            classifier,
            training,
            validation,
            config,
            seed=seed,
            teacher=teacher,
            on_epoch=on_epoch,
            observer=observer,
            **places,
        )
        return classifier, history

    return call


@pytest.fixture(scope="session")
def start(dataset):
    """Return a function that starts a training run in a process of its own; its epochs come through a pipe.

    The processes are forked from a server that has loaded PyTorch once, and nothing of the tests.
    """
    context = multiprocessing.get_context("forkserver")
    # A first step of SGD imports torch._dynamo, which takes as long as the rest.
    context.set_forkserver_preload(["torch._dynamo", "longtail.data.dataset", "longtail.training"])
    program, started = str(Path(__file__).with_name("run_training.py")), []

    def call(settings, folder, environment=None):
        epochs, sender = context.Pipe(duplex=False)
        names = {"DATASET": dataset.path, "SETTINGS": settings, "FOLDER": folder, "ENVIRONMENT": environment or {}}
        process = context.Process(target=runpy.run_path, args=(program, names | {"EPOCHS": sender}))
        process.start()
        started.append(process)
        sender.close()
        return process, epochs

    yield call
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def rest():
    """Return a function that reads a pipe of epochs until its process has ended."""

    def read(epochs):
        found = []
        try:
            while epochs.poll(120):
                found.append(epochs.recv())
        except EOFError:
            return found
        raise TimeoutError(f"training got stuck after epochs {found}")

    return read
