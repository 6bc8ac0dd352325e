"""Latent points a second: the folded encoder beside the same network unfolded and CIHS's stack.

Run `python -m benchmarks.mapping`. The candidates take turns; the table gives medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import interpolate

from napari_hypseg.latents.folded import compile_encoder
from napari_hypseg.model import VAE, get_preset
from napari_hypseg.training import select_device

ROUNDS = 7
PATCHES = 1024


def unfolded(network: VAE, patches: torch.Tensor) -> torch.Tensor:
    """Resize and encode with PyTorch's own convolutions, as the network is written down."""
    side = round(patches.shape[1] ** (1 / 3))
    cubes = interpolate(patches.view(-1, 1, side, side, side), size=(10,) * 3, mode="trilinear")
    x = cubes.contiguous(memory_format=torch.channels_last_3d)
    for layer in network.encoder.convolutions:
        # The default's layers are subclasses that multiply matrices: call the plain convolution.
        plain = isinstance(layer, torch.nn.Conv3d)
        x = torch.nn.Conv3d.forward(layer, x) if plain else layer(x)
    features = network.encoder.hidden(x.flatten(1))
    return network.encoder.to_latent(network.encoder.mean(features))


def main() -> None:
    """Measure and print a table."""
    device = select_device("auto")
    ours = VAE(get_preset("default").model).eval().to(device)
    theirs = VAE(get_preset("cihs").model).eval().to(device)
    for network in (ours, theirs):
        network.encoder.convolutions.to(memory_format=torch.channels_last_3d)
    patches = torch.randn(PATCHES, ours.config.patch_size**3, device=device)
    few = patches[:256]
    candidates: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]] = {
        "CIHS's stack": (compile_encoder(theirs, device), few),
        "default, convolutions": (lambda p: unfolded(ours, p), few),
        "default, folded, float32": (compile_encoder(ours, device), patches),
        "default, folded, bfloat16": (compile_encoder(ours, device, torch.bfloat16), patches),
    }
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    with torch.inference_mode():
        for round_ in range(ROUNDS + 1):
            for name, (run, batch) in candidates.items():
                began = time.perf_counter()
                run(batch).cpu()
                if round_:  # the first round warms up
                    rates[name].append(len(batch) / (time.perf_counter() - began))
    base = statistics.median(rates["CIHS's stack"])
    print(f"{device}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:<27} {median:>12,.0f} voxels/s {median / base:>7.1f} x")


if __name__ == "__main__":
    main()
