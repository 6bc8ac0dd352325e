"""What a model learned from, held against a volume that it is used on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from napari_hypseg.volumes.normalize import Normalization, fit_normalization
from napari_hypseg.volumes.polarity import CLEAR, polarity
from napari_hypseg.volumes.volume import Volume

__all__ = ["describe_mismatch", "traits"]

# A patch of 5 voxels then reaches a whole voxel farther than it did in training; below, it covers
# the same voxels, but for their rounding.
_RATIO = 1.25


def traits(volume: Volume, normalization: Normalization) -> dict[str, Any]:
    """What a model keeps of a volume that it learns from, as JSON values.

    Returns
    -------
    dict
        ``voxel_size`` along (z, y, x) in angstrom, None where it is doubtful; ``polarity``.
    """
    return {
        "voxel_size": None if volume.doubts else list(volume.voxel_size),
        "polarity": round(polarity(volume, normalization), 3),
    }


def describe_mismatch(
    trained: Sequence[Mapping[str, Any]], volume: Volume, normalization: Normalization | None = None
) -> str:
    """Why a model may see another thing in a volume than in those it learned from.

    Parameters
    ----------
    trained : sequence of mapping
        `traits` of what it learned from.
    volume : Volume
    normalization : Normalization, optional
        Of the volume; fitted without.

    Returns
    -------
    str
        A sentence with what would make it right; empty where nothing is wrong, or nothing known.
    """
    known = [_sizes(each.get("voxel_size")) for each in trained]
    faults = []
    sizes = [size for size in known if size is not None]
    if len(sizes) == len(known) and sizes and not volume.doubts:
        nearest = min(sizes, key=lambda size: _apart(size, volume))
        if _apart(nearest, volume) >= math.log(_RATIO):
            factors = [a / b for a, b in zip(volume.voxel_size, nearest, strict=True)]
            faults.append(
                f"its voxels are {_triple(volume.voxel_size)} angstrom, the model learned from "
                f"{_triple(nearest)}: resample the volume to {_triple(nearest)} angstrom (by "
                f"{_triple(factors)}), or train a model on it"
            )
    signs = [each.get("polarity") for each in trained]
    told = [float(sign) for sign in signs if isinstance(sign, int | float) and abs(sign) >= CLEAR]
    if told and len(told) == len(signs) and (min(told) > 0 or max(told) < 0):
        here = polarity(volume, normalization or fit_normalization(volume))
        if abs(here) >= CLEAR and here * told[0] < 0:
            bright, dark = ("bright", "dark") if here > 0 else ("dark", "bright")
            faults.append(
                f"what stands out of it is {bright}, where the model learned {dark}: invert its "
                "contrast (multiply by -1), or train a model on it"
            )
    return f"{volume.name}: {'; '.join(faults)}" if faults else ""


def _sizes(found: Any) -> tuple[float, float, float] | None:
    """A voxel size from a file, if it is one."""
    try:
        z, y, x = (float(size) for size in found)
    except (TypeError, ValueError):
        return None
    return (z, y, x) if all(math.isfinite(s) and s > 0 for s in (z, y, x)) else None


def _apart(size: Sequence[float], volume: Volume) -> float:
    """Largest logarithm of the ratio of two voxel sizes along an axis."""
    return max(abs(math.log(a / b)) for a, b in zip(volume.voxel_size, size, strict=True))


def _triple(values: Sequence[float]) -> str:
    """Three numbers, or the one that all are."""
    shown = [f"{value:.3g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else " x ".join(shown)
