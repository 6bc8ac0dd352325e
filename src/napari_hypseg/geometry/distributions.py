"""Normal distributions on the Poincare ball: wrapped and Riemannian.

Both give densities with respect to the Riemannian volume, ``conformal_factor(z)^d dz``, so that
a Kullback-Leibler divergence between them is a mean of differences of `log_prob`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

from napari_hypseg.geometry.ball import conformal_factor, distance, expmap, logmap

__all__ = ["RiemannianNormal", "WrappedNormal"]

# Of a hyperbolic sine and the cosine the difference is nothing from here on, and in float32 both
# are far from overflow.
_STRAIGHT = 40.0


class WrappedNormal:
    """A normal distribution in the tangent space at mu, laid onto the ball by the exponential map.

    Parameters
    ----------
    mu : Tensor, shape (..., d)
        Centres, points of the ball.
    sigma : Tensor, shape (..., d)
        Standard deviations along the axes, in units of distance; broadcasts against ``mu``.
    c : float
        Minus the curvature.

    References
    ----------
    Mathieu et al., "Continuous hierarchical representations with Poincare variational
    auto-encoders", NeurIPS 2019, section 3.2 and algorithm 1; Nagano et al., "A wrapped normal
    distribution on hyperbolic space for gradient-based learning", ICML 2019.

    Examples
    --------
    >>> posterior = WrappedNormal(torch.tensor([0.5, 0.0]), torch.tensor([0.1, 0.1]))
    >>> posterior.rsample(8).shape
    torch.Size([8, 2])
    >>> posterior.log_prob(posterior.mu)  # -log(2 pi 0.1^2), as in the plane
    tensor(2.7673)
    """

    def __init__(self, mu: Tensor, sigma: Tensor, c: float = 1.0) -> None:
        shape = np.broadcast_shapes(mu.shape, sigma.shape)
        self.mu, self.sigma = mu.expand(shape), sigma.expand(shape)
        self.c = c

    def rsample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw ``n`` points per centre, differentiable in ``mu`` and ``sigma``.

        Parameters
        ----------
        n : int
            Number of draws.
        generator : torch.Generator, optional
            Source of randomness, on the device of ``mu``.

        Returns
        -------
        Tensor, shape (n, ..., d)
        """
        noise = _noise((n, *self.mu.shape), self.mu, generator)
        return _leave(self.mu, self.sigma * noise, self.c)

    def rsample_with_log_ratio(
        self, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws as of `rsample`, and the log of the density at each over that of the standard one.

        The mean of the ratio to the standard wrapped normal at the centre (sigma 1) estimates
        the Kullback-Leibler divergence between the two. Both densities come from the tangent
        vectors that were drawn, not from the points: near the rim rounding moves a point by more
        than a narrow distribution is wide, and no point is as far out as a wide one's draws. A
        network that is trained on such a ratio finds both, and makes it as small as it likes.

        Parameters
        ----------
        n : int
            How many points for each mean.
        generator : torch.Generator, optional
            Source of randomness, on the device of ``mu``.

        Returns
        -------
        points : Tensor, shape (n, ..., d)
        log_ratio : Tensor, shape (n, ...)
        """
        noise = _noise((n, *self.mu.shape), self.mu, generator)
        velocity = self.sigma * noise
        # The length's gradient is not finite at zero; a sigma of 1e-5 comes near.
        length = (self.c * velocity.square().sum(-1)).clamp_min(1e-30).sqrt()
        reach = _distance_to_centre(self.mu, velocity, length, self.c)
        log_normal = 0.5 * (reach.square() / self.c - noise.square().sum(-1))
        log_volume = _log_sinh_ratio(reach) - _log_sinh_ratio(length)
        log_ratio = log_normal + (self.mu.shape[-1] - 1) * log_volume - self.sigma.log().sum(-1)
        return _leave(self.mu, velocity, self.c), log_ratio

    def log_prob(self, z: Tensor) -> Tensor:
        """Log of the density at ``z`` with respect to the Riemannian volume.

        Parameters
        ----------
        z : Tensor, shape (..., d)
            Points of the ball; broadcasts against ``mu``.

        Returns
        -------
        Tensor, shape (...)
        """
        factor = conformal_factor(self.mu, self.c).unsqueeze(-1)
        flat = factor * logmap(self.mu, z, self.c) / self.sigma
        log_normal = -(0.5 * flat.square() + self.sigma.log() + 0.5 * math.log(2.0 * math.pi))
        far = math.sqrt(self.c) * distance(self.mu, z, self.c)
        log_volume = (self.mu.shape[-1] - 1) * _log_sinh_ratio(far)
        log_density: Tensor = log_normal.sum(-1) - log_volume
        return log_density


class RiemannianNormal:
    """The distribution whose density falls as ``exp(-distance(mu, z)^2 / (2 sigma^2))``.

    Of all distributions with its Frechet mean and its mean squared distance it has the greatest
    entropy.

    Parameters
    ----------
    mu : Tensor, shape (..., d)
        Centres, points of the ball, d >= 2.
    sigma : Tensor, shape (...)
        Widths, in units of distance, one per centre; broadcasts against ``mu`` without its last
        axis.
    c : float
        Minus the curvature.

    Raises
    ------
    ValueError
        If d is 1 or a width is not positive.

    Notes
    -----
    With ``s = sqrt(c) sigma`` and ``n = d - 1``, a point's distance from mu in units of sigma has
    density ``f(u) = exp(-u^2 / 2) sinh(s u)^n`` up to its integral.

    The integral has a closed form, an alternating sum of error functions (Mathieu et al.; Said
    et al. for d = 2). For d > 2 it cancels as s goes to 0: in float64 four digits of it are left at
    d = 8, s = 0.01, and none at d = 16. f is smooth and log-concave, so 64 Gauss-Legendre nodes
    around its mode give all digits for any d and s, and derivatives with them.

    The logarithm of f bends down everywhere at least as fast as that of a normal density of
    variance 1; the normal density that touches f near its mode therefore lies above it, and serves
    as the proposal of an exact rejection sampler. For d <= 28 it accepts 60 % or more of what it
    proposes, without the envelope of exponentials that Mathieu et al. build for each sigma.

    References
    ----------
    Said, Bombrun and Berthoumieu, "New Riemannian priors on the univariate normal model", Entropy
    2014; Mathieu et al., "Continuous hierarchical representations with Poincare variational
    auto-encoders", NeurIPS 2019, section 3.2.

    Examples
    --------
    >>> prior = RiemannianNormal(torch.zeros(2), torch.tensor(1.0))
    >>> prior.sample(1000, torch.Generator().manual_seed(0)).shape
    torch.Size([1000, 2])
    >>> prior.log_prob(torch.zeros(2))
    tensor(-2.1820)
    """

    def __init__(self, mu: Tensor, sigma: Tensor, c: float = 1.0) -> None:
        if mu.shape[-1] < 2:
            raise ValueError("a Riemannian normal needs a ball of at least 2 dimensions, not 1")
        if not bool((sigma > 0).all()):
            raise ValueError("the width sigma of a Riemannian normal must be positive")
        shape = np.broadcast_shapes(mu.shape[:-1], sigma.shape)
        self.mu, self.sigma = mu.expand(*shape, mu.shape[-1]), sigma.expand(shape)
        self.c = c

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw ``n`` points per centre, by rejection, without gradients.

        Parameters
        ----------
        n : int
            Number of draws.
        generator : torch.Generator, optional
            Source of randomness, on the device of ``mu``.

        Returns
        -------
        Tensor, shape (n, ..., d)
        """
        direction = _noise((n, *self.mu.shape), self.mu, generator)
        direction = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        s, power = self._scaled()
        radius = _radii(s.expand(n, *s.shape).flatten(), power, generator).reshape(n, *s.shape)
        velocity = (self.sigma * radius.to(self.mu.dtype)).unsqueeze(-1) * direction
        return _leave(self.mu, velocity, self.c)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log of the density at ``z`` with respect to the Riemannian volume.

        Parameters
        ----------
        z : Tensor, shape (..., d)
            Points of the ball; broadcasts against ``mu``.

        Returns
        -------
        Tensor, shape (...)
        """
        far = distance(self.mu, z, self.c) / self.sigma
        return -0.5 * far.square() - self.log_normalizer()

    def log_normalizer(self) -> Tensor:
        """Log of the integral of ``exp(-distance(mu, z)^2 / (2 sigma^2))`` over the ball.

        Returns
        -------
        Tensor, shape (...)
        """
        s, power = self._scaled()
        with torch.no_grad():
            # Beyond 10 of the mode f is below e^-50 of its greatest value.
            mode = _near_mode(s, power).unsqueeze(-1)
            low, high = (mode - 10.0).clamp_min(0.0), mode + 10.0
        nodes, weights = (
            torch.from_numpy(a).to(s.device) for a in np.polynomial.legendre.leggauss(64)
        )
        u = low + (high - low) * (nodes + 1.0) / 2.0
        terms = _log_radial(u, s.unsqueeze(-1), power) + (weights * (high - low) / 2.0).log()
        d = power + 1
        log_sphere = math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
        scale = self.sigma.double().log() - 0.5 * power * math.log(self.c)
        return (torch.logsumexp(terms, dim=-1) + log_sphere + scale).to(self.sigma.dtype)

    def _scaled(self) -> tuple[Tensor, int]:
        """``s`` (in float64) and ``n`` of the class's notes."""
        return math.sqrt(self.c) * self.sigma.double(), self.mu.shape[-1] - 1


def _noise(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _leave(mu: Tensor, velocity: Tensor, c: float) -> Tensor:
    """Go from mu by a velocity whose norm is the hyperbolic distance to cover."""
    return expmap(mu, velocity / conformal_factor(mu, c).unsqueeze(-1), c)


def _distance_to_centre(mu: Tensor, velocity: Tensor, length: Tensor, c: float) -> Tensor:
    """Distance, times sqrt(c), between the centre and the point that `_leave` goes to.

    By the hyperbolic law of cosines, so that it may be larger than any of a point of the ball in
    floating-point numbers; ``length`` is that of the velocity, times sqrt(c).
    """
    # Beyond, a geodesic gains as much distance to the centre as it is long.
    near = length.clamp_max(_STRAIGHT)
    square = c * mu.square().sum(-1)
    gap = (1 - square).clamp_min(torch.finfo(mu.dtype).eps)
    along = c * (mu * velocity).sum(-1) * torch.sinh(near) / length
    cosh = ((1 + square) * torch.cosh(near) + 2 * along) / gap
    return 2 * torch.asinh((0.5 * (cosh - 1)).clamp_min(1e-30).sqrt()) + (length - near)


def _log_sinh_ratio(x: Tensor) -> Tensor:
    """log(sinh(x) / x) for x >= 0, with all its digits and a finite gradient at 0."""
    small = x < 0.1
    near = torch.where(small, x, 0.0).square()
    series = near * (
        1 / 6 - near * (1 / 180 - near * (1 / 2835 - near * (1 / 37800 - near / 467775)))
    )
    far = torch.where(small, 1.0, x)
    exact = far + torch.log(-torch.expm1(-2.0 * far) / (2.0 * far))
    return torch.where(small, series, exact)


def _log_radial(u: Tensor, s: Tensor, power: int) -> Tensor:
    """Log of ``exp(-u^2 / 2) sinh(s u)^n`` at u > 0."""
    return power * (_log_sinh_ratio(s * u) + (s * u).log()) - 0.5 * u.square()


def _near_mode(s: Tensor, power: int) -> Tensor:
    """A point near the mode of the radial density: exact as s goes to 0 and to infinity."""
    return (power + (power * s).square()).sqrt()


def _radii(s: Tensor, power: int, generator: Generator | None) -> Tensor:
    """Draw one distance, in units of sigma, for each entry of ``s``, shape (m,).

    The log of the density lies below its tangent at m less (u - m)^2 / 2, for any m: up to a
    factor this is the normal density around n s coth(s m).
    """
    m = _near_mode(s, power)
    centre = power * s / torch.tanh(s * m)
    top = _log_radial(m, s, power) + 0.5 * (centre - m).square()
    radii = torch.empty_like(s)
    pending = torch.arange(len(s), device=s.device)
    while len(pending):
        at = centre[pending]
        u = at + _noise((len(pending),), s, generator)
        log_ratio = _log_radial(u.clamp_min(1e-300), s[pending], power) - top[pending]
        log_ratio += 0.5 * (u - at).square()
        chance = torch.rand(len(pending), generator=generator, dtype=s.dtype, device=s.device)
        accepted = (u > 0) & (chance.log() < log_ratio)
        radii[pending[accepted]] = u[accepted]
        pending = pending[~accepted]
    return radii
