"""Which arithmetic a device is fast in."""

from contextlib import AbstractContextManager

import torch


def resolve(precision: str, device: torch.device) -> str:
    """Return `float32` or `bfloat16`; `auto` takes bfloat16 where the hardware multiplies it natively.

    Emulated bfloat16 is many times slower than float32, so the choice asks for the instructions themselves.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    features = torch.cpu.get_capabilities()
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the autocast context of a resolved precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
