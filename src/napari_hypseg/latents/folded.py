"""The encoder as a short chain of matrix products, for mapping every voxel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from napari_hypseg.model.vae import VAE, Posterior

__all__ = ["compile_encoder"]


def compile_encoder(
    network: VAE, device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[[Tensor], Tensor]:
    """A function from raw patches to latent points: resize, encode, map to the latent space.

    On grids as small as the encoder's, a convolution with its zero padding is a dense matrix, and
    the resizing, being linear, folds into the first one. The default encoder becomes the chain
    125 > 2000 > 864 > 512 > 128 > d with ReLUs between: exact up to rounding, and fewer, larger
    operations than convolutions of cubes of 5 voxels. CIHS's stack of stride 1 does not profit
    (its matrices would hold 10^8 elements) and stays as it is.

    Parameters
    ----------
    network : VAE
        A trained network.
    device : torch.device
        Where to run it.
    dtype : torch.dtype
        Of the matrix products but the last: float32, or bfloat16 where the device has units for
        it. The last product and the map to the latent space are in float32 always.

    Returns
    -------
    callable
        From patches of shape (n, p^3), p the configuration's patch size, in normalised intensity,
        to latent points of shape (n, d). Call it without gradients.
    """
    encoder, config = network.encoder, network.config
    patch, side = config.patch_size, config.input_size

    def resize(patches: Tensor) -> Tensor:
        cube = patches.view(-1, 1, patch, patch, patch)
        return interpolate(cube, size=(side,) * 3, mode="trilinear", align_corners=False)

    if config.encoder != "strided":
        # A copy: the caller's network stays where it is.
        stack = _copy(network).to(device).encoder

        def run_stack(patches: Tensor) -> Tensor:
            posterior: Posterior = stack(resize(patches))
            return posterior.mean

        return run_stack

    matrices = _fold(network, resize)
    chain = [(w.to(device, dtype), b.to(device, dtype)) for w, b in matrices[:-1]]
    weight, bias = (t.to(device, torch.float32) for t in matrices[-1])

    def run_chain(patches: Tensor) -> Tensor:
        x = patches.to(dtype)
        for layer, shift in chain:
            x = torch.addmm(shift, x, layer).relu_()
        return encoder.to_latent(torch.addmm(bias, x.float(), weight))

    return run_chain


def _copy(network: VAE) -> VAE:
    copy = VAE(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.eval()


def _fold(network: VAE, resize: Callable[[Tensor], Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Matrices (inputs, outputs) and biases of the encoder's layers, in float64."""
    config = network.config
    encoder = _copy(network).double().cpu().encoder
    steps: list[tuple[Tensor, Tensor]] = []
    shape = (1, *(config.input_size,) * 3)
    layers = [m for m in encoder.convolutions if isinstance(m, nn.Conv3d)]
    with torch.inference_mode():
        for index, layer in enumerate(layers):
            inputs = config.patch_size**3 if index == 0 else int(torch.tensor(shape).prod())
            basis = torch.eye(inputs, dtype=torch.float64)
            cubes = resize(basis) if index == 0 else basis.view(-1, *shape)
            zero = layer(torch.zeros_like(cubes[:1]))
            steps.append(((layer(cubes) - zero).flatten(1), zero.flatten()))
            shape = tuple(zero.shape[1:])
        linear = [m for m in encoder.hidden.modules() if isinstance(m, nn.Linear)]
        steps += [(m.weight.T.contiguous(), m.bias) for m in (*linear, encoder.mean)]
    return steps
