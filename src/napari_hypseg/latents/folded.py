"""The encoder as a short chain of matrix products, for mapping every voxel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from napari_hypseg.model.vae import VAE, Encoder, Posterior, ScaleEncoder

__all__ = ["compile_encoder", "multiply_adds"]

# What one more matrix product costs beside its multiply-adds, as multiply-adds a patch: measured
# on CPUs. Narrow products are slow without AVX-512. The bfloat16 units are faster, and a call of
# theirs takes longer.
_CALL = {
    torch.float32: 500 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 2000,
    torch.bfloat16: 5000,
}


class _Product(NamedTuple):
    """Outputs of a layer, and the stretches of inputs that they depend on with their weights."""

    outputs: slice
    bias: Tensor
    terms: list[tuple[slice, Tensor]]


def compile_encoder(
    network: VAE, device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[[Tensor], Tensor]:
    """A function from raw patches to latent points: resize, encode, map to the latent space.

    On grids as small as the encoder's, a convolution with its zero padding is a dense matrix, and
    the resizing, being linear, folds into the first one. The default encoder becomes the chain
    125 > 1000 > 432 > 256 > 64 > d with ReLUs between: exact up to rounding, and fewer, larger
    operations than convolutions of cubes of 5 voxels. Where the kernel does not reach, the
    matrices are zero. With features in the order (z, y, x, channel) the zeros lie in blocks, and
    each layer is cut into products that leave a third of the chain's 0.68 million multiply-adds
    out.

    CIHS's stack of stride 1 does not profit (its matrices would hold 10^8 elements) and stays as
    it is.

    Parameters
    ----------
    network : VAE
        A trained network.
    device : torch.device
        Where to run it.
    dtype : torch.dtype
        Of the matrix products but the last (of the stack: the convolutions): float32, or bfloat16
        where the device has units for it. The features of the last hidden layer, the last product
        and the map to the latent space are in float32 always.

    Returns
    -------
    callable
        From patches of shape (n, p^3), p the configuration's patch size, in normalised intensity,
        or features of shape (n, WIDTH), to latent points of shape (n, d). Call it without
        gradients, in one thread at a time.
    """
    encoder = network.encoder
    if isinstance(encoder, ScaleEncoder):
        layers_of_scales = _copy(network).to(device).encoder

        def run_layers(features: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                posterior: Posterior = layers_of_scales(features)
            return posterior.mean

        return run_layers
    if network.config.encoder != "strided":
        # A copy: the caller's network stays where it is.
        stack = _copy(network).to(device).encoder
        assert isinstance(stack, Encoder)  # noqa: S101

        def run_stack(patches: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                features = stack.convolutions(_resize(network, patches)).flatten(1)
            return stack.to_latent(stack.mean(stack.hidden(features.float())))

        return run_stack

    *chain, hidden, last = _fold(network)
    layers = [
        [
            _Product(o, bias.to(device, dtype), [(i, w.to(device, dtype)) for i, w in terms])
            for o, bias, terms in _cheapest_cut(*layer, _CALL[dtype])
        ]
        for layer in chain
    ]
    mixing, shift = hidden[0].to(device, dtype), hidden[1].to(device, torch.float32)
    weight, bias = (t.to(device, torch.float32) for t in last[:2])
    # Fresh memory costs as much as the first layer: results are kept from call to call.
    results: list[Tensor] = []

    def run_chain(patches: Tensor) -> Tensor:
        if not results or len(results[0]) != len(patches):
            sizes = [*(layer[-1].outputs.stop for layer in layers), len(shift)]
            results[:] = [torch.empty(len(patches), n, device=device, dtype=dtype) for n in sizes]
        x = patches.to(dtype)
        for layer, y in zip(layers, results, strict=False):
            for outputs, offset, ((first, block), *terms) in layer:
                part = torch.addmm(offset, x[:, first], block, out=y[:, outputs])
                for inputs, block in terms:
                    part.addmm_(x[:, inputs], block)
            # Negative numbers are negative integers too, and those are compared faster.
            x = (
                y.relu_()
                if dtype == torch.float32
                else y.view(torch.int16).clamp_min_(0).view(dtype)
            )
        features = torch.mm(x, mixing, out=results[-1]).float()
        if dtype != torch.float32:
            # Rounding these features would be most of the error: add what it has left over.
            features += torch.addmm(results[-1], x, mixing, beta=-1)
        features += shift
        return encoder.to_latent(torch.addmm(bias, features.relu_(), weight))

    return run_chain


def multiply_adds(network: VAE, dtype: torch.dtype = torch.float32) -> int:
    """Multiply-adds a patch of a compiled encoder."""
    *chain, hidden, last = _fold(network)
    products = [p for layer in chain for p in _cheapest_cut(*layer, _CALL[dtype])]
    count = sum(w.numel() for p in products for _, w in p.terms) + last[0].numel()
    return count + hidden[0].numel() * (1 if dtype == torch.float32 else 2)


def _copy(network: VAE) -> VAE:
    copy = VAE(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.eval()


def _resize(network: VAE, patches: Tensor) -> Tensor:
    patch, side = network.config.patch_size, network.config.input_size
    cubes = patches.view(-1, 1, patch, patch, patch)
    return interpolate(cubes, size=(side,) * 3, mode="trilinear", align_corners=False)


def _cheapest_cut(weight: Tensor, bias: Tensor, side: int, call: int) -> list[_Product]:
    """A layer whose outputs lie in a cube, cut along no axis, along z, along z and y, or all."""
    cuts = [_cut(weight, bias, side**axes) for axes in range(4 if side > 1 else 1)]
    return min(cuts, key=lambda cut: sum(w.numel() + call for p in cut for _, w in p.terms))


def _cut(weight: Tensor, bias: Tensor, pieces: int) -> list[_Product]:
    """A layer in so many equal pieces, each without the inputs that none of its outputs needs."""
    step, cut = len(bias) // pieces, []
    for start in range(0, len(bias), step):
        outputs = slice(start, start + step)
        block = weight[:, outputs]
        needed = (block != 0).any(1).int()
        nothing = needed.new_zeros(1)
        ends = torch.diff(needed, prepend=nothing, append=nothing).nonzero()[:, 0].tolist()
        # Outputs that need nothing are their bias.
        stretches = [slice(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)]
        terms = [(s, block[s].contiguous()) for s in stretches or [slice(0, 0)]]
        cut.append(_Product(outputs, bias[outputs], terms))
    return cut


def _fold(network: VAE) -> list[tuple[Tensor, Tensor, int]]:
    """Matrices (inputs, outputs), biases and sides of the layers, in float64.

    Features of a convolution are in the order (z, y, x, channel); a side of 1 is for those that
    have no place.
    """
    config = network.config
    encoder = _copy(network).double().cpu().encoder
    assert isinstance(encoder, Encoder)  # noqa: S101
    steps: list[tuple[Tensor, Tensor, int]] = []
    channels, side = 1, config.input_size
    layers = [m for m in encoder.convolutions if isinstance(m, nn.Conv3d)]
    with torch.inference_mode():
        for index, layer in enumerate(layers):
            if index == 0:
                cubes = _resize(network, torch.eye(config.patch_size**3, dtype=torch.float64))
            else:
                basis = torch.eye(channels * side**3, dtype=torch.float64)
                cubes = basis.view(-1, side, side, side, channels).movedim(-1, 1)
            zero = layer(torch.zeros_like(cubes[:1]))
            out = torch.cat([layer(cubes) - zero, zero]).movedim(1, -1).flatten(1)
            channels, side = zero.shape[1:3]
            steps.append((out[:-1], out[-1], side))
        # The linear layers read features in the order (channel, z, y, x).
        order = torch.arange(channels * side**3).view(channels, -1).T.flatten()
        for linear in (*encoder.hidden.modules(), encoder.mean):
            if isinstance(linear, nn.Linear):
                steps.append((linear.weight.T[order], linear.bias, 1))
                order = torch.arange(len(linear.bias))
    return steps
