"""The encoder as a chain of matrices against the network that it was folded from."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from napari_hypseg.latents import folded
from napari_hypseg.latents.folded import compile_encoder, multiply_adds
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


@pytest.mark.parametrize("call", [0, 300, 3000, 10**9])
def test_every_way_to_cut_gives_the_same_points(monkeypatch, call):
    monkeypatch.setitem(folded._CALL, torch.float32, call)
    network = _network(ModelConfig())
    patches = _patches(5)
    with torch.inference_mode():
        got = compile_encoder(network, CPU)(patches)
    torch.testing.assert_close(got, _unfolded(network, patches), rtol=1e-5, atol=1e-5)


def test_leaves_out_what_the_kernels_do_not_reach(monkeypatch):
    network = _network(ModelConfig())
    whole = 125 * 1000 + 1000 * 432 + 432 * 256 + 256 * 64 + 64 * 2
    # What a call costs depends on the processor; here with AVX-512 and without.
    for call in (500, 2000):
        monkeypatch.setitem(folded._CALL, torch.float32, call)
        assert multiply_adds(network) < 0.65 * whole
    monkeypatch.setitem(folded._CALL, torch.float32, 10**9)
    assert multiply_adds(network) == whole
    # With calls for nothing, what is left of the convolutions is what their kernels reach: along
    # an axis, outputs see 3 + 5 + 3 of 5 inputs, and then 3 + 3 of 3.
    monkeypatch.setitem(folded._CALL, torch.float32, 0)
    reached = multiply_adds(network) - (64 * 2 + 64 * 32 * 8 + 6**3 * 16 * 32 + 11**3 * 8 * 16)
    # Resized voxels that the first layer's outputs see lie between 2, 3, 4, 4 and 3 of 5 voxels.
    assert reached == 16**3 * 8


@pytest.mark.parametrize("options", [{}, {"encoder": "stacked", "grid": 2, "hidden": 30}])
def test_bfloat16_is_close(options):
    network = _network(ModelConfig(**options))
    patches = _patches(5, 500)
    with torch.inference_mode():
        exact, rough = (
            compile_encoder(network, CPU, t)(patches) for t in (torch.float32, torch.bfloat16)
        )
    assert rough.dtype == torch.float32
    assert float(exact.std()) > 0.1
    assert 0 < float((rough - exact).abs().max()) < 0.1
    assert float((rough - exact).abs().mean()) < 0.01


def test_bfloat16_does_not_round_the_last_features():
    network = _network(ModelConfig())
    hidden = [m for m in network.encoder.convolutions if isinstance(m, torch.nn.Conv3d)][-1]
    with torch.no_grad():
        # Features that hardly differ beside their size, and weights that take the difference.
        hidden.bias += 10
        network.encoder.mean.weight -= network.encoder.mean.weight.mean(1, keepdim=True)
        network.encoder.mean.weight *= 4
    patches = _patches(5, 500)
    with torch.inference_mode():
        exact, rough = (
            compile_encoder(network, CPU, t)(patches) for t in (torch.float32, torch.bfloat16)
        )
        *chain, (weight, bias, _) = folded._fold(network)
        features = patches
        for w, b, _ in chain:
            features = torch.relu(features @ w.float() + b.float())
        rounded = features.bfloat16().float() @ weight.float() + bias.float()
        rounded = network.encoder.to_latent(rounded)
    assert float((rough - exact).abs().mean()) < 0.3 * float((rounded - exact).abs().mean())


def test_calls_do_not_share_their_results():
    encode = compile_encoder(_network(ModelConfig()), CPU)
    with torch.inference_mode():
        first = encode(_patches(5))
        kept = first.clone()
        encode(-_patches(5))
        few = encode(_patches(5)[:7])
    assert torch.equal(first, kept)
    torch.testing.assert_close(few, first[:7])


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
