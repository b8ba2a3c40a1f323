"""Steps that one task does, or several side by side: features of the frozen backbone, and calibrated sampling."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kfp import dsl

from components.calibrated_sampling.component import calibrated_sampling
from components.feature_extraction.component import feature_extraction
from components.feature_merge.component import feature_merge
from components.feature_shard.component import feature_shard
from components.sample_merge.component import sample_merge
from components.sample_shard.component import sample_shard
from longtail.config import PipelineConfig
from pipelines.policy import POLICY, apply

_CONFIG: ContextVar[PipelineConfig] = ContextVar("config")
_ONE_TASK = PipelineConfig()


@contextmanager
def split(config: PipelineConfig) -> Generator[None]:
    """Use a configuration's numbers of shards in pipelines that are being built; they are fixed then."""
    token = _CONFIG.set(config)
    try:
        yield
    finally:
        _CONFIG.reset(token)


def frozen_features(*, dataset: Any, backbone: Any, config: Any, seed: Any) -> Any:
    """Return the artifact of the features; called while a pipeline is being defined.

    Args:
        dataset: Artifact of the images.
        backbone: Artifact of the network.
        config: Settings, as the seed a parameter of the pipeline.
        seed: The pipeline's seed.
    """
    shards, common = _CONFIG.get(_ONE_TASK).features.shards, {"config": config, "seed": seed}
    if shards == 1:
        extracted = feature_extraction(dataset=dataset, backbone=backbone, **common)
        apply(extracted, POLICY["feature_extraction"])
        return extracted.outputs["features"]
    with dsl.ParallelFor(list(range(shards))) as shard:
        part = feature_shard(dataset=dataset, backbone=backbone, shard=shard, **common)
        apply(part, POLICY["feature_shard"])
    merged = feature_merge(feature_shards=dsl.Collected(part.outputs["feature_shard"]), **common)
    apply(merged, POLICY["feature_merge"])
    return merged.outputs["features"]


def calibrated_samples(*, backbone: Any, features: Any, config: Any, seed: Any) -> dsl.PipelineTask:
    """Return the task that leaves `samples` and their page; called while a pipeline is being defined.

    Args:
        backbone: Artifact of the network with its first head.
        features: Artifact of its features.
        config: Settings, as the seed a parameter of the pipeline.
        seed: The pipeline's seed.
    """
    shards, common = _CONFIG.get(_ONE_TASK).calibration.shards, {"config": config, "seed": seed}
    if shards == 1:
        return apply(calibrated_sampling(backbone=backbone, features=features, **common), POLICY["calibrated_sampling"])
    with dsl.ParallelFor(list(range(shards))) as shard:
        part = sample_shard(backbone=backbone, features=features, shard=shard, **common)
        apply(part, POLICY["sample_shard"])
    merged = sample_merge(features=features, sample_shards=dsl.Collected(part.outputs["sample_shard"]), **common)
    return apply(merged, POLICY["sample_merge"])
