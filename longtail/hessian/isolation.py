"""Conditions under which second derivatives are right, and the promise to leave no trace of having set them."""

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def isolated(model: nn.Module) -> Generator[None]:
    """Hold a model in evaluation mode and exact arithmetic; restore all of it, also after an exception.

    Batch statistics and dropout would make every product another matrix's, so the mode is evaluation. Autocast,
    TF32 and compiled code are off, and attention uses the one kernel that can be differentiated twice. The modules'
    modes, the buffers and the global random state are put back as they were.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    device = next(model.parameters()).device
    with ExitStack() as stack:
        stack.callback(_restore_modes, {module: module.training for module in model.modules()})
        stack.callback(_restore_buffers, model, {name: buffer.clone() for name, buffer in model.named_buffers()})
        stack.callback(_restore_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if "torch._dynamo" in sys.modules:  # nothing can be compiled before it is imported, which takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        _restore_tf32(False, False)
        model.eval()
        yield


def _restore_modes(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


def _restore_buffers(model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Write back, in place, the buffers that changed."""
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in saved and not torch.equal(buffer, saved[name]):
                buffer.copy_(saved[name])


def _restore_tf32(matmul: bool, cudnn: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = cudnn
