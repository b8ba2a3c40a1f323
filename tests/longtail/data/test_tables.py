import dataclasses

import numpy as np
import pytest

from longtail.data.tables import ImageTable, Source


def test_a_source_cannot_be_changed():
    table = ImageTable(np.array([0]), lambda i: f"image {i}", lambda i: np.zeros((2, 2, 1), np.uint8))
    source = Source("toy", ("a",), table, table)
    assert (source.train.names(3), source.test.read(0).shape) == ("image 3", (2, 2, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        source.name = "other"
