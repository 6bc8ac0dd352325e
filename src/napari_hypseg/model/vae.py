"""The variational autoencoder of 3D patches with a hyperbolic (or Euclidean) latent space."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from napari_hypseg.geometry import ball
from napari_hypseg.geometry.distributions import WrappedNormal
from napari_hypseg.model.config import ModelConfig
from napari_hypseg.model.gyroplane import GyroplaneConv3d
from napari_hypseg.model.scale_space import SCALE_OF, SIGMAS, WIDTH

__all__ = ["VAE", "Decoder", "Encoder", "Posterior"]

# Kernel and paddings of the convolutions of patches, as in the papers; their stride is 1.
_KERNEL, _PADDINGS = 5, (2, 1, 1, 0)
# Keeps the posterior's scale away from 0, as CIHS's code does.
_MIN_SIGMA = 1e-5


class Posterior(NamedTuple):
    """Parameters of q(z|x).

    Attributes
    ----------
    mean : tensor, shape (batch, d)
        The latent point: in the ball, or in R^d.
    sigma : tensor, shape (batch, d)
        Standard deviation along each axis of the tangent space at the mean.
    """

    mean: Tensor
    sigma: Tensor


class _PointEncoder(nn.Module):
    """A linear map from features to the latent point's tangent vector and scale."""

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.config = config
        self.mean = nn.Linear(features, config.latent_dim)
        self.sigma = nn.Linear(features, config.latent_dim)

    def to_posterior(self, features: Tensor) -> Posterior:
        """Posterior of features, shape (batch, n)."""
        features = features.float()
        # Under autocast too, the latent point is float32: the ball's rim is no place for rounding.
        with torch.autocast(features.device.type, enabled=False):
            sigma = softplus(self.sigma(features)) + _MIN_SIGMA
            return Posterior(self.to_latent(self.mean(features)), sigma)

    def to_latent(self, tangent: Tensor) -> Tensor:
        """Latent points of tangent vectors at the origin, shape (..., d)."""
        config = self.config
        if config.geometry == "euclidean":
            return tangent
        if config.tangent_clip is not None:
            # exp0 sends a vector v to a point at distance 2|v|.
            tangent = ball.clip_tangent(tangent, config.tangent_clip / 2)
        return ball.exp0(tangent, c=config.curvature)


class ScaleEncoder(_PointEncoder):
    """Two fully connected layers on a voxel's features, see `scale_space`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.hidden)
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, config.hidden), nn.ReLU(),
            nn.Linear(config.hidden, config.hidden), nn.ReLU(),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Posterior:
        """Posterior of each voxel.

        Parameters
        ----------
        features : tensor, shape (batch, WIDTH)
            Standardised over a volume; NaN where a scale is left out, as for a voxel's parent.
        """
        return self.to_posterior(self.layers(features.nan_to_num(0)))


class Encoder(_PointEncoder):
    """Four 3D convolutions and a linear map to the latent point's tangent vector and scale."""

    def __init__(self, config: ModelConfig) -> None:
        size, width = config.input_size, 1
        layers: list[nn.Module] = []
        for channels, padding in zip(config.channels, _PADDINGS, strict=True):
            layers += [nn.Conv3d(width, channels, _KERNEL, padding=padding), nn.ReLU()]
            width = channels
            size += 2 * padding - _KERNEL + 1
        features = width * size**3
        hidden: nn.Module = nn.Identity()
        if config.hidden:
            hidden = nn.Sequential(nn.Linear(features, config.hidden), nn.ReLU())
            features = config.hidden
        super().__init__(config, features)
        self.convolutions = nn.Sequential(*layers)
        self.hidden = hidden

    def forward(self, patches: Tensor) -> Posterior:
        """Posterior of each patch.

        Parameters
        ----------
        patches : tensor, shape (batch, 1, m, m, m)
            Normalised patches, resized to the input size m.
        """
        return self.to_posterior(self.hidden(self.convolutions(patches).flatten(1)))


def _planes(config: ModelConfig) -> nn.Module:
    """The first layer of a decoder: gyroplanes, or filters of the points' tangent vectors."""
    if config.gyroplane:
        return GyroplaneConv3d(config.latent_dim, 1, config.planes, curvature=config.curvature)
    return nn.Conv3d(config.latent_dim, config.planes, 1)


def _plane_features(config: ModelConfig, planes: nn.Module, latents: Tensor) -> Tensor:
    """What that layer gives for latent points (batch, g, g, g, d): (batch, planes, g, g, g)."""
    with torch.autocast(latents.device.type, enabled=False):
        if config.gyroplane:
            signed: Tensor = planes(latents[:, None])
            return signed
        if config.geometry == "hyperbolic":
            latents = ball.log0(latents, c=config.curvature)
        filtered: Tensor = planes(latents.movedim(-1, 1))
        return filtered


class ScaleDecoder(nn.Module):
    """Gyroplane (or Euclidean) layer, and a fully connected one to a voxel's features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.planes = _planes(config)
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Linear(config.planes, config.hidden),
            nn.ReLU(), nn.Linear(config.hidden, WIDTH),
        )  # fmt: skip

    def forward(self, latents: Tensor) -> Tensor:
        """Features of latent points, shape (batch, 1, 1, 1, d): (batch, WIDTH)."""
        out: Tensor = self.layers(_plane_features(self.config, self.planes, latents).flatten(1))
        return out


class Decoder(nn.Module):
    """Gyroplane (or Euclidean) layer, then transposed convolutions that mirror the encoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.planes = _planes(config)
        widths = [*config.channels[::-1][1:], 1]
        size, width = config.grid, config.channels[-1]
        layers: list[nn.Module] = [nn.ReLU(), nn.Conv3d(config.planes, width, 1), nn.ReLU()]
        for channels, padding in zip(widths, _PADDINGS[::-1], strict=True):
            layers += [nn.ConvTranspose3d(width, channels, _KERNEL, padding=padding), nn.ReLU()]
            width = channels
            size += _KERNEL - 1 - 2 * padding
        if size != config.input_size:
            raise ValueError(
                f"the encoder of patches of {config.input_size} does not end in a grid of "
                f"{config.grid}"
            )
        self.layers = nn.Sequential(*(layers if config.relu_output else layers[:-1]))

    def forward(self, latents: Tensor) -> Tensor:
        """Reconstructions of latent points.

        Parameters
        ----------
        latents : tensor, shape (batch, g, g, g, d)
            A cube of points for each patch; g is the configuration's grid.

        Returns
        -------
        tensor, shape (batch, 1, m, m, m)
        """
        out: Tensor = self.layers(_plane_features(self.config, self.planes, latents))
        return out


class VAE(nn.Module):
    """Hyperbolic variational autoencoder of 3D patches (Hsu et al. 2021, section 3.2).

    Parameters
    ----------
    config : ModelConfig
        Its architecture.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        scales = config.encoder == "scales"
        self.encoder: Encoder | ScaleEncoder = (ScaleEncoder if scales else Encoder)(config)
        self.decoder: Decoder | ScaleDecoder = (ScaleDecoder if scales else Decoder)(config)

    def sample(
        self, posterior: Posterior, count: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reparametrised samples z of q(z|x), and ``log q(z|x) - log p(z)`` at each.

        The prior p is a standard (wrapped) normal at the centre; the mean of the second estimates
        the Kullback-Leibler term of the ELBO.

        Returns
        -------
        samples : tensor, shape (count, batch, d)
        log_ratio : tensor, shape (count, batch)
        """
        mean, sigma = posterior
        if self.config.geometry == "hyperbolic":
            normal = WrappedNormal(mean, sigma, c=self.config.curvature)
            return normal.rsample_with_log_ratio(count, generator)
        noise = torch.randn(
            (count, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype
        )
        samples = mean + sigma * noise
        return samples, (0.5 * (samples.square() - noise.square()) - sigma.log()).sum(-1)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of latent points of shape (..., d), in the latent space's own geometry."""
        if self.config.geometry == "hyperbolic":
            return ball.distance(x, y, c=self.config.curvature)
        euclidean: Tensor = torch.linalg.vector_norm(x - y, dim=-1)
        return euclidean

    def decode(self, latents: Tensor) -> Tensor:
        """What the decoder makes of latent points.

        Parameters
        ----------
        latents : tensor, shape (batch, d)

        Returns
        -------
        tensor, shape (batch, m, m)
            Middle planes of patches in normalised intensity; of scales see `picture`.
        """
        grid = self.config.grid
        cube = latents[:, None, None, None].expand(-1, grid, grid, grid, -1)
        return self.picture(self.decoder(cube))

    def picture(self, seen: Tensor) -> Tensor:
        """What the encoder sees, for the eye: (batch, m, m), or (batch, scales, measures).

        Parameters
        ----------
        seen : tensor, shape (batch, 1, m, m, m) or (batch, WIDTH)
            Patches, of which the middle plane is shown; or features, of which each scale is a row.
        """
        if self.config.encoder != "scales":
            return seen[:, 0, self.config.input_size // 2]
        measures = seen[:, SCALE_OF.index(0) :]
        rows, columns = len(SIGMAS), SCALE_OF.count(len(SIGMAS) - 1)
        return measures[:, : rows * columns].reshape(-1, rows, columns)
