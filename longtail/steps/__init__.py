"""The pipeline's steps: each turns artifacts and settings into artifacts.

A step is the same whether a Kubeflow component, the local runner or a command line calls it.
"""

from longtail.steps.execution import Artifact, run_step
from longtail.steps.registry import STEPS, Step

__all__ = ["STEPS", "Artifact", "Step", "run_step"]
