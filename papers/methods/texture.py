"""Methods that look at local texture: amplitudes of Gabor filters, and PCA of patches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from napari_hypseg.volumes import Volume
from papers.methods.base import (
    Budget,
    Features,
    Method,
    Predict,
    cluster_features,
    normalised,
)

__all__ = ["METHODS", "gabor_amplitudes"]

# Wavelengths in voxels, about half an octave apart over what a patch of 5 to 9 voxels can show.
WAVELENGTHS = (3.0, 4.2, 6.0, 8.5)
# Standard deviation of a filter's passband, as a share of its frequency.
BANDWIDTH = 0.3
# Amplitudes are averaged over this many voxels (standard deviation of a Gaussian).
POOLING = 1.5
PATCH = 5
COMPONENTS = 8
PATCHES = 20_000


def gabor_amplitudes(voxels: Features) -> Features:
    """Smoothed amplitudes of 3D Gabor filters, and the smoothed intensity, standardised.

    Four wavelengths in the 13 directions of a voxel's neighbours, each a Gaussian passband in the
    Fourier domain. (z, y, x) becomes (z, y, x, 53).
    """
    padded = np.pad(voxels, 8, mode="symmetric")
    spectrum = fft.fftn(padded)
    grid = np.meshgrid(*[fft.fftfreq(n) for n in padded.shape], indexing="ij", sparse=True)
    inside = (slice(8, -8),) * 3
    channels = [gaussian_filter(voxels, 1.0)]
    half = [d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0)]
    for wavelength, direction in itertools.product(WAVELENGTHS, half):
        centre = np.array(direction) / np.linalg.norm(direction) / wavelength
        square = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
        band = np.exp(-square / (2 * (BANDWIDTH / wavelength) ** 2)).astype(np.float32)
        channels.append(gaussian_filter(np.abs(fft.ifftn(spectrum * band))[inside], POOLING))
    features = np.stack(channels, axis=-1).astype(np.float32)
    features -= features.mean(axis=(0, 1, 2))
    spread: Features = features / np.maximum(features.std(axis=(0, 1, 2)), 1e-6)
    return spread


def _gabor(_volumes: Sequence[Volume], budget: Budget) -> Predict:
    return cluster_features(lambda volume: gabor_amplitudes(normalised(volume)), budget.seed)


def _patches(volume: Volume) -> npt.NDArray[np.float32]:
    """The patch around each voxel as a view, shape (z, y, x, 5, 5, 5)."""
    padded = np.pad(normalised(volume), PATCH // 2, mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (PATCH,) * 3)


def _pca(volumes: Sequence[Volume], budget: Budget) -> Predict:
    rng = np.random.default_rng(budget.seed)
    drawn = []
    for volume in volumes:
        places = tuple(rng.integers(0, n, PATCHES // len(volumes)) for n in volume.shape)
        drawn.append(_patches(volume)[places].reshape(-1, PATCH**3))
    pca = PCA(COMPONENTS, random_state=budget.seed).fit(np.concatenate(drawn))

    def features(volume: Volume) -> Features:
        # Plane by plane: the patches of all voxels at once would be 125 times the volume.
        return np.stack(
            [
                pca.transform(plane.reshape(-1, PATCH**3)).reshape(*plane.shape[:2], -1)
                for plane in _patches(volume)
            ]
        )

    return cluster_features(features, budget.seed)


METHODS = (
    Method("gabor", "k-means of Gabor amplitudes", _gabor, learns=False),
    Method("pca", "k-means of PCA of patches", _pca),
)
