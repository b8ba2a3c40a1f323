"""A small registered model whose champion says what it was trained on, and the folder of images that it was."""

import contextlib
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from longtail.config import DataConfig
from longtail.data import digits
from longtail.data.digest import source_digest
from longtail.drift.reference import FILE
from longtail.drift.sample import Chosen, features
from longtail.networks import NetworkSpec, build, save
from longtail.networks.extension import NETWORK
from longtail.tracking.registry import registry

NAMES = ("a", "b", "c")


def add_class(source, name, label):
    """Write 40 images of a digit as a class."""
    images, labels = digits.arrays()
    (source / name).mkdir(parents=True)
    for number, image in enumerate(images[labels == label].reshape(-1, 8, 8)[:40]):
        Image.fromarray(image).save(source / name / f"{number:03}.png")


@contextlib.contextmanager
def new_class(source):
    """Have one class more in the source."""
    add_class(source, "new", 4)
    yield
    for file in (source / "new").iterdir():
        file.unlink()
    (source / "new").rmdir()


@contextlib.contextmanager
def registered(folder):
    """Yield a client of a database with the champion `digits/1`, the folder of its images, and their settings."""
    source = folder / "source"
    for label, name in enumerate(NAMES):
        add_class(source, name, label)
    data = DataConfig(source="imagefolder", path=str(source), profile="natural")
    network = build(NetworkSpec("small_cnn", "cosine", (8, 8, 1), NAMES, (0.3,), (0.3,)), seed=0).eval()
    save(network, folder / "model" / NETWORK, {})
    chosen = Chosen.of(data)
    rows = [features(network, chosen.images(chosen.rows(name, 99, np.random.default_rng()))) for name in NAMES]
    moments = {
        "class_means": np.stack([part.mean(axis=0) for part in rows]),
        "std": np.sqrt(np.mean([part.var(axis=0) for part in rows], axis=0)),
        "class_counts": np.array([len(part) for part in rows]),
    }
    save_file(moments, folder / "model" / FILE)
    (folder / "model" / "MLmodel").write_text("flavors: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_HOME", str(folder / "home"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        client = registry()
        experiment = client.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
        logged = client.create_logged_model(experiment, "m")
        client.log_model_artifacts(logged.model_id, str(folder / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
        client.create_registered_model("digits")
        tags = {"source_digest": source_digest(data)}
        client.create_model_version("digits", f"models:/{logged.model_id}", tags=tags, model_id=logged.model_id)
        client.set_registered_model_alias("digits", "champion", "1")
        client.create_registered_model("nothing")
        variables = {name: os.environ[name] for name in ("LONGTAIL_HOME", "MLFLOW_TRACKING_URI")}
        yield SimpleNamespace(client=client, source=source, data=data, variables=variables)


def forget_starts(client):
    """Remove what the model's tags say of retrainings."""
    for tag in client.get_registered_model("digits").tags:
        client.delete_registered_model_tag("digits", tag)
