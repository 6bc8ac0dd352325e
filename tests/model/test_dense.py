"""Dense convolutions against PyTorch's own, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hypseg.model import dense
from napari_hypseg.model.dense import DenseConv3d, DenseConvTranspose3d

# (in, out, kernel, stride, padding), side: the encoder's sizes and a few odd ones.
CONVOLUTIONS = [
    ((1, 16, 5, 2, 2), 10),
    ((16, 32, 5, 2, 2), 5),
    ((32, 64, 5, 2, 2), 3),
    ((64, 128, 5, 2, 2), 2),
    ((3, 2, 5, 1, 1), 8),
    ((2, 3, 3, 2, 0), 6),
    ((2, 3, 2, 3, 1), 4),
    ((2, 2, 1, 1, 0), 3),
]
# (in, out, kernel, stride, padding, output padding), side: the decoder's and a few odd ones.
TRANSPOSED = [
    ((128, 64, 5, 2, 2, 1), 1),
    ((64, 32, 5, 2, 2, 0), 2),
    ((32, 16, 5, 2, 2, 0), 3),
    ((16, 1, 5, 2, 2, 1), 5),
    ((2, 3, 5, 1, 0, 0), 2),
    ((3, 2, 3, 3, 1, 2), 4),
    ((2, 2, 1, 1, 0, 0), 3),
]
DTYPES = [(torch.float64, 1e-12), (torch.float32, 2e-5)]


def _compare(plain: nn.Module, fast: nn.Module, cubes: torch.Tensor, tolerance: float) -> None:
    """Values and gradients with respect to input, weights and bias agree."""
    fast.load_state_dict(plain.state_dict())
    results = []
    for layer in (plain, fast):
        x = cubes.clone().requires_grad_()
        out = layer(x)
        # Unlike a plain sum, this gives every output a gradient of its own.
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
        results.append([out.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for expected, got in zip(*results, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("sizes", "side"), CONVOLUTIONS)
def test_convolution(sizes, side, dtype, tolerance):
    torch.manual_seed(0)
    plain, fast = nn.Conv3d(*sizes, dtype=dtype), DenseConv3d(*sizes, dtype=dtype)
    _compare(plain, fast, torch.randn(3, sizes[0], *(side,) * 3, dtype=dtype), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("sizes", "side"), TRANSPOSED)
def test_transposed_convolution(sizes, side, dtype, tolerance):
    torch.manual_seed(0)
    plain = nn.ConvTranspose3d(*sizes, dtype=dtype)
    fast = DenseConvTranspose3d(*sizes, dtype=dtype)
    _compare(plain, fast, torch.randn(3, sizes[0], *(side,) * 3, dtype=dtype), tolerance)


@pytest.mark.parametrize("transposed", [False, True])
def test_without_bias(transposed):
    torch.manual_seed(0)
    plain, fast = (
        (nn.ConvTranspose3d, DenseConvTranspose3d) if transposed else (nn.Conv3d, DenseConv3d)
    )
    sizes = (2, 3, 5, 2, 2)
    options = {"bias": False, "dtype": torch.float64}
    cubes = torch.randn(2, 2, 5, 5, 5, dtype=torch.float64)
    _compare(plain(*sizes, **options), fast(*sizes, **options), cubes, 1e-12)


@pytest.mark.parametrize("layer", [DenseConv3d, DenseConvTranspose3d])
def test_gradients_against_finite_differences(layer):
    torch.manual_seed(0)
    convolution = layer(1, 2, 3, 2, 1, dtype=torch.float64)
    cubes = torch.randn(1, 1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolution, (cubes,))
    weight = convolution.weight.detach().clone().requires_grad_()
    bias = convolution.bias.detach().clone().requires_grad_()

    def of_weights(weight, bias):
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(convolution, parameters, (cubes.detach(),))

    assert torch.autograd.gradcheck(of_weights, (weight, bias))


def test_trains_after_a_first_use_in_inference_mode():
    dense._tables.cache_clear()
    layer = DenseConv3d(2, 2, 5, 2, 2)
    cubes = torch.randn(2, 2, 3, 3, 3)
    with torch.inference_mode():
        layer(cubes)
    layer(cubes).sum().backward()
    assert bool(layer.weight.grad.abs().sum() > 0)


def test_gradients_repeat_bit_by_bit():
    torch.manual_seed(0)
    layer = DenseConv3d(16, 32, 5, 2, 2)
    cubes = torch.randn(8, 16, 5, 5, 5)
    grads = []
    for _ in range(2):
        layer.zero_grad()
        layer(cubes).square().sum().backward()
        grads.append(layer.weight.grad.clone())
    assert torch.equal(*grads)
