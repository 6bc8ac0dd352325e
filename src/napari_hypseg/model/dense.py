"""Convolutions of cubes of a few voxels, computed as matrix products."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DenseConv3d", "DenseConvTranspose3d"]

# On cubes this small much of a kernel of 5 reaches beyond the border, and convolution routines
# spend their time on bookkeeping. One matrix per layer, gathered anew from the kernel at every
# step, trains several times faster on a CPU.


class _Tables(NamedTuple):
    """Where the weights of a layer stand in its matrix.

    Attributes
    ----------
    place : tensor, shape (inputs, outputs)
        Index of the weight at each place; the number of weights where the matrix is zero.
    uses : tensor, shape (weights, most)
        Flat places of each weight, filled up with the number of places.
    side : int
        Side of the cubes that come out.
    """

    place: Tensor
    uses: Tensor
    side: int


@lru_cache(maxsize=32)
def _tables(
    transposed: bool,
    shape: torch.Size,
    side: int,
    stride: int,
    padding: int,
    extra: int,
    device: torch.device,
) -> _Tables:
    kernel, count = shape[-1], shape.numel()
    if transposed:
        width, channels = shape[:2]
        span = (side - 1) * stride - 2 * padding + kernel + extra
        taps = torch.arange(span) - (torch.arange(side)[:, None] * stride - padding)
        weight = torch.arange(width * channels).view(width, 1, 1, 1, channels, 1, 1, 1)
    else:
        channels, width = shape[:2]
        span = (side + 2 * padding - kernel) // stride + 1
        taps = torch.arange(side)[:, None] - (torch.arange(span) * stride - padding)
        weight = torch.arange(width * channels).view(channels, width).T
        weight = weight.reshape(width, 1, 1, 1, channels, 1, 1, 1)
    # Along an axis, input and output voxel meet through one place of the kernel, or not at all.
    meet = torch.ones((), dtype=torch.bool)
    for axis in (1, 2, 3):
        tap = taps.view([{axis: side, 4 + axis: span}.get(i, 1) for i in range(8)])
        weight = weight * kernel + tap
        meet = meet & (tap >= 0) & (tap < kernel)
    place = torch.where(meet, weight, count).reshape(width * side**3, channels * span**3)

    flat = place.flatten()
    order = flat.argsort(stable=True)
    often = flat.bincount(minlength=count + 1)[:count]
    index = (often.cumsum(0) - often)[:, None] + torch.arange(int(often.max()))
    used = torch.arange(int(often.max())) < often[:, None]
    uses = torch.where(used, order[index.clamp_max(len(order) - 1)], len(order))
    return _Tables(place.int().to(device), uses.int().to(device), span)


class _Expand(torch.autograd.Function):
    """The matrix of a layer from its weights.

    Backward, each weight sums its places in a fixed order: the same on every run, which a scatter
    on a GPU does not promise.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, tables: _Tables) -> Tensor:
        ctx.tables, ctx.shape = tables, weight.shape
        return _pick(weight, tables.place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _pick(grads[0], ctx.tables.uses).sum(1).view(ctx.shape), None


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Values at flat indices; zero at the index one past the end."""
    padded = torch.cat([values.flatten(), values.new_zeros(1)])
    return padded.index_select(0, index.flatten()).view(index.shape)


def _apply(cubes: Tensor, weight: Tensor, bias: Tensor | None, tables: _Tables) -> Tensor:
    matrix: Tensor = _Expand.apply(weight, tables)  # type: ignore[no-untyped-call]
    spread = None if bias is None else bias.repeat_interleave(tables.side**3)
    # Under autocast this product runs in bfloat16, the gathering in float32.
    out = functional.linear(cubes.flatten(1), matrix.T, spread)
    return out.view(len(cubes), -1, *(tables.side,) * 3)


class DenseConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` on small cubes: the same weights, the same results."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve cubes of shape (batch, channels, n, n, n)."""
        side, padding = input.shape[-1], int(self.padding[0])
        tables = _tables(
            False, self.weight.shape, side, self.stride[0], padding, 0, self.weight.device
        )
        return _apply(input, self.weight, self.bias, tables)


class DenseConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` on small cubes: the same weights, the same results."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002, ARG002
        """Convolve cubes of shape (batch, channels, n, n, n); ``output_size`` is not looked at."""
        side, padding, extra = input.shape[-1], int(self.padding[0]), self.output_padding[0]
        tables = _tables(
            True, self.weight.shape, side, self.stride[0], padding, extra, self.weight.device
        )
        return _apply(input, self.weight, self.bias, tables)
