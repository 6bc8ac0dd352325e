"""Voxels mapped a second: the default, features and all, beside CIHS's and Han's encoders."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import napari_hypseg as hs
from benchmarks.measure import Row, take_turns
from napari_hypseg.latents.embed import encode
from napari_hypseg.model import GENERAL, VAE, get_preset, load_model
from napari_hypseg.training import select_device

SHAPE = (64, 128, 128)
PATCHES = 512


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
    volume = hs.Volume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    general = load_model(GENERAL)
    cihs = VAE(get_preset("cihs").model).eval().to(device)
    cihs.encoder.to(memory_format=torch.channels_last_3d)
    han = han_encoder().eval().to(device, memory_format=torch.channels_last_3d)
    patches = torch.randn(PATCHES, cihs.config.patch_size**3, device=device)
    large = torch.randn(PATCHES // 8, 1, 16, 16, 16, device=device)
    return take_turns(
        "mapping, latent points",
        {
            "CIHS's stack, float32": (
                lambda: encode(cihs, patches, torch.float32).cpu(), len(patches),
            ),
            "Han et al.'s encoder, float32": (lambda: han(large).cpu(), len(large)),
            "default, the volume read and its features computed": (
                lambda: hs.embed(general, volume, device=str(device)), volume.data.size,
            ),
        },
        "a second",
        3 if quick else 9,
    )  # fmt: skip
