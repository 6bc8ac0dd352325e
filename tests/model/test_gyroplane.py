"""Gyroplane convolution against equations 5-7 of Hsu et al. 2021, taken at their word."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_hypseg.geometry import ball
from napari_hypseg.model import GyroplaneConv3d


def _response(a: np.ndarray, p: np.ndarray, z: np.ndarray, c: float) -> float:
    """f_{a,p}(z) of equation 5, with d(z, H) of equation 6, for one point and one plane."""

    def add(x, y):
        top = (1 + 2 * c * x @ y + c * y @ y) * x + (1 - c * x @ x) * y
        return top / (1 + 2 * c * x @ y + c * c * (x @ x) * (y @ y))

    moved = add(-p, z)
    factor = 2 / (1 - c * p @ p)
    size = np.linalg.norm(moved)
    log = moved * 2 / (math.sqrt(c) * factor) * np.arctanh(math.sqrt(c) * size) / max(size, 1e-300)
    sign = np.sign(factor**2 * a @ log)
    sinh = 2 * math.sqrt(c) * abs(moved @ a) / ((1 - c * moved @ moved) * np.linalg.norm(a))
    return sign * factor * np.linalg.norm(a) * np.arcsinh(sinh) / math.sqrt(c)


def _convolve(layer: GyroplaneConv3d, points: Tensor) -> np.ndarray:
    """Equation 7: the sum over the kernel's window and the input channels, voxel by voxel."""
    a, p = layer.normals.detach().numpy(), layer.offsets.detach().numpy()
    k, stride, padding, dilation = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    n, channels, *size, d = points.shape
    centre = np.zeros(d)
    span = [(s + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for s in size]
    out = np.zeros((n, a.shape[0], *span))
    for index in np.ndindex(*out.shape):
        batch, plane, *voxel = index
        for place, corner in enumerate(itertools.product(range(k), repeat=3)):
            at = [v * stride + o * dilation - padding for v, o in zip(voxel, corner, strict=True)]
            inside = all(0 <= i < s for i, s in zip(at, size, strict=True))
            for channel in range(channels):
                z = points[(batch, channel, *at)].numpy() if inside else centre
                response = _response(
                    a[plane, channel, place], p[plane, channel, place], z, layer.curvature
                )
                out[index] += response
    return out


def _layer(*sizes: int, **options) -> GyroplaneConv3d:
    """A layer in float64 with offsets all over the ball."""
    torch.manual_seed(0)
    layer = GyroplaneConv3d(*sizes, **options).double()
    with torch.no_grad():
        layer.offsets.copy_(_points(layer.offsets.shape, layer.curvature))
    return layer


def _points(shape, c: float, reach: float = 5.0) -> Tensor:
    """Points at distances of up to ``reach / sqrt(c)`` from the centre."""
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(shape, generator=generator, dtype=torch.float64)
    far = torch.rand((*shape[:-1], 1), generator=generator, dtype=torch.float64) * reach / 2
    return ball.exp0(v / v.norm(dim=-1, keepdim=True) * far / math.sqrt(c), c)


@pytest.mark.parametrize(
    ("sizes", "options", "grid"),
    [
        ((2, 1, 3, 1), {}, (1, 1, 1)),
        ((2, 1, 2, 1), {"curvature": 0.3}, (2, 1, 3)),
        ((5, 2, 2, 1), {"stride": 2, "curvature": 4.0}, (3, 4, 2)),
        ((2, 1, 2, 2), {"padding": 1}, (2, 3, 1)),
        ((3, 2, 1, 3), {"padding": 1, "stride": 2, "curvature": 0.3}, (3, 4, 3)),
        ((2, 1, 1, 2), {"dilation": 2, "padding": 1, "stride": 3}, (4, 3, 5)),
        ((2, 1, 1, 3), {"dilation": 2, "padding": 2, "curvature": 4.0}, (2, 3, 2)),
    ],
)
def test_equals_the_equations(sizes, options, grid):
    layer = _layer(*sizes, **options)
    points = _points((2, sizes[1], *grid, sizes[0]), layer.curvature)
    got = layer(points).detach().numpy()
    expected = _convolve(layer, points)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_is_the_signed_distance_to_the_plane_times_the_length_of_the_normal():
    # A plane through the centre with normal e_x; the point exp0(t e_x) lies 2 t away from it.
    layer = _layer(2, 1, 1)
    with torch.no_grad():
        layer.normals.copy_(torch.tensor([3.0, 0.0]))
        layer.offsets.zero_()
    t = torch.tensor([-2.0, -0.1, 0.0, 1.5], dtype=torch.float64)
    points = ball.exp0(torch.stack([t, torch.zeros_like(t)], 1)).view(1, 1, 4, 1, 1, 2)
    torch.testing.assert_close(layer(points).flatten(), 2 * 3 * 2 * t)


def test_is_zero_on_the_plane():
    layer = _layer(3, 1, 4)
    tangent = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    normals, offsets = layer.normals[:, 0, 0].detach(), layer.offsets[:, 0, 0].detach()
    share = (tangent * normals).sum(1, keepdim=True) / normals.square().sum(1, keepdim=True)
    on_plane = ball.expmap(offsets.as_subclass(Tensor), (tangent - share * normals) * 0.01)
    out = layer(on_plane.view(4, 1, 1, 1, 1, 3)).detach().view(4, 4)
    assert float(out.diagonal().abs().max()) < 1e-10
    assert float(out.abs().max()) > 0.1


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_becomes_the_euclidean_convolution_as_the_curvature_vanishes(stride, padding, dilation):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    layer = _layer(2, 3, 4, 3, **options)
    generator = torch.Generator().manual_seed(0)
    layer.curvature = 1e-10
    with torch.no_grad():
        noise = torch.randn(layer.offsets.shape, generator=generator, dtype=torch.float64)
        layer.offsets.copy_(noise)
    points = torch.randn(2, 3, 5, 4, 5, 2, generator=generator, dtype=torch.float64)
    a, p = layer.normals.detach(), layer.offsets.detach().as_subclass(Tensor)
    # (out, in, k^3, d) to (out, in * d, k, k, k)
    weight = 4 * a.permute(0, 1, 3, 2).reshape(4, 6, 3, 3, 3)
    bias = -4 * (a * p).sum((1, 2, 3))
    expected = functional.conv3d(
        points.movedim(-1, 2).reshape(2, 6, 5, 4, 5), weight, bias, **options
    )
    torch.testing.assert_close(layer(points), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("c", [0.5, 1.0])
def test_gradients_against_finite_differences(c):
    layer = _layer(2, 2, 2, 2, stride=1, padding=1, curvature=c)
    points = _points((1, 2, 1, 2, 2, 2), c, reach=3.0).requires_grad_()
    normals = layer.normals.detach().clone().requires_grad_()
    offsets = (0.5 * layer.offsets.detach().as_subclass(Tensor)).clone().requires_grad_()

    def response(points, normals, offsets):
        parameters = {"normals": normals, "offsets": offsets}
        return torch.func.functional_call(layer, parameters, (points,))

    assert torch.autograd.gradcheck(response, (points, normals, offsets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_finite_at_the_rim_and_at_the_centre(dtype, c):
    layer = _layer(2, 1, 8, curvature=c).to(dtype)
    with torch.no_grad():
        layer.normals[0].zero_()
        layer.offsets[1].zero_()
        layer.offsets[2:4] = ball.project(torch.tensor([3.0, 4.0], dtype=dtype), c)
    rim = ball.project(torch.tensor([[9.0, 0.0], [-3.0, -4.0], [6.0, 8.0]], dtype=dtype), c)
    points = torch.cat([rim, torch.zeros(1, 2, dtype=dtype)]).view(1, 1, 4, 1, 1, 2)
    points.requires_grad_()
    out = layer(points)
    out.sum().backward()
    assert bool(torch.isfinite(out).all())
    for gradient in (points.grad, layer.normals.grad, layer.offsets.grad):
        assert bool(torch.isfinite(gradient).all())


def test_float32_keeps_its_digits_far_from_the_centre():
    exact = _layer(2, 1, 16)
    layer = _layer(2, 1, 16).float()
    points = _points((64, 1, 1, 1, 1, 2), 1.0, reach=6.0).float()
    with torch.no_grad():
        exact.normals.copy_(layer.normals)
        exact.offsets.copy_(layer.offsets)
        expected = exact(points.double())
        # Of point and plane alike, float32 knows the distance e^r / 4 roundings well at radius r:
        # at 6 and 5 together no better than a thousandth.
        error = (layer(points) - expected).abs() / expected.abs().clamp_min(1)
    assert float(error.max()) < 2e-3
    assert float(error.median()) < 2e-6


def test_offsets_are_points_of_the_ball():
    from geoopt import ManifoldParameter

    layer = GyroplaneConv3d(2, 1, 500, 3, curvature=2.0)
    assert isinstance(layer.offsets, ManifoldParameter)
    assert float(2.0 * layer.offsets.detach().square().sum(-1).max()) < 1
    assert layer.normals.shape == (500, 1, 27, 2)


def test_geoopt_is_loaded_without_a_word():
    code = "from napari_hypseg.model.gyroplane import load_geoopt as load; load().PoincareBall()"
    # What PyTorch says of geoopt would end it.
    done = subprocess.run(
        [sys.executable, "-W", "error:`torch.jit", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
