"""A latent space of any dimension seen on one disk: two of its coordinates, or a hyperbolic PCA."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.geometry import exp0, frechet_mean, log0, mobius_add

__all__ = ["Projection", "coordinates", "principal_plane"]

# Points that the principal plane is fitted to at most.
_FITTED = 20_000


@dataclass(frozen=True, eq=False)
class Projection:
    """How latent points come to lie on a disk of radius 1 (in a plane, in a Euclidean space).

    Attributes
    ----------
    name : str
        What is said on the plot.
    mean : array, shape (d,)
        The point that comes to lie at the centre.
    axes : array, shape (d, 2)
        Orthonormal directions of the tangent space at the mean that are kept.
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean space.
    chart : {"ball", "tangent"}
        Whether the axes apply to the ball's own coordinates or to those of the tangent space.
    """

    name: str
    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    curvature: float | None
    chart: str

    @property
    def is_exact(self) -> bool:
        """Whether nothing is lost: the latent space has two dimensions itself."""
        return len(self.axes) == 2

    def apply(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Places of latent points, shape (n, d) to (n, 2), in the dtype of the points.

        In units of the ball's radius; as they are, in a Euclidean space.
        """
        axes = self.axes.astype(points.dtype)
        if self.curvature is None:
            flat: npt.NDArray[np.floating] = (points - self.mean.astype(points.dtype)) @ axes
            return flat
        scale = points.dtype.type(math.sqrt(self.curvature))
        if self.chart == "ball":
            ball: npt.NDArray[np.floating] = scale * (points @ axes)
            return ball
        tangent = _tangent(torch.from_numpy(points), torch.from_numpy(self.mean), self.curvature)
        places = exp0(tangent @ torch.from_numpy(axes), self.curvature).numpy()
        seen: npt.NDArray[np.floating] = scale * places
        return seen

    def latent(self, place: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The latent point at a place, if nothing is lost.

        Raises
        ------
        ValueError
            If many points lie at one place.
        """
        if not self.is_exact:
            raise ValueError(f"{len(self.axes)} dimensions can't be told from a place on the disk")
        scale = 1.0 if self.curvature is None else math.sqrt(self.curvature)
        return np.asarray(np.asarray(place, float) / scale, np.float32)


def coordinates(dim: int, first: int, second: int, curvature: float | None) -> Projection:
    """Two coordinates of the ball, counted from 0.

    Examples
    --------
    >>> coordinates(3, 0, 2, 1.0).apply(np.array([[0.1, 0.2, 0.3]])).tolist()
    [[0.1, 0.3]]
    """
    axes = np.zeros((dim, 2))
    axes[first, 0] = axes[second, 1] = 1.0
    name = "" if dim == 2 else f"coordinates {first + 1} and {second + 1} of {dim}"
    return Projection(name, np.zeros(dim), axes, curvature, "ball")


def principal_plane(points: npt.NDArray[np.floating], curvature: float | None) -> Projection:
    """Hyperbolic PCA onto a disk, in the tangent space at the Frechet mean.

    Parameters
    ----------
    points : array, shape (n, d)
        Of which the first 20,000 are fitted: in random order, a fair sample.
    curvature : float or None
        The ball has curvature ``-curvature``; None gives the usual PCA of a Euclidean space.

    Notes
    -----
    Each point is carried along by the translation that takes the mean to the centre, mapped to
    the tangent space there, projected onto the two directions of greatest variance, and mapped
    back: distances to the mean within that plane are kept exactly.

    References
    ----------
    Fletcher, Lu, Pizer and Joshi, "Principal geodesic analysis for the study of nonlinear
    statistics of shape", IEEE Transactions on Medical Imaging 2004, algorithm 2.
    """
    fitted = torch.from_numpy(np.asarray(points[:_FITTED], np.float64))
    if curvature is None:
        mean = fitted.mean(0)
        tangent = fitted - mean
    else:
        mean = frechet_mean(fitted, c=curvature)
        tangent = _tangent(fitted, mean, curvature)
    _, sizes, directions = torch.linalg.svd(tangent, full_matrices=False)
    share = float(sizes[:2].square().sum() / sizes.square().sum().clamp_min(1e-300))
    axes = directions[:2].T.contiguous().numpy()
    # A direction and its opposite are one axis: let its largest component be positive.
    axes = axes * np.sign(axes[abs(axes).argmax(0), [0, 1]])
    kind = "PCA" if curvature is None else "hyperbolic PCA"
    name = f"{kind} of {len(axes)} dimensions, {100 * share:.0f} % of the variance"
    return Projection(name, mean.numpy(), axes, curvature, "tangent")


def _tangent(points: torch.Tensor, mean: torch.Tensor, curvature: float) -> torch.Tensor:
    """Tangent vectors at the centre after the translation that takes the mean there."""
    return log0(mobius_add(-mean.to(points.dtype), points, curvature), curvature)
