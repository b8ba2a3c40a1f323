"""Which part of the images a task turns into features."""

from dataclasses import dataclass

SCHEMA = "longtail.shard"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the images."""

    index: int  # from 0
    count: int

    def rows(self, images: int, batch_size: int) -> range:
        """Return the part's rows of a split of so many images: whole batches, but for the split's last one."""
        batches = -(-images // batch_size)
        start, stop = (batches * place // self.count * batch_size for place in (self.index, self.index + 1))
        return range(min(start, images), min(stop, images))


WHOLE = Shard(0, 1)
