"""Where to compute: CUDA, Apple's MPS or the CPU."""

from __future__ import annotations

import numba
import torch

__all__ = ["has_fast_bfloat16", "match_numba_threads", "select_device"]


def select_device(name: str = "auto") -> torch.device:
    """The device called ``name``; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError):
        raise ValueError(f"this machine has no device {name!r} that PyTorch can use") from None
    if device.type == "meta":
        raise ValueError("the device 'meta' can't compute")
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 have units of their own here (AMX, AVX-512, CUDA)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # torch 2.8
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def match_numba_threads() -> None:
    """Give numba's loops as many threads as PyTorch has; call it before they run.

    Numba takes all cores, whatever OMP_NUM_THREADS says, and where both use OpenMP its start makes
    that PyTorch's number too.
    """
    threads = torch.get_num_threads()
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(threads, most)))
    torch.set_num_threads(threads)
