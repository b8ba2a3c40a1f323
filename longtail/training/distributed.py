"""Data-parallel training when launched by `torchrun`, and plain training otherwise."""

import os

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def start() -> None:
    """Join the process group if `torchrun` launched this process; do nothing otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


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
