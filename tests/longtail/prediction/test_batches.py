import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.errors import InputError
from longtail.prediction.batches import AHEAD, ImageInputs, RowInputs
from longtail.prediction.network import Preparation
from longtail.prediction.sources import open_images

PREPARATION = Preparation((8, 8, 3))


def test_images_arrive_in_order_without_those_that_cannot_be_read(picture_folder, pictures):
    inputs = ImageInputs(open_images(str(picture_folder)), PREPARATION, threads=3)
    batches = list(inputs.batches(0, 16))
    assert [len(batch.errors) for batch in batches] == [16, 16, 8]
    names = inputs.places(0, 40)["path"]
    errors = dict(zip(names, (error for batch in batches for error in batch.errors), strict=True))
    assert {name for name, error in errors.items() if error} == {"b/c 07.png", "b/c 09.png"}
    assert errors["b/c 09.png"].startswith("not a readable image")
    expected = np.stack([pictures[name] for name in names if not errors[name]])
    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in batches]), expected)
    (last,) = inputs.batches(32, 16)
    np.testing.assert_array_equal(last.inputs, batches[2].inputs)


def test_only_a_few_batches_are_read_ahead(picture_folder):
    images, read = open_images(str(picture_folder)), []

    class Counting:
        digest = images.digest

        def encoded(self, start):
            for number, load in enumerate(images.encoded(start)):
                read.append(number)
                yield load

    batches = ImageInputs(Counting(), PREPARATION, threads=1).batches(0, 4)
    next(batches)
    assert len(read) == 4 * (AHEAD + 1)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode") and thread.daemon]


def test_a_store_that_goes_away_is_no_fault_of_the_image():
    class Gone:
        digest = ""

        def encoded(self, start):
            def load():
                raise InputError("s3://b/k at h:1: EndpointConnectionError")

            yield load

    with pytest.raises(InputError, match="EndpointConnectionError"):
        list(ImageInputs(Gone(), PREPARATION).batches(0, 4))


@pytest.fixture
def table(tmp_path):
    """Twenty-three rows of five features in row groups of 7, as a function of the columns' form."""
    rows = np.random.default_rng(0).normal(size=(23, 5)).astype(np.float32)

    def write(form, values=rows):
        columns = {"id": [f"r{i}" for i in range(len(values))], "label": list(range(len(values)))}
        if form == "lists":
            columns["embedding"] = list(values)
        else:
            columns |= {f"x{i}": values[:, i] for i in range(values.shape[1])}
        pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=7)
        return str(tmp_path / "t.parquet"), values

    return write


@pytest.mark.parametrize("form", ["lists", "numbers"])
def test_rows_are_cut_into_batches_of_one_size(table, form):
    place, rows = table(form)
    inputs = RowInputs(place, 5)
    batches = [batch.inputs for batch in inputs.batches(0, 10)]
    assert [len(batch) for batch in batches] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate(batches), rows)
    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in inputs.batches(10, 10)]), rows[10:])
    assert inputs.places(22, 23) == {"path": ["t.parquet"], "row": [22]}


@pytest.mark.parametrize(("form", "message"), [("lists", "row 0 has 5 features"), ("numbers", "has 5 columns of num")])
def test_rows_of_another_size_are_refused(table, form, message):
    place, _ = table(form)
    with pytest.raises(InputError, match=rf"{message}.*: the model reads rows of 6"):
        list(RowInputs(place, 6).batches(0, 10))


def test_a_feature_that_is_not_finite_is_named(table):
    values = np.ones((9, 5), np.float32)
    values[8, 3] = np.nan
    place, _ = table("lists", values)
    with pytest.raises(InputError, match=r"t.parquet row 8 has nan in embedding\[3\]"):
        list(RowInputs(place, 5).batches(0, 10))


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no Parquet file: the model reads rows of 5 features"):
        RowInputs(str(tmp_path), 5)
