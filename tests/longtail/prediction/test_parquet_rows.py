import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.errors import InputError
from longtail.prediction.parquet_rows import ParquetRows, StoredFile, listed


@pytest.fixture
def files(tmp_path):
    """Values 0 to 36 in two files: row groups of 10, 10 and 3, then 5, 5 and 4."""
    made = {"a.parquet": (range(23), 10), "b.parquet": (range(23, 37), 5)}
    for name, (values, size) in made.items():
        pq.write_table(pa.table({"x": list(values), "y": list(values)}), tmp_path / name, row_group_size=size)
    return {name: tmp_path / name for name in reversed(made)}


@pytest.mark.parametrize("start", [0, 1, 9, 10, 22, 23, 30, 36, 37])
@pytest.mark.parametrize("size", [3, 100])
def test_rows_from_any_one_on(files, start, size):
    rows = ParquetRows(files)
    assert len(rows) == 37
    found, places = [], []
    for batch, name, first in rows.batches(start, ["x"], size):
        assert batch.num_rows <= size and batch.schema.names == ["x"]
        found += batch.column(0).to_pylist()
        places += [(name, first + i) for i in range(batch.num_rows)]
    assert found == list(range(start, 37))
    assert places == list(zip(*rows.places(start, 37), strict=True))


def test_places(files):
    names, numbers = ParquetRows(files).places(21, 26)
    assert names == ["a.parquet"] * 2 + ["b.parquet"] * 3
    assert numbers == [21, 22, 0, 1, 2]


def test_a_damaged_file_is_named(files, tmp_path):
    whole = files["b.parquet"].read_bytes()
    files["b.parquet"].write_bytes(whole[:50])
    with pytest.raises(InputError, match=r"b.parquet is not a whole Parquet file"):
        ParquetRows(files)
    files["b.parquet"].write_bytes(whole[:8] + b"\xff" * 60 + whole[68:])
    with pytest.raises(InputError, match=r"b.parquet row group 0 cannot be read"):
        list(ParquetRows(files).batches(0, ["x"], 5))


def test_a_changed_file_is_listed_differently(files):
    before = listed(files)
    assert [entry[0] for entry in before] == ["a.parquet", "b.parquet"]
    files["a.parquet"].write_bytes(b"x")
    assert listed(files)[0] != before[0] and listed(files)[1] == before[1]


@pytest.mark.server
def test_a_stored_file_is_read_in_ranges_and_as_it_was_listed(seaweed, use_store, files):
    from longtail.data.object_store import list_all
    from longtail.storage.client import connect

    use_store(seaweed.port)
    body = np.random.default_rng(0).bytes(1000)
    for name, data in {"x": body, **{name: path.read_bytes() for name, path in files.items()}}.items():
        seaweed.client().put_object(Bucket=seaweed.bucket(), Key=f"ranges/{name}", Body=data)
    client = connect("s3://images")
    stored = list_all("s3://images/ranges", client)
    file = StoredFile(stored["x"], client)
    assert file.seek(-10, io.SEEK_END) == 990 and file.read() == body[-10:] and file.read() == b""
    assert file.seek(5) == 5 and file.read(20) == body[5:25] and file.tell() == 25
    rows = ParquetRows({name: stored[name] for name in files}, client)
    assert [x for batch, _, _ in rows.batches(8, ["x"], 4) for x in batch.column(0).to_pylist()] == list(range(8, 37))
    seaweed.client().put_object(Bucket=seaweed.bucket(), Key="ranges/x", Body=b"other" * 200)
    file.seek(0)
    with pytest.raises(InputError, match="PreconditionFailed"):
        file.read(10)
