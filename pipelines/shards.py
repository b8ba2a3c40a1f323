"""Features of the frozen backbone in a pipeline: by one task, or by tasks side by side for parts of the images."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kfp import dsl

from components.feature_extraction.component import feature_extraction
from components.feature_merge.component import feature_merge
from components.feature_shard.component import feature_shard
from pipelines.policy import POLICY, apply

_SHARDS: ContextVar[int] = ContextVar("shards", default=1)


@contextmanager
def split(shards: int) -> Generator[None]:
    """Split the images into so many parts in pipelines that are being built; how many tasks there are is fixed then."""
    token = _SHARDS.set(shards)
    try:
        yield
    finally:
        _SHARDS.reset(token)


def frozen_features(*, dataset: Any, backbone: Any, config: Any, seed: Any) -> Any:
    """Return the artifact of the features; called while a pipeline is being defined.

    Args:
        dataset: Artifact of the images.
        backbone: Artifact of the network.
        config: Settings, as the seed a parameter of the pipeline.
        seed: The pipeline's seed.
    """
    if _SHARDS.get() == 1:
        extracted = feature_extraction(dataset=dataset, backbone=backbone, config=config, seed=seed)
        apply(extracted, POLICY["feature_extraction"])
        return extracted.outputs["features"]
    with dsl.ParallelFor(list(range(_SHARDS.get()))) as shard:
        part = feature_shard(dataset=dataset, backbone=backbone, config=config, seed=seed, shard=shard)
        apply(part, POLICY["feature_shard"])
    merged = feature_merge(feature_shards=dsl.Collected(part.outputs["feature_shard"]), config=config, seed=seed)
    apply(merged, POLICY["feature_merge"])
    return merged.outputs["features"]
