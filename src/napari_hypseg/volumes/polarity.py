"""Whether what stands out of a volume is bright or dark: two contrasts of the same specimen."""

from __future__ import annotations

import numpy as np

from .normalize import Normalization
from .volume import Volume

__all__ = ["CLEAR", "polarity"]

#: A polarity beyond this, either way, tells bright from dark. Measured: 0.55 to 1.0 in tomograms
#: with bright protein, also noisy ones; -0.5 in plastic sections with dark stain; within 0.2 of 0
#: in FIB-SEM, where neither stands out, and in noise.
CLEAR = 0.35

# Means of cubes of this side, in which most noise is gone, ...
_SIDE = 4
# ... of the middle of a volume, up to so many voxels along (z, y, x).
_MIDDLE = (64, 512, 512)


def polarity(volume: Volume, normalization: Normalization) -> float:
    """Skewness of a volume's intensities: above 0 where bright things stand out, else below.

    What a tomogram shows fills the smaller part of it: it makes the longer tail of the
    distribution. Inverting the contrast changes the sign and nothing else.

    Parameters
    ----------
    volume : Volume
        Its middle is read.
    normalization : Normalization
        Of this volume.

    Returns
    -------
    float
        0 where there are too few voxels to tell.
    """
    z, y, x = (
        slice(max(0, (n - most) // 2), min(n, (n + most) // 2))
        for n, most in zip(volume.shape, _MIDDLE, strict=True)
    )
    values, outside = normalization.look(volume, (z, y, x))
    sides = [min(_SIDE, n) for n in values.shape]
    counts = [n // side for n, side in zip(values.shape, sides, strict=True)]
    whole = tuple(slice(0, c * side) for c, side in zip(counts, sides, strict=True))
    cubes = (counts[0], sides[0], counts[1], sides[1], counts[2], sides[2])
    means = values[whole].reshape(cubes).mean((1, 3, 5), dtype=np.float64)
    inside = means[~outside[whole].reshape(cubes).any((1, 3, 5))]
    if inside.size < 100 or not inside.std():
        return 0.0
    return float((((inside - inside.mean()) / inside.std()) ** 3).mean())
