"""The simple method to beat: the best threshold of a smoothed volume, chosen with the truth.

Run `python -m benchmarks.threshold VOLUME TRUTH CLASS`.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle

from napari_hypseg.volumes import read_volume


def best_dice(values: np.ndarray, truth: np.ndarray) -> float:
    """Best Dice of ``values > t`` over 100 thresholds in the brighter half."""
    scores = []
    for threshold in np.percentile(values, np.linspace(50, 99.5, 100)):
        found = values > threshold
        scores.append(2 * np.sum(found & truth) / (found.sum() + truth.sum()))
    return max(scores)


def main() -> None:
    """Print a line for each smoothing."""
    volume, labels, number = sys.argv[1:]
    voxels = read_volume(volume).read().astype(np.float64)
    voxels = (voxels - voxels.mean()) / voxels.std()
    truth = read_volume(labels).read() == int(number)
    for sigma in (0.0, 1.0, 1.5, 2.0):
        print(f"Gaussian, sigma {sigma}: {best_dice(gaussian_filter(voxels, sigma), truth):.3f}")
    for weight in (0.2, 0.5, 1.0, 2.0):
        smooth = denoise_tv_chambolle(voxels, weight)
        print(f"total variation, weight {weight}: {best_dice(smooth, truth):.3f}")


if __name__ == "__main__":
    main()
