from unittest.mock import create_autospec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from longtail.artifacts import sha256_file
from longtail.calibration.artifact import write_samples
from longtail.config import CalibrationConfig, TableConfig
from longtail.errors import InputError
from longtail.features import Features
from longtail.features.table_import import import_table
from longtail.networks import load
from longtail.networks.identity import IDENTITY
from longtail.serving import ServedClassifier
from longtail.steps import classifier_retraining, head_training
from longtail.tracking.model import log_classifier
from longtail.tracking.recording import Run

QUICK = {"epochs": 2, "minimum_steps": 100}


@pytest.fixture(scope="module")
def imported(table, tmp_path_factory):
    """Return a function that imports the digits with a kind of scaling; once for each."""
    made = {}

    def call(scaling="none"):
        if scaling not in made:
            made[scaling] = tmp_path_factory.mktemp("imported") / "features"
            import_table(TableConfig(path=str(table), scaling=scaling), made[scaling])
        return {"features": made[scaling]}

    return call


def accuracy(model, features, rows):
    with torch.no_grad():
        found = model(torch.from_numpy(np.array(rows))).argmax(1).numpy()
    return np.mean(found == features.labels("test"))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_head_learns_raw_pixels(call, imported, tmp_path, kind):
    given = imported("standard" if kind == "linear" else "none")
    features = Features.open(given["features"])
    run = create_autospec(Run, instance=True)
    done = call("head_training", tmp_path, given, {"kind": kind, "epochs": 3, "minimum_steps": 300}, run=run)
    classifier, manifest = load(done.outputs["backbone"])
    spec = classifier.spec
    assert (spec.network, spec.head, spec.class_names) == (IDENTITY, kind, features.class_names)
    assert manifest["dataset_digest"] == features.dataset_digest
    assert accuracy(classifier.classify, features, features.split("test")) > 0.9
    history = [entry.args[0] for entry in run.log_metrics.call_args_list]
    assert history == manifest["history"] and len(history) == 3
    assert done.described["backbone"] == {"epochs": 3, "train_loss": history[-1]["head/loss"]}


def test_the_served_model_reads_rows_as_they_are_in_the_table(call, imported, table, tmp_path):
    given = imported("standard")
    done = call("head_training", tmp_path, given, QUICK)
    features, (classifier, _) = Features.open(given["features"]), load(done.outputs["backbone"])
    pixels = np.stack(pq.read_table(table)["pixels"].to_numpy())
    raw = torch.from_numpy(pixels[np.load(given["features"] / "test" / "ids.npy")])
    scaled = torch.from_numpy(np.array(features.split("test")))
    assert torch.equal(classifier.features(raw), scaled)
    with torch.no_grad():
        assert torch.equal(ServedClassifier(classifier)(raw)[0], classifier.classify(scaled).softmax(1))


def test_a_small_table_is_gone_over_until_there_are_enough_steps(call, imported, tmp_path, monkeypatch):
    orders = []

    def fit(_head, epoch_set, recipe, *, on_epoch, **_others):
        for epoch in range(recipe.epochs):
            features, order = epoch_set(epoch, torch.Generator().manual_seed(epoch))
            orders.append((order, len(features)))
            on_epoch(epoch + 1, {"head/loss": 0.0})

    monkeypatch.setattr(head_training, "fit_head", fit)
    given = imported()
    call("head_training", tmp_path / "few", given, {"epochs": 4, "minimum_steps": 100, "batch_size": 64})
    assert sum(len(order) // 64 for order, _ in orders) >= 100
    for order, rows in orders:
        assert set(np.bincount(order.numpy(), minlength=rows)) == {len(order) // rows}
    orders.clear()
    call("head_training", tmp_path / "many", given, {"epochs": 1, "minimum_steps": 0, "batch_size": 64})
    assert [len(order) for order, _ in orders] == [orders[0][1]]


def test_the_same_seed_gives_the_same_bytes(call, imported, tmp_path):
    paths = [
        call("head_training", tmp_path / str(i), imported(), QUICK, seed=seed).outputs["backbone"]
        for i, seed in enumerate((3, 3, 4))
    ]
    one, same, other = (sha256_file(path / "weights.safetensors") for path in paths)
    assert one == same != other
    assert (paths[0] / "manifest.json").read_bytes() == (paths[1] / "manifest.json").read_bytes()


def test_a_loss_that_is_not_finite_is_bad_input(call, imported, tmp_path):
    with pytest.raises(InputError, match=r"^the head's loss is (nan|inf) in epoch 1: set table.scaling=standard"):
        call("head_training", tmp_path / "out", imported(), QUICK | {"kind": "linear", "learning_rate": 1e30})
    assert not list((tmp_path / "out").iterdir())


def test_retraining_needs_no_images_and_publishes_a_model_of_rows(call, imported, tmp_path, monkeypatch):
    publish = create_autospec(log_classifier, return_value="models:/m-1")
    monkeypatch.setattr(classifier_retraining, "log_classifier", publish)
    given = imported()
    features = Features.open(given["features"])
    given = given | call("head_training", tmp_path, given, QUICK).outputs
    write_samples(features, 0, CalibrationConfig(), True, tmp_path / "samples", seed=1)
    given["samples"] = tmp_path / "samples"
    call("classifier_retraining", tmp_path, given, {"epochs": 1}, method="tailcalib")
    _, model, example, reference, described = publish.call_args.args
    assert model.spec.class_names == features.class_names
    np.testing.assert_array_equal(example, features.train()[:2])
    np.testing.assert_array_equal(reference.counts, features.train_counts)
    assert described == {
        "method": "tailcalib",
        "dataset_digest": features.dataset_digest,
        "features_digest": features.digest,
        "subset_sha256": features.subset_sha256,
    }
    with pytest.raises(InputError, match=r"retraining.fresh=backbone needs images"):
        call("classifier_retraining", tmp_path / "out", given, {"fresh": "backbone"}, method="tailcalibx")


CLASSES, SIZE, TEST_ROWS, NOISE = 10, 24, 100, 0.5
COUNTS = [300, 180, 108, 65, 39, 23, 14, 8, 5, 3]


def bayes_accuracy():
    """Return the best accuracy there is on balanced classes x = m_c + s z with orthonormal means m_c, z normal.

    The best rule takes the class with the largest <x, m_c>; these are independent, normal with deviation s, and of mean
    1 for the true class and 0 for the others: the true one wins with probability E[Phi(z + 1/s)^(C - 1)].
    """
    return quad(lambda z: norm.pdf(z) * norm.cdf(z + 1 / NOISE) ** (CLASSES - 1), -9, 9)[0]


def write_mixture(path, seed):
    """Write a long-tailed training set and a balanced test set of such classes; return the means (C, D)."""
    random = np.random.default_rng(seed)
    means = np.linalg.qr(random.normal(size=(SIZE, SIZE)))[0][:CLASSES]
    labels = np.repeat(np.tile(np.arange(CLASSES), 2), [*COUNTS, *[TEST_ROWS] * CLASSES])
    x = means[labels] + NOISE * random.normal(size=(len(labels), SIZE))
    splits = ["train"] * sum(COUNTS) + ["test"] * (TEST_ROWS * CLASSES)
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.astype(np.float32).ravel()), SIZE)
    pq.write_table(pa.table({"features": column, "label": labels, "split": splits}), path)
    return means


def test_on_a_mixture_of_known_error_the_tail_gains_and_nobody_beats_the_best_rule(call, tmp_path):
    scores, seeds = {"best": [], "baseline": [], "tailcalib": [], "tailcalibx": []}, range(3)
    for seed in seeds:
        out = tmp_path / str(seed)
        means = write_mixture(tmp_path / f"{seed}.parquet", seed)
        import_table(TableConfig(path=str(tmp_path / f"{seed}.parquet")), out / "features")
        found, features = {"features": out / "features"}, Features.open(out / "features")
        found |= call("head_training", out, found, seed=seed).outputs
        write_samples(features, 0, CalibrationConfig(n_neighbors=3), True, out / "samples", seed=seed)
        found["samples"] = out / "samples"
        rows = np.array(features.split("test"))
        predicted = {"best": (rows @ means.T).argmax(1)}
        for method in ("baseline", "tailcalib", "tailcalibx"):
            done = call("classifier_retraining", out / method, found, {"epochs": 10}, seed=seed, method=method)
            classifier, _ = load(done.outputs["classifier"])
            with torch.no_grad():
                predicted[method] = classifier.classify(torch.from_numpy(rows)).argmax(1).numpy()
        for method, classes in predicted.items():
            right = classes == features.labels("test")
            scores[method].append([np.mean(right[features.labels("test") == c]) for c in range(CLASSES)])
    best, error = bayes_accuracy(), np.sqrt(0.25 / (len(seeds) * CLASSES * TEST_ROWS))
    mean = {method: np.mean(values, axis=0) for method, values in scores.items()}
    assert abs(mean["best"].mean() - best) < 3 * error
    tail = [count < 20 for count in COUNTS]
    for method in ("tailcalib", "tailcalibx"):
        assert mean[method].mean() < best + 3 * error
        assert mean[method][tail].mean() > mean["baseline"][tail].mean() + 0.06
        assert mean[method].mean() > mean["baseline"].mean() + 0.03
