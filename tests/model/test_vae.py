"""Encoder, decoder and the variational part, against closed forms and numerical integration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import geoopt
import numpy as np
import pytest
import torch

from napari_hypseg.geometry import ball
from napari_hypseg.model import PRESETS, VAE, ModelConfig, Posterior, get_preset
from napari_hypseg.model.scale_space import SCALE_OF, WIDTH

# Of patches, as the papers have it, with few filters.
PATCHES = ModelConfig(
    latent_dim=2, encoder="stacked", channels=(4, 4, 8, 8), hidden=0, planes=8, grid=2
)
EUCLIDEAN = replace(PATCHES, geometry="euclidean", gyroplane=False)


def _network(config: ModelConfig | None = None) -> VAE:
    torch.manual_seed(0)
    return VAE(config or PATCHES)


def _patches(count: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, 1, 10, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_of_the_presets(name):
    config = get_preset(name).model
    network = _network(config)
    of_scales = config.encoder == "scales"
    seen = torch.randn(3, WIDTH) if of_scales else _patches(3)
    posterior = network.encoder(seen)
    assert posterior.mean.shape == posterior.sigma.shape == (3, config.latent_dim)
    assert bool((posterior.sigma > 0).all())
    if config.geometry == "hyperbolic":
        assert bool((posterior.mean.norm(dim=-1) < 1).all())
    grid = config.grid
    samples, ratio = network.sample(posterior, grid**3)
    assert samples.shape == (grid**3, 3, config.latent_dim)
    assert ratio.shape == (grid**3, 3)
    cube = samples.movedim(0, 1).reshape(3, grid, grid, grid, config.latent_dim)
    assert network.decoder(cube).shape == seen.shape
    picture = (3, 5, 9) if of_scales else (3, 10, 10)
    assert network.decode(posterior.mean).shape == network.picture(seen).shape == picture
    assert network.distance(posterior.mean, posterior.mean.flip(0)).shape == (3,)


@pytest.mark.parametrize(("dim", "curvature"), [(2, 0.3), (8, 1.0), (5, 4.0)])
def test_other_dimensions_and_curvatures(dim, curvature):
    network = _network(replace(PATCHES, latent_dim=dim, curvature=curvature, hidden=20))
    posterior = network.encoder(_patches(2))
    assert bool((curvature * posterior.mean.square().sum(-1) < 1).all())
    assert network.decode(posterior.mean).shape == (2, 10, 10)


def test_a_picture_of_scales_has_a_row_for_each():
    network = _network(get_preset("default").model)
    rows = network.picture(torch.tensor(SCALE_OF, dtype=torch.float32)[None])[0]
    np.testing.assert_array_equal(rows, np.tile(np.arange(5.0)[:, None], (1, 9)))


def test_a_scale_that_is_left_out_counts_as_the_mean():
    network = _network(get_preset("default").model)
    seen = torch.randn(2, WIDTH)
    seen[:, :20] = 0
    hidden = seen.clone()
    hidden[:, :20] = math.nan
    torch.testing.assert_close(network.encoder(hidden).mean, network.encoder(seen).mean)


def test_the_encoder_computes_what_its_layers_say():
    # The encoder of patches, written with plain convolutions and geoopt's map.
    network = _network()
    x = _patches(4)
    weights = dict(network.encoder.named_parameters())
    for index, padding in zip((0, 2, 4, 6), (2, 1, 1, 0), strict=True):
        weight, bias = (weights[f"convolutions.{index}.{n}"] for n in ("weight", "bias"))
        x = torch.nn.functional.conv3d(x, weight, bias, padding=padding).relu()
    assert x.shape == (4, 8, 2, 2, 2)
    tangent = x.flatten(1) @ weights["mean.weight"].T + weights["mean.bias"]
    expected = geoopt.PoincareBall().expmap0(tangent)
    posterior = network.encoder(_patches(4))
    torch.testing.assert_close(posterior.mean, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("curvature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("clip", [0.5, 5.0])
def test_the_clip_is_the_greatest_distance_to_the_centre(clip, curvature):
    network = _network(replace(PATCHES, tangent_clip=clip, curvature=curvature))
    tangent = torch.tensor([[1e3, 0.0], [-30.0, 40.0], [0.1, 0.0], [0.0, 0.0]])
    points = network.encoder.to_latent(tangent)
    far = ball.distance(points, torch.zeros(2), curvature)
    # float32 keeps its points within 8.66 / sqrt(c) of the centre in any case.
    most = min(clip, 8.664 / math.sqrt(curvature))
    torch.testing.assert_close(far, torch.tensor([most, most, 0.2, 0.0]), rtol=1e-3, atol=1e-6)


def test_without_a_clip_points_still_lie_inside():
    network = _network(replace(PATCHES, tangent_clip=None))
    points = network.encoder.to_latent(torch.tensor([[1e6, 0.0], [-3e3, 4e3]]))
    assert bool((points.norm(dim=-1) < 1).all())
    assert bool(torch.isfinite(points).all())


def test_a_negative_intensity_can_be_reconstructed_unless_asked_otherwise():
    plain, rectified = _network(), _network(replace(PATCHES, relu_output=True))
    for network in (plain, rectified):
        with torch.no_grad():
            network.decoder.layers[-2 if network is rectified else -1].bias.fill_(-1.0)
    latents = torch.tensor([[0.0, 0.0], [0.5, -0.5]])
    assert float(plain.decode(latents).detach().max()) < 0
    assert float(rectified.decode(latents).detach().min()) == 0
    assert not any(p.model.relu_output for p in PRESETS.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latent_dim": 1}, "latent dimension must be at least 2, not 1"),
        ({"geometry": "euclidean"}, "gyroplanes need the hyperbolic latent space"),
        ({"curvature": 0.0}, "curvature constant must be positive"),
        ({"curvature": math.nan}, "curvature constant must be positive"),
        ({"patch_size": 4}, "patch size must be odd"),
        ({"patch_size": -1}, "patch size must be odd"),
    ],
)
def test_settings_that_make_no_model(values, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**values)


def test_a_grid_that_the_encoder_does_not_end_in():
    with pytest.raises(ValueError, match="does not end in a grid of 1"):
        VAE(replace(PATCHES, grid=1))


def test_settings_survive_json():
    for preset in PRESETS.values():
        assert ModelConfig.from_dict(preset.model.to_dict()) == preset.model
    with pytest.raises(ValueError, match="unknown model settings: depth"):
        ModelConfig.from_dict({**ModelConfig().to_dict(), "depth": 4})


def test_no_such_preset():
    with pytest.raises(ValueError, match=r"^no preset 'best'; there are default, cihs"):
        get_preset("best")


def _posterior(mean: list[list[float]], sigma: list[list[float]]) -> Posterior:
    return Posterior(
        torch.tensor(mean, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    )


def test_kl_of_the_euclidean_model_against_its_closed_form():
    network = _network(EUCLIDEAN)
    posterior = _posterior([[0.0, 0.0], [1.5, -0.5], [0.2, 3.0]], [[1, 1], [0.3, 2.0], [0.05, 1.0]])
    samples, ratio = network.sample(posterior, 100_000, torch.Generator().manual_seed(0))
    mean, sigma = posterior
    expected = (0.5 * (mean.square() + sigma.square() - 1) - sigma.log()).sum(-1)
    error = ratio.std(0) / math.sqrt(len(samples))
    assert bool(((ratio.mean(0) - expected).abs() < 4 * error + 1e-12).all())


def _kl_by_integration(mean: np.ndarray, sigma: np.ndarray, c: float) -> float:
    """KL of two wrapped normals, on a polar grid of the whole disk.

    In polar coordinates around the centre the area element is sinh(sqrt(c) r) / sqrt(c); the
    density of a wrapped normal is that of its tangent normal times t / sinh(t), t = sqrt(c) |v|.
    """
    root = math.sqrt(c)
    radius = (np.arange(1500) + 0.5) * (14 / 1500)
    angle = (np.arange(600) + 0.5) * (2 * math.pi / 600)
    r, phi = np.meshgrid(radius, angle, indexing="ij")
    x = np.tanh(root * r / 2) / root * np.array([np.cos(phi), np.sin(phi)])
    points = torch.from_numpy(np.moveaxis(x, 0, -1).copy())

    def log_density(mu: np.ndarray, scale: np.ndarray) -> np.ndarray:
        centre = torch.from_numpy(mu)
        log = geoopt.PoincareBall(c=c).logmap(centre, points).numpy()
        v = log * 2 / (1 - c * mu @ mu)
        t = np.maximum(root * np.linalg.norm(v, axis=-1), 1e-12)
        normal = -0.5 * ((v / scale) ** 2).sum(-1) - np.log(2 * math.pi * scale.prod())
        return normal + np.log(t / np.sinh(t))

    log_q = log_density(mean, sigma)
    log_p = log_density(np.zeros(2), np.ones(2))
    mass = np.exp(log_q) * np.sinh(root * r) / root * (14 / 1500) * (2 * math.pi / 600)
    assert abs(mass.sum() - 1) < 1e-4  # the grid is fine and large enough
    return float((mass * (log_q - log_p)).sum())


@pytest.mark.parametrize("c", [0.5, 1.0])
@pytest.mark.parametrize(
    ("mean", "sigma"),
    [([0.0, 0.0], [0.6, 0.6]), ([0.5, -0.3], [0.8, 0.3]), ([-0.8, 0.1], [0.5, 1])],
)
def test_kl_of_the_hyperbolic_model_against_numerical_integration(mean, sigma, c):
    network = _network(replace(PATCHES, curvature=c))
    posterior = _posterior([mean], [sigma])
    samples, ratio = network.sample(posterior, 50_000, torch.Generator().manual_seed(0))
    expected = _kl_by_integration(np.array(mean), np.array(sigma, dtype=float), c)
    error = float(ratio.std()) / math.sqrt(len(samples))
    assert abs(float(ratio.mean()) - expected) < 4 * error + 1e-3


def test_kl_of_the_prior_itself_is_zero_at_every_sample():
    for config in (PATCHES, EUCLIDEAN):
        network = _network(config)
        posterior = _posterior([[0.0, 0.0]], [[1.0, 1.0]])
        _, ratio = network.sample(posterior, 100)
        assert float(ratio.abs().max()) < 1e-12


@pytest.mark.parametrize("config", [PATCHES, EUCLIDEAN])
def test_samples_repeat_with_their_generator(config):
    network = _network(config)
    posterior = _posterior([[0.1, 0.2], [0.0, -0.4]], [[0.5, 0.5], [0.1, 0.2]])
    first, again, other = (
        network.sample(posterior, 4, torch.Generator().manual_seed(seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_carry_gradients_to_the_encoder():
    network = _network()
    posterior = network.encoder(_patches(2))
    samples, ratio = network.sample(posterior, 3)
    (network.decode(samples[0]).square().sum() + ratio.sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


def test_distance_in_each_geometry():
    x, y = torch.tensor([[0.3, 0.4]]), torch.tensor([[0.0, 0.0]])
    torch.testing.assert_close(_network().distance(x, y), torch.tensor([math.log(3)]))
    torch.testing.assert_close(_network(EUCLIDEAN).distance(x, y), torch.tensor([0.5]))


def test_the_decoders_grid_keeps_samples_in_their_places():
    decoder = _network(get_preset("cihs").model).decoder
    centre = torch.zeros(1, 1, 2, 2, 2, 2)
    first = torch.nn.Sequential(decoder.planes, *decoder.layers[:4])  # up to 6x6x6
    for corner in itertools.product((0, 1), repeat=3):
        moved = centre.clone()
        moved[(0, 0, *corner)] = torch.tensor([0.9, 0.0])
        change = (first(moved) - first(centre)).abs().sum((0, 1)).detach()
        # A sample reaches as far as the kernel of 5 does, from its own corner.
        near = tuple(slice(i, i + 5) for i in corner)
        assert float(change[near].min()) > 0
        change[near] = 0
        assert float(change.max()) == 0


def test_autocast_keeps_the_latent_point_in_float32():
    network = _network()
    with torch.autocast("cpu", torch.bfloat16):
        posterior = network.encoder(_patches(2))
    assert posterior.mean.dtype == posterior.sigma.dtype == torch.float32
    torch.testing.assert_close(
        posterior.mean, network.encoder(_patches(2)).mean, rtol=0.05, atol=0.01
    )


def test_kl_of_a_narrow_posterior_near_the_rim_is_not_made_of_rounding():
    # All patches of an empty background are alike: the posterior narrows, at the clipped radius.
    network = VAE(PATCHES)
    mean = network.encoder.to_latent(torch.tensor([[0.0, -9.0]]))
    sigma = torch.full((1, 2), 1e-5)
    _, ratio = network.sample(Posterior(mean, sigma), 20_000, torch.Generator().manual_seed(0))
    # In so small a part of the disk both densities are flat but for q's own normal: by hand,
    # E log q = -log(2 pi e sigma^2), log p(z) = -d^2 / 2 - log(2 pi) - log(sinh d / d) at d = 5.
    expected = -2 * math.log(1e-5) - 1 + 5**2 / 2 + math.log(math.sinh(5) / 5)
    assert float(ratio.mean()) == pytest.approx(expected, rel=2e-3)
