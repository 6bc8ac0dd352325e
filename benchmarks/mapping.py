"""Latent points a second: the folded encoder beside the same network unfolded, CIHS's and Han's."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.measure import Row, take_turns
from napari_hypseg.latents.embed import block_size
from napari_hypseg.latents.folded import compile_encoder
from napari_hypseg.model import VAE, get_preset
from napari_hypseg.training import select_device
from napari_hypseg.training.devices import has_fast_bfloat16


def unfolded(network: VAE, patches: Tensor) -> Tensor:
    """Resize and encode with PyTorch's own convolutions, as the network is written down."""
    side = round(patches.shape[1] ** (1 / 3))
    cubes = interpolate(patches.view(-1, 1, side, side, side), size=(10,) * 3, mode="trilinear")
    x = cubes.contiguous(memory_format=torch.channels_last_3d)
    for layer in network.encoder.convolutions:
        # The default's layers are subclasses that multiply matrices: call the plain convolution.
        plain = isinstance(layer, nn.Conv3d)
        x = nn.Conv3d.forward(layer, x) if plain else layer(x)
    features = network.encoder.hidden(x.flatten(1))
    return network.encoder.to_latent(network.encoder.mean(features))


def han_encoder() -> nn.Module:
    """The encoder of Han et al. 2022: three convolutions of a cube of 16, pooled, two layers."""
    layers: list[nn.Module] = []
    for before, after in ((1, 128), (128, 256), (256, 512)):
        layers += [nn.Conv3d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)]
    head = [nn.Flatten(), nn.Linear(512 * 8, 256), nn.ReLU(), nn.Linear(256, 64)]
    return nn.Sequential(*layers, *head)


@torch.inference_mode()
def run(quick: bool) -> list[Row]:
    device = select_device("auto")
    ours = VAE(get_preset("default").model).eval().to(device)
    cihs = VAE(get_preset("cihs").model).eval().to(device)
    for network in (ours, cihs):
        network.encoder.convolutions.to(memory_format=torch.channels_last_3d)
    han = han_encoder().eval().to(device, memory_format=torch.channels_last_3d)
    dtypes = [torch.float32, torch.bfloat16] if has_fast_bfloat16(device) else [torch.float32]
    count = {t: block_size(device, t) for t in dtypes}
    patches = torch.randn(2 * count[torch.float32], ours.config.patch_size**3, device=device)
    few = patches[: len(patches) // 16]
    large = torch.randn(len(few) // 8, 1, 16, 16, 16, device=device)
    stack = {t: compile_encoder(cihs, device, t) for t in dtypes}
    folded = {t: compile_encoder(ours, device, t) for t in dtypes}

    def encode_few(dtype: torch.dtype) -> None:
        stack[dtype](few).cpu()

    def four_times(dtype: torch.dtype) -> None:
        for _ in range(4):
            folded[dtype](patches[: count[dtype]]).cpu()

    return take_turns(
        "mapping, latent points",
        {f"CIHS's stack, {_named(t)}": (partial(encode_few, t), len(few)) for t in dtypes}
        | {
            "Han et al.'s encoder, float32": (lambda: han(large).cpu(), len(large)),
            "default, convolutions, float32": (lambda: unfolded(ours, few).cpu(), len(few)),
        }
        | {
            f"default, folded, {_named(t)}": (partial(four_times, t), 4 * n)
            for t, n in count.items()
        },
        "a second",
        3 if quick else 9,
    )


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
