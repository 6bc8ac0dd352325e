"""Convolutions of cubes of a few voxels, computed as matrix products."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv3d_input

__all__ = ["DenseConv3d", "DenseConvTranspose3d", "SteadyConv3d"]

# On cubes this small much of a kernel of 5 reaches beyond the border, and convolution routines
# spend their time on bookkeeping. One matrix per layer, gathered anew from the kernel at every
# step, trains several times faster on a CPU.

# Kernel, stride, padding and output padding of a transposed convolution that doubles the side.
_DOUBLES = (5, 5, 5, 2, 2, 2, 2, 1)


class _Tables(NamedTuple):
    """Where the weights of a layer stand in its matrix.

    Attributes
    ----------
    place : tensor, shape (outputs, inputs)
        Index of the weight at each place; the number of weights where the matrix is zero.
    uses : list of (tensor, tensor), shapes (m,) and (m, n)
        Indices of the weights that stand in n places, and their flat places, for each n.
    side : int
        Side of the cubes that come out.
    """

    place: Tensor
    uses: list[tuple[Tensor, Tensor]]
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
    place = torch.where(meet, weight, count).reshape(width * side**3, channels * span**3).T

    flat = place.flatten()
    order = flat.argsort(stable=True)
    often = flat.bincount(minlength=count + 1)[:count]
    first = often.cumsum(0) - often
    uses = []
    for n in sorted(set(often.tolist()) - {0}):
        alike = (often == n).nonzero().flatten()
        places = order[first[alike, None] + torch.arange(n)]
        uses.append((alike.to(device), places.int().to(device)))
    return _Tables(place.int().contiguous().to(device), uses, span)


class _Expand(torch.autograd.Function):
    """The matrix of a layer from its weights.

    Backward, each weight sums its places in a fixed order: the same on every run, which a scatter
    on a GPU does not promise.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, tables: _Tables) -> Tensor:
        ctx.tables, ctx.shape = tables, weight.shape
        values = torch.cat([weight.flatten(), weight.new_zeros(1)])
        return _pick(values, tables.place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _sum_places(grads[0], ctx.tables, ctx.shape), None


def _sum_places(matrix: Tensor, tables: _Tables, shape: torch.Size) -> Tensor:
    """Sum over the places of each weight in the matrix of a layer."""
    places = matrix.flatten()
    sums = places.new_zeros(shape.numel())
    for weights, uses in tables.uses:
        sums.index_copy_(0, weights, _pick(places, uses).sum(1))
    return sums.view(shape)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index.flatten()).view(index.shape)


def _apply(cubes: Tensor, weight: Tensor, bias: Tensor | None, tables: _Tables) -> Tensor:
    matrix: Tensor = _Expand.apply(weight, tables)  # type: ignore[no-untyped-call]
    spread = None if bias is None else bias.repeat_interleave(tables.side**3)
    # Under autocast this product runs in bfloat16, the gathering in float32.
    out = functional.linear(cubes.flatten(1), matrix, spread)
    return out.view(len(cubes), -1, *(tables.side,) * 3)


def _double(cubes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Transposed convolution to one channel and twice the side, as a plain convolution.

    Along an axis, outputs 2 j + a take from inputs j - 1, j and j + 1 the weights a + 4, a + 2 and
    a: eight small kernels, one for each combination of a = 0 and 1, whose outputs interleave.
    """
    parts = functional.pad(weight, (0, 1) * 3).view(-1, 3, 2, 3, 2, 3, 2).flip(1, 3, 5)
    kernels = parts.permute(2, 4, 6, 0, 1, 3, 5).reshape(8, -1, 3, 3, 3)
    spread = None if bias is None else bias.expand(8)
    out = convolve(cubes, kernels, spread, 1, 1)
    z, y, x = out.shape[2:]
    out = out.view(-1, 2, 2, 2, z, y, x).permute(0, 4, 1, 5, 2, 6, 3)
    return out.reshape(-1, 1, 2 * z, 2 * y, 2 * x)


class _Convolve(torch.autograd.Function):
    """A convolution whose gradient is the same for any number of threads.

    PyTorch's own sums the weights' gradient in as many parts as there are threads: two threads
    then train another network than one. Here it is that of the layer's matrix, whose places are
    summed in a fixed order.
    """

    @staticmethod
    def forward(
        ctx: Any, cubes: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(cubes, weight)
        ctx.steps = stride, padding
        return functional.conv3d(cubes, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cubes, weight = ctx.saved_tensors
        stride, padding = ctx.steps
        # Of bfloat16 under autocast.
        grad = grads[0].to(weight.dtype)
        below = None
        if ctx.needs_input_grad[0]:
            below = conv3d_input(  # type: ignore[no-untyped-call]
                cubes.shape, weight, grad, stride, padding
            )
            below = below.to(cubes.dtype)
        tables = _tables(False, weight.shape, cubes.shape[-1], stride, padding, 0, weight.device)
        matrix = grad.flatten(1).T @ cubes.to(weight.dtype).flatten(1)
        kernels = _sum_places(matrix, tables, weight.shape)
        return below, kernels, grad.flatten(2).sum((0, 2)), None, None


def convolve(
    cubes: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> Tensor:
    """`torch.nn.functional.conv3d` of small cubes; on a CPU the same for any number of threads."""
    if cubes.device.type != "cpu" or bias is None:
        return functional.conv3d(cubes, weight, bias, stride, padding)
    out: Tensor = _Convolve.apply(cubes, weight, bias, stride, padding)  # type: ignore[no-untyped-call]
    return out


class SteadyConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` whose training does not depend on the number of threads."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve cubes of shape (batch, channels, n, n, n)."""
        return convolve(input, self.weight, self.bias, self.stride[0], int(self.padding[0]))


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
        if self.out_channels == 1 and (*self.kernel_size, *self.stride, padding, extra) == _DOUBLES:
            return _double(input, self.weight, self.bias)
        tables = _tables(
            True, self.weight.shape, side, self.stride[0], padding, extra, self.weight.device
        )
        return _apply(input, self.weight, self.bias, tables)
