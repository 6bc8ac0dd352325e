"""Colours of classes that nobody chose one for: each as far as can be from those there are."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Colour", "next_colour"]

#: sRGB, each 0 to 1.
Colour = tuple[float, float, float]

# CIELAB lightness that stands out on white and on black, and a chroma that is no grey: the
# tomogram is grey.
_LIGHTNESS = (45.0, 82.0)
_CHROMA = 35.0


def next_colour(taken: Iterable[Colour]) -> Colour:
    """The vivid colour whose CIELAB distance to the nearest one taken is largest.

    Examples
    --------
    >>> first = next_colour([])
    >>> next_colour([first]) != first
    True
    """
    # Here: nobody who opens a session should wait for these, or need memory for them.
    from scipy.spatial.distance import cdist
    from skimage.color import rgb2lab

    rgb, lab = _candidates()
    seen = np.array([*taken], np.float64).reshape(-1, 3)
    apart = cdist(lab, rgb2lab(seen)).min(1, initial=np.inf)
    red, green, blue = rgb[apart.argmax()].tolist()
    return red, green, blue


@functools.cache
def _candidates() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Colours to choose from, in sRGB and in CIELAB, the most vivid first."""
    from skimage.color import rgb2lab

    steps = np.linspace(0, 1, 16)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = rgb2lab(rgb)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    fit = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1]) & (chroma >= _CHROMA)
    order = np.flatnonzero(fit)[np.argsort(-chroma[fit], kind="stable")]
    return rgb[order], lab[order]
