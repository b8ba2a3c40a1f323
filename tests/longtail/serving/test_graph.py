import pytest
import torch

from longtail.networks import build
from longtail.networks.identity import IDENTITY
from longtail.networks.torchvision_models import TorchvisionModel
from longtail.serving import ServedClassifier, export_graph


@pytest.fixture
def images():
    drawn = torch.randint(0, 256, (6, 8, 8, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return drawn.float()


@pytest.fixture
def rows():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def of_rows(make_spec):
    spec = make_spec(network=IDENTITY, image_shape=(1, 1, 5), mean=(0.0,) * 5, std=(1.0,) * 5)
    return build(spec, seed=1).eval()


def exported(classifier, folder):
    export_graph(classifier, folder / "graph.pt2")
    return torch.export.load(folder / "graph.pt2").module()


def agree(classifier, graph, inputs):
    with torch.no_grad():
        for found, expected in zip(graph(inputs), ServedClassifier(classifier)(inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0, 12])
def test_the_graph_reads_any_number_of_images(make_spec, images, tmp_path, size):
    classifier = build(make_spec(mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), input_size=size), seed=0).train()
    graph = exported(classifier, tmp_path)
    assert classifier.training
    for count in (1, 2, 6):
        agree(classifier.eval(), graph, images[:count])


def test_the_graph_reads_any_number_of_rows(of_rows, rows, tmp_path):
    graph = exported(of_rows, tmp_path)
    for count in (1, 2, 7):
        agree(of_rows, graph, rows[:count])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "swin_t", "maxvit_t", "vit_b_32", "inception_v3"])
def test_the_graph_of_a_library_takes_any_number_of_images(make_spec, images, tmp_path, name):
    own = TorchvisionModel(name).own_input
    spec = make_spec(network=f"torchvision:{name}", mean=own.mean, std=own.std, input_size=own.size)
    classifier = build(spec, seed=0).eval()
    graph = exported(classifier, tmp_path)
    for count in (1, 3):
        agree(classifier, graph, images[:count])


def test_probabilities_and_features_are_the_classifiers_own(make_spec, images):
    classifier = build(make_spec(), seed=0).eval()
    with torch.no_grad():
        probabilities, features = ServedClassifier(classifier)(images)
        x = classifier.preprocess(images)
        assert torch.equal(features, classifier.features(x))
        assert torch.equal(probabilities, classifier(x).softmax(1))
    assert probabilities.dtype == features.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_rows_are_raised_to_the_heads_power_but_features_are_not(of_rows, rows):
    of_rows.tukey = 0.5
    probabilities, features = ServedClassifier(of_rows)(rows.abs())
    expected = of_rows.head(torch.nn.functional.normalize(rows.abs(), dim=1) ** 0.5).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected)
    assert torch.equal(features, rows.abs())


def test_input_shapes(make_spec, of_rows):
    assert ServedClassifier(build(make_spec(), seed=0)).input_shape == (8, 8, 1)
    assert ServedClassifier(of_rows).input_shape == (5,)


def test_large_images_come_in_small_batches(make_spec, of_rows):
    def rows(**changes):
        return ServedClassifier(build(make_spec(**changes), seed=0)).rows_at_once

    assert (rows(), ServedClassifier(of_rows).rows_at_once) == (512, 512)
    large = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
    assert rows(image_shape=(224, 224, 3), **large) == rows(input_size=224, **large) == 27
    assert rows(image_shape=(4000, 4000, 3), **large) == 1
