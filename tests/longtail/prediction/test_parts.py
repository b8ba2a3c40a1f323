import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.errors import InputError
from longtail.prediction.parts import Finished, Parts, finished

SCHEMA = pa.schema({"path": pa.string(), "class": pa.string(), "error": pa.string()})
FIRST = {"path": ["a", "b"], "class": ["x", None], "error": [None, "is damaged"]}
SECOND = {"path": ["c"], "class": ["y"], "error": [None]}
KEY = "0" * 64


def test_parts_become_one_file_that_says_what_it_is(tmp_path):
    out = tmp_path / "out.parquet"
    parts = Parts(out, KEY)
    parts.write(0, FIRST, SCHEMA)
    assert not out.exists() and Parts(out, KEY).count() == 1
    Parts(out, KEY).write(1, SECOND, SCHEMA)
    expected = Finished(KEY, 3, 1, ["b is damaged"])
    assert parts.finish(SCHEMA) == expected == finished(out)
    assert pq.read_table(out).to_pylist() == [
        *({"path": p, "class": c, "error": e} for p, c, e in zip(*FIRST.values(), strict=True)),
        {"path": "c", "class": "y", "error": None},
    ]
    assert pq.ParquetFile(out).metadata.num_row_groups == 2
    assert list(tmp_path.iterdir()) == [out]


def test_half_a_part_does_not_count_and_parts_of_something_else_go(tmp_path):
    out = tmp_path / "out.parquet"
    Parts(out, KEY).write(0, FIRST, SCHEMA)
    (folder,) = tmp_path.iterdir()
    (folder / "part-000001.writing").write_bytes(b"half")
    assert Parts(out, KEY).count() == 1
    assert Parts(out, "1" * 64).count() == 0
    assert folder not in tmp_path.iterdir()


def test_nothing_and_something_else(tmp_path):
    out = tmp_path / "out.parquet"
    assert finished(out) is None
    pq.write_table(pa.table({"x": [1]}), out)
    with pytest.raises(InputError, match="is there and no file of predictions"):
        finished(out)
    out.write_bytes(b"text")
    with pytest.raises(InputError, match="is there and no file of predictions"):
        finished(out)
    out.unlink()
    out.mkdir()
    with pytest.raises(InputError, match="is there and no file of predictions"):
        finished(out)
