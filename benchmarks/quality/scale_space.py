"""46 scale-space features of a voxel, as interactive segmentation programs use them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

__all__ = ["SCALES", "scale_space"]

SCALES = (0.7, 1.0, 1.6, 3.5, 5.0)


def scale_space(voxels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The voxel, and at five scales what a Gaussian's derivatives say of its surroundings.

    At each scale: the smoothed voxel, gradient magnitude, Laplacian, the three eigenvalues of the
    Hessian and the three of the structure tensor (averaged at the same scale), both in order of
    size; all of them standardised over the volume.

    Parameters
    ----------
    voxels : ndarray, shape (z, y, x)
        Intensities.

    Returns
    -------
    ndarray of float32, shape (z, y, x, 46)
    """
    voxels, along = voxels.astype(np.float32), np.eye(3, dtype=int)
    channels = [voxels]
    for sigma in SCALES:
        gradient = [gaussian_filter(voxels, sigma, order=axis.tolist()) for axis in along]
        hessian, tensor = (np.zeros((*voxels.shape, 3, 3), np.float32) for _ in range(2))
        for i, j in itertools.combinations_with_replacement(range(3), 2):
            # Only the lower triangle is read.
            hessian[..., j, i] = gaussian_filter(
                voxels, sigma, order=(along[i] + along[j]).tolist()
            )
            tensor[..., j, i] = gaussian_filter(gradient[i] * gradient[j], sigma)
        channels += [
            gaussian_filter(voxels, sigma),
            np.sqrt(sum(np.square(each) for each in gradient)),
            np.trace(hessian, axis1=-2, axis2=-1),
        ]
        for matrix in (hessian, tensor):
            # Plane by plane: eigvalsh copies what it gets. In float32 it may not converge.
            values = np.stack([np.linalg.eigvalsh(plane.astype(float)) for plane in matrix])
            channels += list(np.moveaxis(values, -1, 0))
    features = np.empty((*voxels.shape, len(channels)), np.float32)
    for index, channel in enumerate(channels):
        spread = float(channel.std(dtype=np.float64)) or 1.0
        features[..., index] = (channel - channel.mean(dtype=np.float64)) / spread
    return features
