"""The encoder as a chain of matrices against the network that it was folded from."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from napari_hypseg.latents.folded import compile_encoder
from napari_hypseg.model import VAE, ModelConfig, Preset, TrainingConfig
from napari_hypseg.training import train
from napari_hypseg.volumes.volume import Volume

CPU = torch.device("cpu")


def _network(config: ModelConfig) -> VAE:
    torch.manual_seed(0)
    network = VAE(config).eval()
    with torch.no_grad():
        for name, weight in network.encoder.named_parameters():
            if name.endswith("weight"):
                weight *= 4.0  # spreads the points from the centre to near the rim
    return network


def _unfolded(network: VAE, patches: torch.Tensor) -> torch.Tensor:
    side, cubes = network.config.patch_size, patches.view(len(patches), 1, -1)
    cubes = cubes.view(-1, 1, side, side, side)
    with torch.inference_mode():
        return network.encoder(interpolate(cubes, (10, 10, 10), mode="trilinear")).mean


def _patches(side: int, count: int = 200) -> torch.Tensor:
    return 2 * torch.randn(count, side**3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("patch_size", [1, 3, 5, 9])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden": 20, "latent_dim": 5, "tangent_clip": None},
        {"curvature": 0.5, "channels": (3, 4, 5, 6)},
        {"geometry": "euclidean", "gyroplane": False},
    ],
)
def test_random_weights(patch_size, options):
    network = _network(ModelConfig(patch_size=patch_size, **options))
    patches = _patches(patch_size)
    with torch.inference_mode():
        got = compile_encoder(network, CPU)(patches)
    expected = _unfolded(network, patches)
    assert got.shape == (200, network.config.latent_dim)
    assert got.dtype == torch.float32
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_trained_weights(small_volume: Volume):
    preset = Preset(training=TrainingConfig(batch_size=8, learning_rate=1e-2))
    network = train(small_volume, preset=preset, steps=20, device="cpu").network
    patches = _patches(network.config.patch_size)
    with torch.inference_mode():
        got = compile_encoder(network, CPU)(patches)
    torch.testing.assert_close(got, _unfolded(network, patches), rtol=1e-5, atol=1e-5)


def test_a_stacked_encoder_stays_as_it_is():
    network = _network(ModelConfig(patch_size=5, encoder="stacked", grid=2, channels=(4, 4, 4, 4)))
    patches = _patches(5, 20)
    with torch.inference_mode():
        got = compile_encoder(network, CPU)(patches)
    torch.testing.assert_close(got, _unfolded(network, patches))


@pytest.mark.parametrize("encoder", ["strided", "stacked"])
def test_leaves_the_network_and_the_patches_alone(encoder):
    grid = 2 if encoder == "stacked" else 1
    network = _network(ModelConfig(patch_size=5, encoder=encoder, grid=grid, channels=(4, 4, 4, 4)))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    patches = _patches(5, 20)
    given = patches.clone()
    with torch.inference_mode():
        first = compile_encoder(network, CPU)(patches)
        # A later change of the network is not one of the compiled encoder.
    assert torch.equal(patches, given)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(v.dtype == torch.float32 for v in network.state_dict().values())
    encode = compile_encoder(network, CPU)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    with torch.inference_mode():
        assert torch.equal(encode(patches), first)


def test_gradients_still_flow_after_folding():
    # Tables of the dense convolutions that folding made must serve training too.
    network = _network(ModelConfig())
    compile_encoder(network, CPU)
    network.train()
    network.encoder(torch.randn(2, 1, 10, 10, 10)).mean.sum().backward()
    assert all(
        p.grad is not None for n, p in network.encoder.named_parameters() if "sigma" not in n
    )
