import numpy as np
import pytest

from longtail.errors import InputError
from longtail.evaluation.figures import confusion_figure
from longtail.pages import png


def test_rows_are_normalised_and_sorted(draw, texts):
    evaluations, counts, names = draw(10, skip=4)
    evaluation = evaluations["method 2"]
    axes = confusion_figure(evaluation, names, counts).axes[0]
    shares = axes.images[0].get_array()
    order = np.argsort(-counts)
    np.testing.assert_allclose(shares.diagonal().compressed(), evaluation.per_class[order][order != 4])
    np.testing.assert_allclose(shares.sum(axis=1).compressed(), 100.0)
    assert shares.mask[list(order).index(4)].all()
    assert f"{evaluation.per_class[order[0]]:.0f}" in texts(axes)


@pytest.mark.parametrize("size", [1, 100, 130])
def test_many_classes_render_without_numbers_in_cells(draw, texts, size):
    evaluations, counts, names = draw(size, methods=1)
    names[0] = r"$\wrong$" + names[0]
    figure = confusion_figure(evaluations["method 0"], names, counts)
    assert png(figure).startswith(b"\x89PNG")
    if size > 1:
        assert set(texts(figure.axes[0])) == {"many", "medium", "few"}
        assert (len(figure.axes[0].get_yticks()) == size) == (size <= 120)


def test_bins_of_many_classes_still_add_up(draw):
    evaluations, counts, names = draw(1000, methods=1)
    axes = confusion_figure(evaluations["method 0"], names, counts).axes[0]
    shares = axes.images[0].get_array()
    assert shares.shape == (150, 150)
    np.testing.assert_allclose(shares.sum(axis=1), 100.0)
    assert "a cell: mean of 7 classes" in axes.get_ylabel()


def test_names_must_be_one_per_class(draw):
    evaluations, counts, names = draw(5)
    with pytest.raises(InputError, match="class_names 4 names"):
        confusion_figure(evaluations["method 0"], names[:4], counts)
