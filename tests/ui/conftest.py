"""Two runs of the digits on a real MLflow server, the second on more data, and a real browser to look at them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SMALL = (
    "features.views=1",
    "retraining.methods=[baseline,tailcalib]",
    "hessian.probes=2",
    "hessian.densities=2",
    "hessian.lanczos_steps=6",
    "promotion.model=digits",
    "promotion.bootstrap=true",
    "promotion.class_fall=100",  # a network of one epoch takes many classes for a single one
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@dataclass
class Runs:
    """A tracking server with two runs of the pipeline, the second on other data.

    Attributes:
        uri: Address of the server.
        client: An `MlflowClient` of it.
        pages: HTML page of each run.
        outputs: What each run printed.
    """

    uri: str
    client: object
    pages: list[Path] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def experiment(self):
        return self.client.get_experiment_by_name("longtail").experiment_id

    @property
    def parents(self):
        """Ids of the runs of the pipelines, the older one first."""
        return [line.split()[-1] for out in self.outputs for line in out.splitlines() if line.startswith("MLflow ")]

    def children(self, parent):
        found = self.client.search_runs([self.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        return {run.info.run_name: run for run in found}


@pytest.fixture(scope="session")
def runs(servers, tmp_path_factory):
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("runs")
    server = servers.Mlflow(folder / "server").start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KFP_"))}
    environment |= {"MLFLOW_TRACKING_URI": server.uri, "LONGTAIL_HOME": str(folder / "home")}
    made = Runs(server.uri, MlflowClient(server.uri))
    for changes in (
        ("data.imbalance_factor=40", "backbone.epochs=1", "retraining.epochs=1"),
        (
            "data.imbalance_factor=15",
            "backbone.epochs=20",
            "retraining.epochs=10",
        ),  # so much better that the gate opens
    ):
        settings = [part for setting in (*SMALL, *changes) for part in ("--set", setting)]
        command = [sys.executable, "-m", "pipelines.cli", "run", "--preset", "digits", *settings]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        made.outputs.append(done.stdout)
        (page,) = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("page ")]
        made.pages.append(Path(page))
    yield made
    server.kill()


@pytest.fixture(scope="session")
def browser():
    """Chromium; LONGTAIL_SCREENSHOTS names a folder in which the tests leave what it showed."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    folder = os.environ.get("LONGTAIL_SCREENSHOTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def opened(browser) -> Callable[..., object]:
    """Return a function that opens an address in a window of its own; its `problems` are what went wrong in it."""
    contexts = []

    def go(address, width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("requestfailed", lambda request: page.problems.append(request.url))
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
