"""The normals of the ball against numerical integration, mpmath and Kolmogorov-Smirnov."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from napari_hypseg.geometry import (
    RiemannianNormal,
    WrappedNormal,
    conformal_factor,
    distance,
    exp0,
    logmap,
)
from napari_hypseg.geometry.distributions import _log_sinh_ratio, _radii

MU = {2: [[0.0, 0.0], [0.3, -0.5]], 3: [[0.0, 0.0, 0.0], [0.4, -0.2, 0.3]]}
CASES = [
    (d, mu, sigma, c)
    for d in (2, 3)
    for mu in MU[d]
    for sigma, c in ((0.3, 1.0), (0.8, 1.0), (0.5, 0.4), (0.5, 2.0))
]


def _integral(density, d, c, reach=9.0):
    """Integral over the ball with respect to the Riemannian volume, in polar coordinates."""
    nodes, weights = np.polynomial.legendre.leggauss(160)
    r, wr = reach * (nodes + 1) / 2, reach * weights / 2  # distance from the origin x sqrt(c)
    phi = 2 * np.pi * np.arange(96) / 96
    if d == 2:
        directions = np.stack([np.cos(phi), np.sin(phi)], -1)
        wd = np.full(96, 2 * np.pi / 96)
    else:
        z, wz = np.polynomial.legendre.leggauss(48)
        flat = np.sqrt(1 - z**2)[:, None]
        axes = (flat * np.cos(phi), flat * np.sin(phi), z[:, None] + 0 * phi)
        directions = np.stack(axes, -1).reshape(-1, 3)
        wd = np.repeat(wz * 2 * np.pi / 96, 96)
    points = torch.from_numpy(np.tanh(r / 2)[:, None, None] * directions) / math.sqrt(c)
    volume = (wr * np.sinh(r) ** (d - 1))[:, None] * wd / c ** (d / 2)
    return float((density(points).numpy() * volume).sum())


@pytest.mark.parametrize(("d", "mu", "sigma", "c"), CASES)
def test_densities_integrate_to_one(d, mu, sigma, c):
    mu = torch.tensor(mu, dtype=torch.float64) / math.sqrt(c)
    sigmas = sigma * torch.linspace(0.8, 1.2, d, dtype=torch.float64)
    wrapped = WrappedNormal(mu, sigmas, c)
    riemannian = RiemannianNormal(mu, sigmas[0], c)
    assert _integral(lambda z: wrapped.log_prob(z).exp(), d, c) == pytest.approx(1, abs=1e-5)
    assert _integral(lambda z: riemannian.log_prob(z).exp(), d, c) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("d", "mu", "sigma", "c"), CASES)
def test_radii_of_riemannian_samples(d, mu, sigma, c):
    mu = torch.tensor(mu, dtype=torch.float64) / math.sqrt(c)
    normal = RiemannianNormal(mu, torch.tensor(sigma, dtype=torch.float64), c)
    z = normal.sample(4000, torch.Generator().manual_seed(d))
    r = np.linspace(0, 12 * sigma + 6 * d * sigma**2, 20001)
    density = np.exp(-(r**2) / (2 * sigma**2)) * np.sinh(math.sqrt(c) * r) ** (d - 1)
    cdf = scipy.integrate.cumulative_simpson(density, x=r, initial=0)
    radii = distance(mu, z, c).numpy()
    assert scipy.stats.kstest(radii, lambda x: np.interp(x, r, cdf / cdf[-1])).pvalue > 1e-3
    # Directions at mu are uniform on the sphere: every coordinate has its known distribution.
    toward = logmap(mu, z, c)
    toward = (toward / toward.norm(dim=-1, keepdim=True)).numpy()
    for axis in toward.T:
        uniform = scipy.stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
        assert scipy.stats.kstest(axis, uniform.cdf).pvalue > 1e-3


@pytest.mark.parametrize("s", [0.01, 0.1, 1.0, 6.0])
@pytest.mark.parametrize("d", [2, 5, 64])
def test_radii_over_the_whole_range_of_widths(d, s):
    """The sampler alone, in units of sigma; at d = 64, s = 0.1 its proposal fits worst."""
    scale = torch.full((4000,), s, dtype=torch.float64)
    radii = _radii(scale, d - 1, torch.Generator().manual_seed(0)).numpy()
    u = np.linspace(1e-9, (d - 1) * s + 20, 40001)
    x = s * u
    log_density = -(u**2) / 2 + (d - 1) * (x + np.log(-np.expm1(-2 * x)))
    cdf = scipy.integrate.cumulative_simpson(np.exp(log_density - log_density.max()), x=u)
    cdf = np.append(0.0, cdf)
    assert scipy.stats.kstest(radii, lambda v: np.interp(v, u, cdf / cdf[-1])).pvalue > 1e-3


@pytest.mark.parametrize(("d", "mu", "sigma", "c"), CASES)
def test_wrapped_samples_are_normal_in_the_tangent_space(d, mu, sigma, c):
    mu = torch.tensor(mu, dtype=torch.float64) / math.sqrt(c)
    sigmas = sigma * torch.linspace(0.5, 1.5, d, dtype=torch.float64)
    z = WrappedNormal(mu, sigmas, c).rsample(4000, torch.Generator().manual_seed(d))
    v = conformal_factor(mu, c) * logmap(mu, z, c) / sigmas
    for axis in v.numpy().T:
        assert scipy.stats.kstest(axis, "norm").pvalue > 1e-3
    radii = (v.square().sum(-1)).numpy()
    assert scipy.stats.kstest(radii, scipy.stats.chi2(d).cdf).pvalue > 1e-3


@pytest.mark.parametrize("s", [1e-3, 0.05, 0.7, 3.0, 15.0])
@pytest.mark.parametrize(("d", "c"), [(2, 1.0), (3, 0.3), (8, 1.0), (17, 2.5)])
def test_normalizer_is_the_closed_form(d, c, s):
    """The error-function sum of Mathieu et al., in 300 digits because it cancels."""
    sigma = s / math.sqrt(c)
    got = RiemannianNormal(
        torch.zeros(d, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64), c
    ).log_normalizer()
    with mpmath.workdps(300):
        sigma, root, n = mpmath.mpf(sigma), mpmath.sqrt(mpmath.mpf(c)), d - 1
        total = mpmath.mpf(0)
        for k in range(d):
            a = (n - 2 * k) * root * sigma
            term = mpmath.exp(a**2 / 2) * (1 + mpmath.erf(a / mpmath.sqrt(2)))
            total += (-1) ** k * mpmath.binomial(n, k) * term
        radial = sigma * mpmath.sqrt(mpmath.pi / 2) * total / (2 * root) ** n
        sphere = 2 * mpmath.pi ** (mpmath.mpf(d) / 2) / mpmath.gamma(mpmath.mpf(d) / 2)
        exact = float(mpmath.log(sphere * radial))
    assert float(got) == pytest.approx(exact, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("x", [1e-9, 1e-3, 0.05, 0.0999, 0.1, 0.2, 1.0, 30.0, 800.0])
def test_log_sinh_ratio_keeps_its_digits(x):
    with mpmath.workdps(60):
        exact = float(mpmath.log(mpmath.sinh(x) / mpmath.mpf(x)))
    assert float(_log_sinh_ratio(torch.tensor(x, dtype=torch.float64))) == pytest.approx(
        exact, rel=3e-14, abs=0
    )


def test_wide_flat_ball_is_euclidean_space():
    mu, sigma = torch.tensor([0.1, -0.2, 0.3]).double(), torch.tensor([0.5, 0.4, 0.3]).double()
    flat = torch.distributions.Normal(2 * mu, sigma)  # the metric at c -> 0 is 4 times Euclid's
    z = mu + 0.1 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(
        WrappedNormal(mu, sigma, 1e-9).log_prob(z), flat.log_prob(2 * z).sum(-1)
    )
    round_ = torch.distributions.Normal(2 * mu, sigma[0])
    torch.testing.assert_close(
        RiemannianNormal(mu, sigma[0], 1e-9).log_prob(z), round_.log_prob(2 * z).sum(-1)
    )


def test_log_prob_has_the_right_gradients():
    generator = torch.Generator().manual_seed(0)
    mu = exp0(0.5 * torch.randn(4, 3, generator=generator, dtype=torch.float64))
    z = exp0(0.5 * torch.randn(4, 3, generator=generator, dtype=torch.float64))
    z[0] = mu[0] * (1 + 1e-3)
    sigma = 0.2 + torch.rand(4, 3, generator=generator, dtype=torch.float64)
    for leaf in (mu, z, sigma):
        leaf.requires_grad_()
    inputs = (mu, sigma, z)
    assert torch.autograd.gradcheck(lambda m, s, x: WrappedNormal(m, s, 0.8).log_prob(x), inputs)
    assert torch.autograd.gradcheck(
        lambda m, s, x: RiemannianNormal(m, s[:, 0], 0.8).log_prob(x), inputs
    )


def test_rsample_has_the_right_gradients():
    mu = exp0(torch.tensor([[0.3, -0.2], [0.0, 0.0]], dtype=torch.float64)).requires_grad_()
    sigma = torch.tensor([[0.5, 0.2], [1.0, 0.7]], dtype=torch.float64, requires_grad=True)

    def draw(m, s):
        return WrappedNormal(m, s, 1.3).rsample(3, torch.Generator().manual_seed(3))

    assert torch.autograd.gradcheck(draw, (mu, sigma))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("norm", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("width", [1e-5, 1.0, 30.0])
def test_values_and_gradients_stay_finite(dtype, norm, width):
    mu = exp0(20 * norm * torch.tensor([[0.6, 0.8]], dtype=dtype)).requires_grad_()
    sigma = torch.full((1, 2), width, dtype=dtype, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    wrapped = WrappedNormal(mu, sigma)
    riemannian = RiemannianNormal(mu, sigma[:, 0])
    z = wrapped.rsample(50, generator)
    prior = WrappedNormal(torch.zeros(2, dtype=dtype), torch.ones(2, dtype=dtype))
    w = riemannian.sample(50, generator)
    assert z.isfinite().all()
    assert w.isfinite().all()
    total = wrapped.log_prob(z) - prior.log_prob(z) + riemannian.log_prob(w)
    total = total.sum() + wrapped.log_prob(mu).sum() + riemannian.log_prob(mu).sum()
    total.backward()
    assert total.isfinite()
    assert mu.grad.isfinite().all()
    assert sigma.grad.isfinite().all()


def test_draws_have_their_shapes_and_follow_the_seed():
    mu, sigma = torch.zeros(5, 3, 2), torch.ones(2)
    first, again, other = (
        WrappedNormal(mu, sigma).rsample(4, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    )
    assert first.shape == (4, 5, 3, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    prior = RiemannianNormal(mu, torch.ones(3))
    first, again, other = (prior.sample(4, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert first.shape == (4, 5, 3, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert prior.log_prob(first).shape == (4, 5, 3)


def test_bad_widths_and_dimensions_are_refused():
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        RiemannianNormal(torch.zeros(1), torch.tensor(1.0))
    with pytest.raises(ValueError, match="positive"):
        RiemannianNormal(torch.zeros(2), torch.tensor(0.0))


@pytest.mark.parametrize(("d", "mu", "sigma", "c"), CASES)
def test_log_ratio_is_that_of_the_two_densities(d, mu, sigma, c):
    mu = torch.tensor(mu, dtype=torch.float64) / math.sqrt(c)
    sigmas = sigma * torch.linspace(0.8, 1.2, d, dtype=torch.float64)
    wrapped = WrappedNormal(mu, sigmas, c)
    z, ratio = wrapped.rsample_with_log_ratio(200, torch.Generator().manual_seed(d))
    standard = WrappedNormal(torch.zeros(d, dtype=torch.float64), torch.ones(d).double(), c)
    torch.testing.assert_close(ratio, wrapped.log_prob(z) - standard.log_prob(z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [0.0, 1.0, 5.0, 12.0])
@pytest.mark.parametrize("width", [1e-4, 1.0, 30.0, 1e4])
def test_log_ratio_beyond_the_points_that_numbers_can_tell(dtype, far, width):
    mu = exp0(far / 2 * torch.tensor([0.6, 0.8], dtype=dtype)).requires_grad_()
    sigma = torch.full((2,), width, dtype=dtype, requires_grad=True)
    _, ratio = WrappedNormal(mu, sigma).rsample_with_log_ratio(20, torch.Generator().manual_seed(1))
    noise = torch.randn((20, 2), generator=torch.Generator().manual_seed(1), dtype=dtype)
    with mpmath.workdps(60):
        at = [mpmath.mpf(v) for v in mu.detach().tolist()]
        square = at[0] ** 2 + at[1] ** 2
        for drawn, found in zip(noise.double().tolist(), ratio.tolist(), strict=True):
            v = [mpmath.mpf(float(sigma.detach()[0])) * mpmath.mpf(n) for n in drawn]
            r = mpmath.sqrt(v[0] ** 2 + v[1] ** 2)
            along = 2 * (at[0] * v[0] + at[1] * v[1]) * mpmath.sinh(r) / r
            rho = mpmath.acosh(((1 + square) * mpmath.cosh(r) + along) / (1 - square))
            expected = (
                (rho**2 - mpmath.mpf(drawn[0]) ** 2 - mpmath.mpf(drawn[1]) ** 2) / 2
                + mpmath.log(mpmath.sinh(rho) / rho) - mpmath.log(mpmath.sinh(r) / r)
                - 2 * mpmath.log(float(sigma.detach()[0]))
            )  # fmt: skip
            near = 2e-3 if dtype == torch.float32 else 1e-8
            assert found == pytest.approx(float(expected), rel=near, abs=near)
    ratio.sum().backward()
    assert mu.grad.isfinite().all()
    assert sigma.grad.isfinite().all()
