import numpy as np
import pytest

from longtail.artifacts import artifact_digest, new_artifact
from longtail.errors import InputError
from longtail.shards import WHOLE, Shard, join_array, new_part, open_shards

WORDS = "longtail.words"


@pytest.fixture
def write(tmp_path):
    """Write the rows of a shard of the numbers below 23."""

    def call(shard, *, schema=WORDS, fields=None):
        with new_part(tmp_path / f"{schema}-{shard.index}", schema, 3, {"size": 23} | (fields or {}), shard) as folder:
            np.save(folder / "rows.npy", np.arange(23)[slice(*_ends(shard.pieces(23)))])
        return tmp_path / f"{schema}-{shard.index}"

    return call


def _ends(rows):
    return rows.start, rows.stop


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("images", [1, 99, 100, 101, 383])
def test_shards_are_whole_batches_that_cover_every_row_once(count, images):
    parts = [Shard(index, count).rows(images, 100) for index in range(count)]
    assert [row for part in parts for row in part] == list(range(images))
    assert all(part.start % 100 == 0 for part in parts if len(part))
    sizes = [-(-len(part) // 100) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_the_whole_is_one_shard():
    assert WHOLE.rows(383, 100) == range(383)
    assert WHOLE.pieces(7) == range(7)


@pytest.mark.parametrize("place", ["3", "-1"])
def test_a_place_that_is_none(place):
    with pytest.raises(InputError, match=f"shard {place} is none of some.shards=3: compile the pipeline again"):
        Shard.of(place, 3, "some.shards")


@pytest.mark.parametrize("count", [2, 5, 40])
def test_joined_parts_are_the_whole(write, tmp_path, count):
    parts = [write(Shard(index, count)) for index in range(count)]
    fields, folders = open_shards(parts[::-1], WORDS, 3)
    assert (fields, folders) == ({"size": 23}, parts)
    with new_artifact(tmp_path / "joined", WORDS, 3, fields) as folder:
        join_array(folders, "rows.npy", folder / "rows.npy")
    with new_part(tmp_path / "whole", WORDS, 3, {"size": 23}) as folder:
        np.save(folder / "rows.npy", np.arange(23))
    assert artifact_digest(tmp_path / "joined") == artifact_digest(tmp_path / "whole")


def test_each_shard_is_needed_once(write):
    shards = [write(Shard(index, 3)) for index in range(3)]
    with pytest.raises(InputError, match="0 of 3, 2 of 3: give each of 0 to 2 of 3 once"):
        open_shards([shards[0], shards[2]], WORDS, 3)
    with pytest.raises(InputError, match="0 of 3, 1 of 3, 1 of 3, 2 of 3: give"):
        open_shards([*shards, shards[1]], WORDS, 3)


def test_shards_of_another_whole_or_step_are_refused(write):
    first, second = write(Shard(0, 2)), write(Shard(1, 2), fields={"size": 24})
    with pytest.raises(InputError, match=r"-1 is a shard of another whole than .*-0: give shards of the same run"):
        open_shards([first, second], WORDS, 3)
    other = write(Shard(1, 2), schema="longtail.numbers")
    with pytest.raises(InputError, match=r"is a shard of longtail.numbers 3, not of longtail.words 3: give"):
        open_shards([first, other], WORDS, 3)
