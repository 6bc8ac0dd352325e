"""The Poincare ball on tensors: maps between ball and tangent space, distance, geodesics.

The ball of curvature -c is ``{x : c |x|^2 < 1}``; the last axis of a tensor holds a point's
coordinates, the axes before it broadcast. What returns points keeps them inside the ball
(`project`), so that every value and every first derivative is finite in the tensor's own dtype.

The formulas are our own closed forms, not geoopt's, which were measured to be inaccurate near
the rim: geoopt 0.5 clamps artanh at 1 - 1e-7 whatever the dtype (distances stop at 16.8), takes
1 + 2 c <x, y> + c^2 |x|^2 |y|^2 as it stands, which cancels where y is near -x, and keeps float32
points within 6.2 of the origin. Here every denominator is a sum of positive terms, by

    1 + 2 c <x, y> + c^2 |x|^2 |y|^2 = c |x + y|^2 + (1 - c |x|^2) (1 - c |y|^2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "clip_tangent",
    "conformal_factor",
    "distance",
    "exp0",
    "expmap",
    "geodesic",
    "log0",
    "logmap",
    "mobius_add",
    "project",
]

# Below this a norm counts as zero: f(norm) / norm is then f'(0) to the last digit in any dtype.
_ZERO = 1e-15


def clip_tangent(v: Tensor, max_norm: float) -> Tensor:
    """Shorten the vectors that are longer than ``max_norm``.

    Clipping what goes into `exp0` keeps an encoder's gradients from vanishing at the rim.

    Parameters
    ----------
    v : Tensor, shape (..., d)
        Tangent vectors.
    max_norm : float
        The greatest Euclidean norm to leave.

    Returns
    -------
    Tensor, shape (..., d)

    References
    ----------
    Guo et al., "Clipped hyperbolic classifiers are super-hyperbolic classifiers", CVPR 2022.

    Examples
    --------
    >>> clip_tangent(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    return v * (max_norm / _norm(v)).clamp_max(1.0)


def project(x: Tensor, c: float = 1.0) -> Tensor:
    """Pull points that lie too near the rim, or outside, back into the ball along their radius.

    The margin is the square root of the dtype's epsilon: there the distance from the origin is
    still known to half of the dtype's digits. Points stay within ``18.7 / sqrt(c)`` of the origin
    in float64 (37.4 of each other) and ``8.7 / sqrt(c)`` in float32 (17.3).

    Parameters
    ----------
    x : Tensor, shape (..., d)
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)
    """
    return clip_tangent(x, (1.0 - math.sqrt(torch.finfo(x.dtype).eps)) / math.sqrt(c))


def conformal_factor(x: Tensor, c: float = 1.0) -> Tensor:
    """How much longer lengths are at x than in Euclidean space, ``2 / (1 - c |x|^2)``.

    Parameters
    ----------
    x : Tensor, shape (..., d)
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (...)
    """
    return (2.0 / _gap(x, c)).squeeze(-1)


def mobius_add(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Moebius sum of x and y: y carried along by the translation that takes the origin to x.

    Parameters
    ----------
    x, y : Tensor, shape (..., d)
        Points of the ball.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)

    References
    ----------
    Ganea, Becigneul and Hofmann, "Hyperbolic neural networks", NeurIPS 2018, section 2.
    """
    return _translate(x, y, _gap(y, c), c)


def distance(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Hyperbolic distance, ``2 / sqrt(c) asinh(sqrt(c) |x - y| / sqrt((1-c|x|^2)(1-c|y|^2)))``.

    Unlike the textbook's arcosh(1 + ...), this keeps all digits of small distances, and its
    gradient at x = y is 0 rather than infinite.

    Parameters
    ----------
    x, y : Tensor, shape (..., d)
        Points of the ball.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (...)

    Examples
    --------
    >>> distance(torch.zeros(2), torch.tensor([0.5, 0.0]))  # log(3)
    tensor(1.0986)
    """
    root = math.sqrt(c)
    apart = torch.linalg.vector_norm(x - y, dim=-1, keepdim=True)
    half = _asinh(root * apart * torch.rsqrt(_gap(x, c) * _gap(y, c)))
    return (2.0 / root) * half.squeeze(-1)


def exp0(v: Tensor, c: float = 1.0) -> Tensor:
    """Exponential map at the origin, ``tanh(sqrt(c) |v|) v / (sqrt(c) |v|)``.

    The point lies at distance 2 |v| from the origin (the metric there is 4 times the Euclidean).

    Parameters
    ----------
    v : Tensor, shape (..., d)
        Tangent vectors at the origin.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)

    References
    ----------
    Ganea, Becigneul and Hofmann, "Hyperbolic neural networks", NeurIPS 2018, section 2.

    Examples
    --------
    >>> x = exp0(torch.tensor([0.3, -1.2]))
    >>> log0(x)
    tensor([ 0.3000, -1.2000])
    """
    scaled = math.sqrt(c) * _norm(v)
    return project(v * (torch.tanh(scaled) / scaled), c)


def log0(x: Tensor, c: float = 1.0) -> Tensor:
    """Logarithm map at the origin, ``artanh(sqrt(c) |x|) x / (sqrt(c) |x|)``: `exp0` undone.

    Parameters
    ----------
    x : Tensor, shape (..., d)
        Points of the ball.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)
    """
    scaled = math.sqrt(c) * _norm(x)
    return x * (_asinh(scaled * torch.rsqrt(_gap(x, c))) / scaled)


def expmap(x: Tensor, v: Tensor, c: float = 1.0) -> Tensor:
    """Exponential map at x: where the geodesic that leaves x with velocity v is after unit time.

    Parameters
    ----------
    x : Tensor, shape (..., d)
        Points of the ball.
    v : Tensor, shape (..., d)
        Tangent vectors at x; the way travelled is ``conformal_factor(x) |v|``.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)

    References
    ----------
    Hsu et al., "Capturing implicit hierarchical structure in 3D biomedical images with
    self-supervised hyperbolic representations", NeurIPS 2021, eq. 2.
    """
    scaled = math.sqrt(c) * _norm(v)
    half = scaled / _gap(x, c)
    # 1 - tanh(half)^2, without the cancellation of the one and the overflow of cosh.
    gap = 4.0 * torch.sigmoid(2.0 * half) * torch.sigmoid(-2.0 * half)
    return _translate(x, v * (torch.tanh(half) / scaled), gap, c)


def logmap(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Logarithm map at x: the velocity with which a geodesic goes from x to y in unit time.

    Parameters
    ----------
    x, y : Tensor, shape (..., d)
        Points of the ball.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)
        Tangent vectors at x, of norm ``distance(x, y) / conformal_factor(x)``.

    References
    ----------
    Hsu et al., "Capturing implicit hierarchical structure in 3D biomedical images with
    self-supervised hyperbolic representations", NeurIPS 2021, eq. 3.
    """
    apart = y - x
    square = c * apart.square().sum(-1, keepdim=True)
    gap = _gap(x, c)
    gaps = gap * _gap(y, c)
    sinh = (math.sqrt(c) * _norm(apart)) * torch.rsqrt(gaps)
    # |gap apart - square x| = |apart| sqrt(square + gaps), so this is asinh(sinh) times a unit
    # vector, and smooth at y = x.
    scale = _asinh(sinh) / sinh * torch.rsqrt(gaps * (square + gaps))
    return gap * scale * (gap * apart - square * x)


def geodesic(x: Tensor, y: Tensor, t: Tensor | float, c: float = 1.0) -> Tensor:
    """Points on the geodesic from x (t = 0) to y (t = 1), at equal speed.

    Interpolates on the hyperboloid, where the weights of x and y are both positive; going by
    expmap(x, t logmap(x, y)) loses a digit for every 2.3 of distance.

    Parameters
    ----------
    x, y : Tensor, shape (..., d)
        Points of the ball.
    t : Tensor, shape (...), or float
        Fractions of the way; broadcasts against the points without their last axis.
    c : float
        Minus the curvature.

    Returns
    -------
    Tensor, shape (..., d)

    Examples
    --------
    >>> x, y = torch.tensor([0.0, 0.0]), torch.tensor([0.8, 0.0])
    >>> geodesic(x, y, torch.linspace(0, 1, 3))
    tensor([[0.0000, 0.0000],
            [0.5000, 0.0000],
            [0.8000, 0.0000]])
    """
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device).unsqueeze(-1)
    length = (math.sqrt(c) * distance(x, y, c)).clamp_min(_ZERO).unsqueeze(-1)
    gap_x, gap_y = _gap(x, c), _gap(y, c)
    from_x = torch.sinh((1.0 - t) * length) / torch.sinh(length) / gap_x
    from_y = torch.sinh(t * length) / torch.sinh(length) / gap_y
    time = from_x * (2.0 - gap_x) + from_y * (2.0 - gap_y)
    return project(2.0 * (from_x * x + from_y * y) / (1.0 + time), c)


def _norm(v: Tensor) -> Tensor:
    """Euclidean norm, shape (..., 1), kept off zero so that it may be divided by."""
    norm: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return norm.clamp_min(_ZERO)


def _asinh(h: Tensor) -> Tensor:
    """Inverse hyperbolic sine for h >= 0; torch.asinh takes 10 times as long on the CPU."""
    square = h.square()
    return torch.log1p(h + square / (1.0 + torch.sqrt(1.0 + square)))


def _gap(x: Tensor, c: float) -> Tensor:
    """1 - c |x|^2, shape (..., 1), positive also where rounding put x on the rim."""
    square = x.square().sum(-1, keepdim=True)
    return (1.0 - c * square).clamp_min(torch.finfo(x.dtype).eps)


def _translate(x: Tensor, y: Tensor, gap_y: Tensor, c: float) -> Tensor:
    """Moebius sum of x and y with 1 - c |y|^2 given."""
    both = x + y
    square = c * both.square().sum(-1, keepdim=True)
    gap_x = _gap(x, c)
    return project((square * x + gap_x * both) / (square + gap_x * gap_y), c)
