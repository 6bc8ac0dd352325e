"""Gyroplane convolution: an affine map from a grid of points in the Poincare ball to features."""

from __future__ import annotations

import importlib
import itertools
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GyroplaneConv3d", "load_geoopt"]


def load_geoopt() -> Any:
    """geoopt: it takes seconds to load, so it is when a network is built, not with the package."""
    with warnings.catch_warnings():
        # geoopt 0.5 decorates its functions with this: PyTorch 2.15 warns every user of it.
        warnings.filterwarnings("ignore", "`torch.jit.script` is")
        return importlib.import_module("geoopt")


class GyroplaneConv3d(nn.Module):
    r"""Gyroplane convolution in three dimensions.

    Each output is the sum over the kernel's positions and the input channels of the signed,
    scaled distance of a ball point to a hyperplane,

    .. math:: f_{a,p}(z) = \operatorname{sgn}(\langle a, \log_p z\rangle_p)\,\|a\|_p\,d(z, H_{a,p})

    with a normal :math:`a` and an offset :math:`p` of its own for every output channel, input
    channel and kernel position, as a Euclidean convolution has a weight of its own for each.
    As the curvature goes to 0 it becomes the Euclidean convolution with weights :math:`4a` and
    bias :math:`-4\sum\langle a, p\rangle`. Padding adds the centre of the ball.

    Parameters
    ----------
    latent_dim : int
        Dimension d of the ball.
    in_channels, out_channels : int
        Ball points a voxel in, features a voxel out.
    kernel_size, stride, padding, dilation : int
        As in `torch.nn.Conv3d`, the same along the three axes.
    curvature : float
        The ball has curvature ``-curvature``.

    Notes
    -----
    Hsu et al. 2021 (NeurIPS), equations 5-7, after Ganea et al. 2018. In the argument of the
    inverse hyperbolic sine the denominators of the Moebius addition cancel, and with the point's
    hyperboloid coordinates :math:`s = 2z/(1-c|z|^2)`, :math:`t = (1+c|z|^2)/(1-c|z|^2)` it is
    the linear form :math:`\langle w, s\rangle + b\,t`: one small matrix product for all planes,
    with no division a plane and no cancellation.
    """

    def __init__(
        self,
        latent_dim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        curvature: float = 1.0,
    ) -> None:
        super().__init__()
        geoopt = load_geoopt()
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.curvature = curvature
        shape = (out_channels, in_channels, kernel_size**3, latent_dim)
        fan_in = in_channels * kernel_size**3 * latent_dim
        # The limit for small curvature has weights 4a: aim at the usual 1/sqrt(fan in) there.
        self.normals = nn.Parameter(torch.randn(shape) / (4 * math.sqrt(fan_in)))
        ball = geoopt.PoincareBall(c=curvature)
        self.offsets: nn.Parameter = geoopt.ManifoldParameter(
            torch.randn(shape) * (0.1 / math.sqrt(curvature * latent_dim)), manifold=ball
        )

    def forward(self, points: Tensor) -> Tensor:
        """Features of a grid of ball points.

        Parameters
        ----------
        points : tensor, shape (batch, in_channels, z, y, x, d)
            Points inside the ball.

        Returns
        -------
        tensor, shape (batch, out_channels, z', y', x')
        """
        c = self.curvature
        normals, offsets = self.normals, self.offsets.as_subclass(Tensor)
        # With u = -p the plane's linear form; see the class's notes.
        length = normals.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(normals.dtype).tiny)
        direction = normals / length
        gap = 1 - c * offsets.square().sum(-1, keepdim=True)
        time = -(direction * offsets).sum(-1, keepdim=True)
        weight = math.sqrt(c) * (direction - (2 * c / gap) * time * offsets)
        bias = 2 * math.sqrt(c) * time / gap
        lifted_weight = torch.cat([weight, bias], dim=-1)
        scale = (2 / math.sqrt(c)) * (length / gap).squeeze(-1)

        if self.padding:
            points = nn.functional.pad(points, (0, 0) + (self.padding,) * 6)
        square = c * points.square().sum(-1, keepdim=True)
        lifted = torch.cat([2 * points, 1 + square], dim=-1) / (1 - square)

        spans = [
            (size - self.dilation * (self.kernel_size - 1) - 1) // self.stride + 1
            for size in points.shape[2:5]
        ]
        out = lifted.new_zeros(())
        for index, corner in enumerate(itertools.product(range(self.kernel_size), repeat=3)):
            window = tuple(
                slice(i * self.dilation, i * self.dilation + (n - 1) * self.stride + 1, self.stride)
                for i, n in zip(corner, spans, strict=True)
            )
            argument = torch.einsum(
                "bizyxd,oid->boizyx",
                lifted[(slice(None), slice(None), *window)],
                lifted_weight[:, :, index],
            )
            out = out + torch.einsum("boizyx,oi->bozyx", torch.asinh(argument), scale[:, :, index])
        return out
