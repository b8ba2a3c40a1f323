"""Step 4, split: generate features for one group of the tail classes, beside the tasks of the other groups."""

import dataclasses
from typing import Any

from longtail.config import CalibrationConfig
from longtail.shards import Shard
from longtail.steps import calibrated_sampling
from longtail.steps.execution import Context, child_seed


def run(config: CalibrationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `sample_shard` artifact that it writes; the step's name ends with the part's number."""
    shard = Shard.of(context.method, config.shards, "calibration.shards")
    whole = dataclasses.replace(
        context,
        outputs={"samples": context.outputs["sample_shard"]},
        seed=child_seed(context.pipeline_seed, "calibrated_sampling"),
    )
    calibrated_sampling.generate(config, whole, shard)
    return {"sample_shard": {}}
