"""An installation's own policy: a YAML file that is laid over the table, so that no code is touched.

images: {cpu: HOST/NAME@sha256:…, cuda: HOST/NAME@sha256:…}
every_step:
  environment: {MLFLOW_TRACKING_URI: http://longtail-mlflow:5000}
  node_selector: {pool: batch}
steps:
  backbone_training: {gpu: {count: 1}, memory: 16Gi, timeout: 48h}
run: {service_account: longtail-runner, keep: 7d, pipeline_root: s3://BUCKET/PREFIX}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from components.images import image
from longtail.config import parse, to_dict
from longtail.errors import InputError
from pipelines.policy import POLICY, Policy
from pipelines.policy_checks import check_image, check_policy, check_run

VARIABLE = "LONGTAIL_POLICY"
"""Names the file where `--policy` does not."""


@dataclass(frozen=True)
class Images:
    """Container images in place of those of docker/images.json, such as a private registry's."""

    cpu: str = ""
    cuda: str = ""


@dataclass(frozen=True)
class RunPolicy:
    """What holds for a run as a whole.

    Attributes:
        service_account: Kubernetes service account of its pods; empty takes Kubeflow's own.
        pipeline_root: Where artifacts are kept; empty takes Kubeflow's own place.
        keep: How long the finished workflow and its pods stay in the cluster; empty as long as Kubeflow wants.
        keep_failed: The same after a failure; empty is `keep`.
        timeout: Time limit of the whole run; empty is none.
    """

    service_account: str = ""
    pipeline_root: str = ""
    keep: str = ""
    keep_failed: str = ""
    timeout: str = ""


@dataclass(frozen=True)
class Installation:
    """The policies of all steps and of the run, complete."""

    steps: Mapping[str, Policy] = field(default_factory=lambda: dict(POLICY))
    run: RunPolicy = RunPolicy()


_Steps = make_dataclass("_Steps", [(step, Policy, policy) for step, policy in POLICY.items()], frozen=True)


@dataclass(frozen=True)
class _Layout:
    """The keys that a file may have."""

    images: Images = Images()
    every_step: Policy = field(default_factory=Policy)
    steps: _Steps = field(default_factory=_Steps)
    run: RunPolicy = RunPolicy()


def read_installation(path: str = "") -> Installation:
    """Return the policies with those of a file laid over them; without a file they are the table's own.

    Args:
        path: YAML file; empty takes that of LONGTAIL_POLICY.

    Raises:
        InputError: If the file cannot be read, a key is unknown (the nearest known one is named) or a value is wrong.
    """
    path = path or os.environ.get(VARIABLE, "")
    if not path:
        return Installation()
    values = _read(path)
    layout = parse(_Layout, values)
    check_run(layout.run)
    for variant, reference in vars(layout.images).items():
        check_image(reference, f"images.{variant}")
    steps = {}
    for step, policy in POLICY.items():
        layers = (to_dict(policy), values.get("every_step", {}), values.get("steps", {}).get(step, {}))
        merged = parse(Policy, _laid_over(*layers), f"steps.{step}")
        check_policy(merged, f"steps.{step}")
        steps[step] = replace(merged, image=_image(merged, layout.images))
    return Installation(steps, layout.run)


def _read(path: str) -> dict[str, Any]:
    """Return a file's mapping with every scalar as text, so that `cpu: 4` needs no quotes."""
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}
    except OSError as error:
        raise InputError(f"policy {path!r} cannot be read ({error.strerror}): give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"policy {path!r} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        known = ", ".join(_Layout.__dataclass_fields__)
        raise InputError(f"policy {path!r} holds no mapping: give one with the keys {known}")
    return values


def _laid_over(below: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of upper layers in their place; mappings are merged, lists replaced."""
    merged = dict(below)
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _laid_over(merged[key], value) if both else value
    return merged


def _image(policy: Policy, own: Images) -> str:
    """Return a step's image: its own, else the installation's, else for a GPU the CUDA image that was built."""
    if policy.image or not policy.gpu.count:
        return policy.image or own.cpu
    return own.cuda or image("cuda")
