"""The objective against its equations, written out term by term."""

from __future__ import annotations

import pytest
import torch

from napari_hypseg.geometry import ball
from napari_hypseg.model import VAE, ModelConfig, TrainingConfig, get_preset
from napari_hypseg.training.losses import objective, triplet_loss

BATCH = 3
SMALL = {
    "latent_dim": 2, "encoder": "stacked", "grid": 2, "channels": (4, 4, 4, 4), "planes": 6,
}  # fmt: skip
PLAIN = ModelConfig(**SMALL, hidden=0)
CIHS = ModelConfig(**SMALL, hidden=5, tangent_clip=None)
EUCLIDEAN = ModelConfig(**SMALL, hidden=0, geometry="euclidean", gyroplane=False)


def _setting(config: ModelConfig) -> tuple[VAE, torch.Tensor]:
    torch.manual_seed(0)
    network = VAE(config)
    with torch.no_grad():
        network.encoder.mean.weight *= 20  # spreads the points
    return network, torch.randn(3 * BATCH, 1, 10, 10, 10)


def _by_hand(network: VAE, patches: torch.Tensor, config: TrainingConfig, seed: int):
    posterior = network.encoder(patches)
    grid = network.config.grid
    generator = torch.Generator().manual_seed(seed)
    samples, ratio = network.sample(posterior, config.samples, generator)
    kl = ratio.mean()
    errors = []
    for patch in range(len(patches)):
        for cube in samples[:, patch].split(grid**3):
            decoded = network.decoder(cube.view(1, grid, grid, grid, -1))[0]
            errors.append(0.5 * (decoded - patches[patch]).square().sum())
    terms = []
    for i in range(BATCH):
        anchor, positive, negative = (posterior.mean[i + k * BATCH] for k in range(3))
        if network.config.geometry == "hyperbolic":
            near, far = ball.distance(anchor, positive), ball.distance(anchor, negative)
        else:
            near, far = (anchor - positive).norm(), (anchor - negative).norm()
        if config.squared_distance:
            near, far = near**2, far**2
        terms.append(max(near - far + config.margin, torch.zeros(())))
    return torch.stack(errors).mean(), kl, torch.stack(terms).mean()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(
    ("model", "samples"),
    [(PLAIN, 8), (PLAIN, 24), (CIHS, 8), (CIHS, 16), (EUCLIDEAN, 8)],
)
def test_equals_the_terms_written_out(model, samples, squared):
    network, patches = _setting(model)
    config = TrainingConfig(
        samples=samples, squared_distance=squared, kl_weight=0.3, triplet_weight=7.0, margin=0.4
    )
    got = objective(network, patches, config, torch.Generator().manual_seed(5))
    reconstruction, kl, triplet = _by_hand(network, patches, config, 5)
    torch.testing.assert_close(got.reconstruction, reconstruction)
    torch.testing.assert_close(got.kl, kl)
    torch.testing.assert_close(got.triplet, triplet)
    assert float(triplet.detach()) > 0
    torch.testing.assert_close(got.total, reconstruction + 0.3 * kl + 7.0 * triplet)


def test_squaring_matters():
    network, patches = _setting(PLAIN)
    plain, squared = (
        objective(
            network,
            patches,
            TrainingConfig(squared_distance=flag),
            torch.Generator().manual_seed(0),
        ).triplet
        for flag in (False, True)
    )
    assert abs(float(plain.detach() - squared.detach())) > 1e-3


def test_without_triplets():
    network, patches = _setting(PLAIN)
    config = TrainingConfig(triplet_weight=0.0)
    got = objective(network, patches, config, torch.Generator().manual_seed(0))
    assert float(got.triplet) == 0
    torch.testing.assert_close(got.total, got.reconstruction + config.kl_weight * got.kl)


def test_triplet_loss():
    positive = torch.tensor([1.0, 0.5, 2.0, 0.3])
    negative = torch.tensor([2.0, 0.5, 1.0, 0.4])
    expected = torch.tensor([0.0, 0.2, 1.2, 0.1])
    torch.testing.assert_close(triplet_loss(positive, negative, 0.2), expected)


def test_a_perfect_reconstruction_costs_nothing():
    network, _ = _setting(PLAIN)
    for parameter in network.decoder.layers.parameters():
        torch.nn.init.zeros_(parameter)
    patches = torch.zeros(3, 1, 10, 10, 10)
    got = objective(network, patches, TrainingConfig(), torch.Generator().manual_seed(0))
    assert float(got.reconstruction.detach()) == 0


def test_every_preset_fills_its_grid():
    for name in ("default", "cihs"):
        preset = get_preset(name)
        assert preset.training.samples % preset.model.grid**3 == 0
