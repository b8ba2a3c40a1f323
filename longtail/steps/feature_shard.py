"""Step 3, split: turn one part of the images into features, beside the tasks of the other parts."""

import dataclasses
from typing import Any

from longtail.config import FeaturesConfig
from longtail.shards import Shard
from longtail.steps import feature_extraction
from longtail.steps.execution import Context, child_seed


def run(config: FeaturesConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `feature_shard` artifact that it writes; the step's name ends with the part's number."""
    shard = Shard.of(context.method, config.shards, "features.shards")
    whole = dataclasses.replace(
        context,
        outputs={"features": context.outputs["feature_shard"]},
        seed=child_seed(context.pipeline_seed, "feature_extraction"),
    )
    described = feature_extraction.run(config, whole, shard)
    return {"feature_shard": described["features"]}
