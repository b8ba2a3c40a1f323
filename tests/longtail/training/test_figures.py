import pytest

from longtail.training.figures import history_figure


def entry(loss, accuracy, **more):
    return {"train/loss": loss, "train/accuracy": accuracy, **more}


def test_curves_show_the_history():
    history = [entry(2.0, 30.0, **{"validation/accuracy": 25.0}), entry(1.0, 60.0, **{"validation/accuracy": 50.0})]
    loss, accuracy = history_figure(history).axes
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert list(loss.lines[0].get_ydata()) == [2.0, 1.0]
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[30.0, 60.0], [25.0, 50.0]]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "validation"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_without_validation_there_is_no_legend(epochs):
    loss, accuracy = history_figure([entry(1.0, 50.0)] * epochs).axes
    assert accuracy.get_legend() is None
    assert (loss.lines[0].get_marker() == "o") == (epochs == 1)
    assert (loss.get_xlabel(), loss.get_ylim()[0], accuracy.get_ylim()[0]) == ("epoch", 0, 0)
