"""Data-parallel training when launched by `torchrun`, and plain training otherwise."""

import os
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")


def start() -> None:
    """Join the process group if `torchrun` launched this process; do nothing otherwise."""
    if is_launched() and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def is_launched() -> bool:
    """Return whether `torchrun` launched this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def stop() -> None:
    """Leave the process group, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Return this process's place among `world_size` processes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Wait until all processes have come here."""
    if world_size() > 1:
        distributed.barrier()


def from_first(value: Value) -> Value:
    """Return what the first process gives, in all processes: others may be on machines that do not have it."""
    if world_size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, device=device())
    return box[0]


def device() -> torch.device:
    """Return this process's GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def wrap(module: nn.Module) -> nn.Module:
    """Return the module, averaging its gradients over the processes if there are several.

    Batch normalisation uses each process's own share of the batch, as PyTorch does by default.
    """
    return DistributedDataParallel(module) if world_size() > 1 else module


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values


def any_process(flag: bool) -> bool:
    """Return whether the flag is set in any process, so that all of them stop at the same step."""
    if world_size() == 1:
        return flag
    return bool(total(torch.tensor(float(flag), device=device())) > 0)
