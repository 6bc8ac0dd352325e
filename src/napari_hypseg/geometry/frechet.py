"""Frechet means on the Poincare ball, of one set of points or of many groups at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from napari_hypseg.geometry.ball import mobius_add, project

__all__ = ["frechet_mean", "frechet_means"]


def frechet_mean(
    points: Tensor,
    weights: Tensor | None = None,
    *,
    c: float = 1.0,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> Tensor:
    """Point with the least weighted sum of squared distances to ``points``.

    Parameters
    ----------
    points : Tensor, shape (n, d)
        Points of the ball.
    weights : Tensor, shape (n,), optional
        Not negative; 1 each by default.
    c : float
        Minus the curvature.
    tol : float
        Stop when a step is shorter than this, in units of ``1 / sqrt(c)``.
    max_iter : int
        Stop after so many steps.

    Returns
    -------
    Tensor, shape (d,)
        The mean, in the dtype of ``points``; no gradient flows through it.

    Raises
    ------
    ValueError
        If the weights' shape does not fit, a weight is negative, or all are zero.

    See Also
    --------
    frechet_means : The method, and means of many groups at once.

    Examples
    --------
    >>> frechet_mean(torch.tensor([[0.0, 0.0], [0.8, 0.0]]))  # 0.5 is half-way to 0.8
    tensor([0.5000, 0.0000])
    """
    if not len(points) or (weights is not None and not bool((weights > 0).any())):
        raise ValueError("the Frechet mean of no points, or of weights all 0, is undefined")
    labels = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    return frechet_means(points, labels, 1, weights, c=c, tol=tol, max_iter=max_iter)[0]


@torch.no_grad()
def frechet_means(
    points: Tensor,
    labels: Tensor,
    k: int,
    weights: Tensor | None = None,
    *,
    c: float = 1.0,
    start: Tensor | None = None,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> Tensor:
    """Frechet mean of each of k groups of points, all iterated together.

    Parameters
    ----------
    points : Tensor, shape (n, d)
        Points of the ball, float32 or float64; the work is done in float64.
    labels : Tensor of int, shape (n,)
        Group of each point, 0 to k - 1.
    k : int
        Number of groups.
    weights : Tensor, shape (n,), optional
        Not negative; 1 each by default.
    c : float
        Minus the curvature.
    start : Tensor, shape (k, d), optional
        Where to start, such as the means of k-means' last round; the origin by default.
    tol : float
        Stop when every group's step is shorter than this, in units of ``1 / sqrt(c)``.
    max_iter : int
        Stop after so many steps.

    Returns
    -------
    Tensor, shape (k, d)
        The means, in the dtype of ``points``. A group without points, or without weight, stays
        where it started. No gradient flows through them.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not one of the k groups, a weight is negative, or a point
        lies outside the ball.

    Notes
    -----
    Lou et al. bound the sum of squared distances from above by a function with a minimum in closed
    form, go there, and repeat. Their step is the same wherever the origin is put; here it is put at
    the current mean, because their formula as printed cancels near the rim. There the minimum is

        y + S / (T + sqrt(T^2 - |S|^2)),  S = sum_i w_i r_i e_i,  T = sum_i w_i r_i coth(r_i),

    with + the Moebius sum, r_i the distance of point i (in units of 1 / sqrt(c)) and e_i its
    direction. Each step costs one pass over the points.

    References
    ----------
    Lou et al., "Differentiating through the Frechet mean", ICML 2020, algorithm 1.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [0.8, 0.0], [0.0, -0.3]])
    >>> frechet_means(points, torch.tensor([0, 0, 1]), k=2)
    tensor([[ 0.5000,  0.0000],
            [ 0.0000, -0.3000]])
    """
    _check(points, labels, k, weights, start)
    labels = labels.long()
    # Scaled to the unit ball, so that c is 1 from here on, and laid out as (d, n): sums over d are
    # 15 times faster there.
    x = (math.sqrt(c) * points.double()).T.contiguous()
    mean = torch.zeros(k, len(x), dtype=x.dtype, device=x.device)
    if start is not None:
        mean = project(math.sqrt(c) * start.double())
    gap = 1.0 - x.square().sum(0)
    if not bool((gap > 0).all()):
        raise ValueError(f"points must lie inside the ball, at norms below {1 / math.sqrt(c):g}")
    weight = torch.ones_like(gap) if weights is None else weights.double()
    for _ in range(max_iter):
        at = mean.T[:, labels]
        gap_at = (1.0 - mean.square().sum(-1))[labels]
        apart = x - at
        # q = sinh(r / 2)^2, kept off 0 because r / sinh(r) divides by it; r = 2 asinh(sqrt(q)).
        q = (apart.square().sum(0) / (gap * gap_at)).clamp_min(1e-30)
        half_sinh = (q * (q + 1.0)).sqrt()
        ratio = weight * torch.log1p(2.0 * (q + half_sinh)) / half_sinh  # 2 w r / sinh(r)
        ratio_q = ratio * q
        rows = torch.cat([ratio[None], ratio_q[None], ratio / gap * apart - ratio_q * at])
        sums = rows.new_zeros(len(rows), k).index_add_(1, labels, rows)
        total = 0.5 * sums[0] + sums[1]
        direction = sums[2:].T
        norm = torch.linalg.vector_norm(direction, dim=-1)
        root = ((total - norm) * (total + norm)).clamp_min(0.0).sqrt()
        step = direction / (total + root).clamp_min(torch.finfo(x.dtype).tiny).unsqueeze(-1)
        mean = mobius_add(mean, project(step))
        if 2.0 * float(step.abs().max()) < tol:
            break
    return (mean / math.sqrt(c)).to(points.dtype)


def _check(
    points: Tensor, labels: Tensor, k: int, weights: Tensor | None, start: Tensor | None
) -> None:
    if points.ndim != 2:
        raise ValueError(f"points must have shape (n, d), not {tuple(points.shape)}")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"{len(points)} points need as many labels, not {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < k:
        raise ValueError(f"labels must lie in 0 to {k - 1}, not {labels.min()} to {labels.max()}")
    if weights is not None and weights.shape != points.shape[:1]:
        raise ValueError(f"{len(points)} points need as many weights, not {tuple(weights.shape)}")
    if weights is not None and not bool((weights >= 0).all()):
        raise ValueError("weights must be numbers of 0 or more")
    if start is not None and start.shape != (k, points.shape[1]):
        raise ValueError(f"{k} groups need a start of shape {(k, points.shape[1])}")
