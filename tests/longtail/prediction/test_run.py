import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.errors import InputError
from longtail.prediction import Options, predict
from longtail.prediction.batches import ImageInputs, RowInputs
from longtail.prediction.sources import open_images

OPTIONS = Options("plants/3", batch_size=4, probabilities=True, features=True)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("longtail.prediction.run.PART_ROWS", 8)


@pytest.fixture
def inputs(picture_folder, predictor):
    return ImageInputs(open_images(str(picture_folder)), predictor.preparation(), threads=2)


def silent(done, total):
    pass


class KilledError(Exception):
    pass


def test_every_image_has_a_row_in_order(predictor, inputs, pictures, small_parts, tmp_path):
    shown = []
    summary = predict(predictor, inputs, tmp_path / "out.parquet", OPTIONS, lambda *now: shown.append(now))
    assert (summary.predicted, summary.output.rows, summary.output.unreadable) == (40, 40, 2)
    assert shown == [(0, 40), *((done, 40) for done in range(4, 41, 4))]
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["path", "class", "probability", "model", "probabilities", "features", "error"]
    rows = table.to_pylist()
    assert [row["path"] for row in rows] == sorted(pictures)
    bad = [row for row in rows if row["error"]]
    assert [row["path"] for row in bad] == ["b/c 07.png", "b/c 09.png"]
    for row in bad:
        assert row["class"] is row["probability"] is row["probabilities"] is row["features"] is None
    good = [row for row in rows if not row["error"]]
    answer = predictor(np.stack([pictures[row["path"]] for row in good]))
    np.testing.assert_allclose([row["probabilities"] for row in good], answer.probabilities, atol=1e-5)
    np.testing.assert_allclose([row["features"] for row in good], answer.features, rtol=1e-4, atol=1e-5)
    best = answer.probabilities.argmax(1)
    assert [row["class"] for row in good] == [predictor.class_names[index] for index in best]
    np.testing.assert_allclose([row["probability"] for row in good], answer.probabilities.max(1), atol=1e-5)
    assert {row["model"] for row in rows} == {"plants/3"}


@pytest.mark.parametrize("kill_at", [4, 12, 24, 40])
def test_what_was_killed_goes_on_and_ends_in_the_same_bytes(predictor, inputs, small_parts, tmp_path, kill_at):
    predict(predictor, inputs, tmp_path / "whole.parquet", OPTIONS, silent)

    def kill(done, _total):
        if done >= kill_at:
            raise KilledError

    out = tmp_path / "killed.parquet"
    with pytest.raises(KilledError):
        predict(predictor, inputs, out, OPTIONS, kill)
    assert not out.exists()
    seen = []
    summary = predict(predictor, inputs, out, OPTIONS, lambda done, _total: seen.append(done))
    kept = (kill_at - 1) // 8 * 8
    assert (summary.predicted, seen[0]) == (40 - kept, kept)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".killed.parquet") and path.is_dir()]


def test_what_is_there_is_left_and_anything_else_is_done_again(predictor, inputs, picture_folder, tmp_path):
    out = tmp_path / "out.parquet"
    first = predict(predictor, inputs, out, OPTIONS, silent)
    before = out.stat().st_ino
    again = predict(predictor, inputs, out, OPTIONS, silent)
    assert (again.predicted, again.output) == (0, first.output)
    assert out.stat().st_ino == before
    assert predict(predictor, inputs, out, Options("plants/4", 4), silent).predicted == 40
    (picture_folder / "b" / "c 09.png").unlink()
    fewer = ImageInputs(open_images(str(picture_folder)), predictor.preparation())
    summary = predict(predictor, fewer, out, OPTIONS, silent)
    assert (summary.predicted, summary.output.rows, summary.output.unreadable) == (39, 39, 1)


def test_somebody_elses_file_stays_as_it_is(predictor, inputs, tmp_path):
    out = tmp_path / "out.parquet"
    pq.write_table(pa.table({"x": [1]}), out)
    before = out.read_bytes()
    with pytest.raises(InputError, match="no file of predictions"):
        predict(predictor, inputs, out, OPTIONS, silent)
    assert out.read_bytes() == before


def test_a_source_of_which_nothing_can_be_read_is_refused(predictor, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(5):
        (tmp_path / "in" / f"{i}.png").write_bytes(b"nothing")
    inputs = ImageInputs(open_images(str(tmp_path / "in")), predictor.preparation())
    with pytest.raises(InputError, match=r"none of the first 5 images can be read: 0.png not a readable image"):
        predict(predictor, inputs, tmp_path / "out.parquet", OPTIONS, silent)
    assert {path.name for path in tmp_path.iterdir()} == {"in", ".out.parquet.lock"}


def test_rows_are_named_by_file_and_number(row_predictor, tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    pq.write_table(pa.table({"features": list(values)}), tmp_path / "in.parquet", row_group_size=7)
    inputs = RowInputs(str(tmp_path / "in.parquet"), 5)
    predict(row_predictor, inputs, tmp_path / "out.parquet", Options("m/1", 8), silent)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["path", "row", "class", "probability", "model", "error"]
    assert table["row"].to_pylist() == list(range(30))
    answer = row_predictor(values).probabilities
    np.testing.assert_allclose(table["probability"], answer.max(1), rtol=1e-5)
    assert table["class"].to_pylist() == [row_predictor.class_names[index] for index in answer.argmax(1)]


def test_an_empty_table_is_refused(row_predictor, tmp_path):
    pq.write_table(pa.table({"features": pa.array([], pa.list_(pa.float32()))}), tmp_path / "in.parquet")
    inputs = RowInputs(str(tmp_path / "in.parquet"), 5)
    with pytest.raises(InputError, match="there are no rows to predict"):
        predict(row_predictor, inputs, tmp_path / "out.parquet", OPTIONS, silent)
