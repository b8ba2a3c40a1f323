"""Step 4, merged: put the groups' features together, as one task would have written them, and tell of all."""

import dataclasses
from typing import Any

from longtail.calibration.artifact import merge_samples
from longtail.config import CalibrationConfig
from longtail.steps import calibrated_sampling
from longtail.steps.execution import Context, child_seed


def run(config: CalibrationConfig, context: Context) -> dict[str, dict[str, Any]]:
    """Return metadata of the `samples` artifact that it writes."""
    merge_samples(context.inputs["sample_shards"], context.outputs["samples"])
    whole = dataclasses.replace(context, seed=child_seed(context.pipeline_seed, "calibrated_sampling"))
    return calibrated_sampling.tell(config, whole)
