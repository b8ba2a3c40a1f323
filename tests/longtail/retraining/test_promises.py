"""What each method promises, where it must hold: Gaussian classes of known densities, of which the tail is rare.

Three classes of one group, one of them large and one small, have one covariance, wide along a few directions that
tell nothing: a handful of rows does not show these directions, but the large neighbour's covariance does. Few-shot
classes have fewer than 20 rows, the test set is balanced, and every claim is over five seeds.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from longtail.artifacts import new_artifact
from longtail.calibration.artifact import Samples, write_samples
from longtail.config import CalibrationConfig, RetrainingConfig
from longtail.features import Features
from longtail.networks import NetworkSpec, build
from longtail.networks.identity import IDENTITY
from longtail.retraining import METHODS, retrain
from longtail.retraining.head import FeatureSet, fit_head

GROUPS, SIZE, WIDE = 4, 16, 6
COUNTS = np.array([300, 198, 130, 86, 57, 37, 25, 16, 11, 7, 5, 3])  # imbalance factor 100
CLASSES, FEW = len(COUNTS), COUNTS < 20
TEST_PER_CLASS = 300
SEEDS = range(5)
RECIPE = RetrainingConfig(epochs=3, batch_size=64, learning_rate=0.1)
REBALANCING = [("linear", method) for method in METHODS if method != "baseline"]
REBALANCING += [("cosine", method) for method in METHODS if method not in ("baseline", "tau_norm")]


class Mixture:
    """Gaussian classes, whose groups share a centre nearly and a covariance entirely."""

    def __init__(self, rng):
        group = np.arange(CLASSES) % GROUPS
        centres = 3.0 * unit(rng.normal(size=(GROUPS, SIZE)))
        wide = 1.5 * unit(rng.normal(size=(GROUPS, WIDE, SIZE)))
        self.means = centres[group] + 1.2 * rng.normal(size=(CLASSES, SIZE)) / np.sqrt(SIZE)
        self.covariances = (0.35**2 * np.eye(SIZE) + np.einsum("gki,gkj->gij", wide, wide))[group]

    def draw(self, rng, counts):
        labels = np.repeat(np.arange(CLASSES), counts)
        roots = np.linalg.cholesky(self.covariances)
        normals = rng.normal(size=(len(labels), SIZE))
        return self.means[labels] + np.einsum("nij,nj->ni", roots[labels], normals), labels

    def posterior(self, x):
        """Return p(class | x) (n, C) where all classes are equally frequent."""
        densities = [
            stats.multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(self.means, self.covariances, strict=True)
        ]
        shifted = np.exp(np.transpose(densities) - np.max(densities, axis=0)[:, None])
        return shifted / shifted.sum(axis=1, keepdims=True)


@dataclass
class World:
    """One seed's features, baseline and generated set."""

    mixture: Mixture
    classifier: torch.nn.Module
    features: Features
    samples: Samples
    folder: object

    def retrained(self, method, samples=None):
        return retrain(
            method, self.classifier, self.features, samples or self.samples, RECIPE, seed=0, work=self.folder
        )

    def right(self, classifier):
        """Return which test rows are classified right, (C, TEST_PER_CLASS) bool."""
        with torch.no_grad():
            found = classifier.classify(torch.from_numpy(np.array(self.features.split("test")))).argmax(1).numpy()
        return (found == self.features.labels("test")).reshape(CLASSES, TEST_PER_CLASS)

    def sampled(self, name, **settings):
        path = self.folder / name
        write_samples(
            self.features, 0, CalibrationConfig(n_neighbors=2, **settings), self.samples.normalise, path, seed=0
        )
        return Samples.open(path)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def make_world(folder, seed, head):
    rng = np.random.default_rng(seed)
    mixture = Mixture(rng)
    names = [str(label) for label in range(CLASSES)]
    fields = {"class_names": names, "train_counts": COUNTS.tolist(), "views": 0}
    with new_artifact(folder / "features", "longtail.features", 1, fields) as path:
        for name, counts in (("train", COUNTS), ("test", [TEST_PER_CLASS] * CLASSES)):
            x, labels = mixture.draw(rng, counts)
            (path / name).mkdir()
            np.save(path / name / "labels.npy", labels)
            np.save(path / name / "view-0.npy", x.astype(np.float32))
    features = Features.open(folder / "features")
    spec = NetworkSpec(IDENTITY, head, (1, 1, SIZE), features.class_names, (0.0,) * SIZE, (1.0,) * SIZE)
    classifier, real = build(spec, seed), FeatureSet.real_only(features, 0)
    fit_head(
        classifier.head,
        lambda _, generator: (real, torch.randperm(len(real), generator=generator)),
        RetrainingConfig(epochs=15, batch_size=64, momentum=0.9),
        peak=0.1,
        schedule="cosine",
        seed=seed,
        on_epoch=None,
    )
    write_samples(features, 0, CalibrationConfig(n_neighbors=2), head != "linear", folder / "samples", seed=seed)
    return World(mixture, classifier.eval(), features, Samples.open(folder / "samples"), folder)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Return the worlds by head, one for each seed."""
    return {
        head: [make_world(tmp_path_factory.mktemp("world"), seed, head) for seed in SEEDS]
        for head in ("linear", "cosine")
    }


@pytest.fixture(scope="module")
def right(worlds):
    """Return which test rows each method classifies right, (seeds, C, TEST_PER_CLASS), by head and method."""
    return {
        (head, method): np.stack([world.right(world.retrained(method)) for world in made])
        for head, made in worlds.items()
        for method in METHODS
    }


def lower_bound(differences):
    """Return what the mean of paired differences exceeds with 99 % confidence (Student's t over the seeds)."""
    return differences.mean() + stats.t.ppf(0.01, len(differences) - 1) * stats.sem(differences)


def few_shot(right):
    """Return few-shot accuracy of each seed, (seeds,), in per cent."""
    return 100 * right[:, FEW].mean(axis=(1, 2))


def overall(right):
    return 100 * right.mean(axis=(1, 2))


def test_bayes_accuracy_is_the_mean_of_the_largest_posterior(worlds):
    """Two estimates of one number from the true densities: how often the rule is right, and how sure it may be."""
    for seed, world in enumerate(worlds["linear"]):
        x, labels = world.mixture.draw(np.random.default_rng(seed + 100), [1000] * CLASSES)
        posterior = world.mixture.posterior(x)
        difference = (posterior.argmax(1) == labels) - posterior.max(axis=1)
        assert abs(difference.mean()) < 4 * stats.sem(difference)
        assert 0.85 < posterior.max(axis=1).mean() < 0.97  # neither hopeless nor trivial


def test_the_baseline_fails_on_the_tail_and_nowhere_else(right):
    for head in ("linear", "cosine"):
        assert few_shot(right[head, "baseline"]).max() < 40
        assert 100 * right[head, "baseline"][:, COUNTS > 100].mean() > 90


@pytest.mark.parametrize(("head", "method"), REBALANCING)
def test_few_shot_accuracy_rises(right, head, method):
    assert lower_bound(few_shot(right[head, method]) - few_shot(right[head, "baseline"])) > 15


@pytest.mark.parametrize(("head", "method"), REBALANCING)
def test_overall_accuracy_rises(right, head, method):
    assert lower_bound(overall(right[head, method]) - overall(right[head, "baseline"])) > 2


def test_a_cosine_head_loses_its_bias_alone_to_tau_norm(right):
    """Class vectors of unit norm leave it little to do, and nothing to spoil."""
    assert lower_bound(few_shot(right["cosine", "tau_norm"]) - few_shot(right["cosine", "baseline"])) > 0


@pytest.mark.parametrize("method", ["tailcalib", "tailcalibx"])
@pytest.mark.parametrize("other", ["crt", "modals"])
@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_a_borrowed_covariance_beats_repeated_rows(right, head, method, other):
    """In every world, on the same few-shot test rows, by more than chance at 99 % confidence."""
    differences = right[head, method][:, FEW].astype(float) - right[head, other][:, FEW]
    for rows in differences.reshape(len(SEEDS), -1):
        assert rows.mean() > 2.33 * stats.sem(rows)
    assert 100 * differences.mean() > 8


def test_nothing_is_better_than_bayes(worlds, right):
    """Of the differences on the same test rows, the mean exceeds zero by no more than chance."""
    for (head, method), found in right.items():
        for world, one in zip(worlds[head], found, strict=True):
            posterior = world.mixture.posterior(world.features.split("test").astype(np.float64))
            bayes = posterior.argmax(1) == world.features.labels("test")
            difference = one.ravel().astype(float) - bayes
            assert difference.mean() <= 3 * stats.sem(difference), (head, method)


def test_accuracy_rises_with_how_much_of_the_shortfall_is_filled(worlds):
    """Without generated features the head only goes on as it was; each further share helps the tail."""
    found = []
    for fill in (0.0, 0.2, 1.0):
        per_seed = []
        for world in worlds["linear"]:
            samples = world.sampled("filled", fill=fill)
            counts = np.bincount(samples.labels, minlength=CLASSES)
            np.testing.assert_array_equal(counts, np.rint(fill * (COUNTS.max() - COUNTS)))
            assert samples.balanced_size == COUNTS.sum() + counts.sum()
            per_seed.append(world.right(world.retrained("tailcalib", samples)))
        found.append(few_shot(np.stack(per_seed)))
    assert lower_bound(found[1] - found[0]) > 0
    assert lower_bound(found[2] - found[1]) > 0


@pytest.mark.parametrize("own_class", ["include", "exclude"])
def test_generated_features_have_the_moments_of_who_may_lend(worlds, own_class):
    """Whitened by the formula's mean and covariance for these lenders, the sum of squares is chi-square."""
    for world in worlds["linear"]:
        x, labels = world.features.train().astype(np.float64), world.features.labels("train")
        means = np.stack([x[labels == label].mean(axis=0) for label in range(CLASSES)])
        covariances = np.stack([np.cov(x[labels == label].T) for label in range(CLASSES)])
        samples, squares = world.sampled("lent", own_class=own_class), 0.0
        for row in np.unique(samples.seed_rows):
            far = np.square(means - x[row]).sum(axis=1)
            if own_class == "exclude":
                far[labels[row]] = np.inf
            lenders = np.argsort(far)[:2]
            made = samples.seed_rows == row
            np.testing.assert_array_equal(samples.nearest[made], [lenders] * made.sum())
            mean = (x[row] + means[lenders].sum(axis=0)) / 3
            covariance = covariances[lenders].mean(axis=0) + 1e-4 * np.eye(SIZE)
            residuals = samples.rows[made] - mean
            squares += np.einsum("ni,ni->", residuals, np.linalg.solve(covariance, residuals.T).T)
        assert 1e-4 < stats.chi2.cdf(squares, samples.rows.size) < 1 - 1e-4
