import pytest

from longtail.features import WHOLE, Shard


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
