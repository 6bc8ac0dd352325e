"""Small volumes as unlike each other as can be, with truth: what a general model learns from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_hypseg.samples.tomogram import make_tomogram
from napari_hypseg.samples.toy import make_toy

__all__ = ["make_world"]

Voxels = npt.NDArray[np.float64]
Levels = list[npt.NDArray[np.int64]]

_SHAPE = (44, 48, 48)
# Sides of what the others are cut to.
_MOST = 60


def make_world(seed: int) -> tuple[npt.NDArray[np.float32], Levels]:
    """Make one; the same seed makes the same one.

    A toy, a part of a made tomogram, or one of three inventions: packed bodies with walls and
    organelles, tubes, sheets and balls in a bath, or smooth nested regions. Contrast, texture,
    size, sharpness, the colour and strength of noise, a gradient across the volume and the sign of
    the contrast are drawn at random.

    Parameters
    ----------
    seed : int
        Which one.

    Returns
    -------
    voxels : array of float32, shape (z, y, x)
        With mean 0 and variance 1.
    levels : list of array of int, shape (z, y, x)
        The classes, coarse to fine.
    """
    rng = np.random.default_rng([seed, 20_000])
    kind = rng.choice(["toy", "tomogram", "bodies", "shapes", "regions"], p=[0.28] + 4 * [0.18])
    if kind == "toy":
        toy = make_toy(
            rng.choice(["regular", "irregular", "texture", "texture"]), seed=10_000 + seed
        )
        voxels, levels = toy.volume.read(), [level.astype(np.int64) for level in toy.levels]
    elif kind == "tomogram":
        made = make_tomogram(
            (48, 80, 80),
            voxel_size=float(rng.choice([8.0, 10.0, 13.5, 20.0])),
            snr=_between(rng, 0.1, 3.0),
            defocus=float(rng.uniform(2, 6)),
            seed=10_000 + seed,
        )
        voxels, levels = made.volume.read(), [level.astype(np.int64) for level in made.levels]
        z, y, x = (slice(0, 48), *(slice(s, s + 48) for s in rng.integers(0, 32, 2)))
        voxels, levels = voxels[z, y, x], [level[z, y, x] for level in levels]
    else:
        make = {"bodies": _bodies, "shapes": _shapes, "regions": _regions}[kind]
        voxels, levels = make(rng)
    if kind != "tomogram" and rng.random() < 0.4:
        zoom = rng.uniform(0.7, 1.4)
        cut = (slice(0, _MOST),) * 3
        voxels = ndimage.zoom(voxels, zoom, order=1)[cut]
        levels = [ndimage.zoom(level.astype(np.uint8), zoom, order=0)[cut] for level in levels]
    return _spoiled(rng, voxels, kind == "tomogram"), [level.astype(np.int64) for level in levels]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform in a range."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Voxels:
    """Smoothed white noise of variance 1."""
    noise: Voxels = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    noise /= noise.std()
    return noise


def _grid(rng: np.random.Generator, smooth: float, by: float) -> Voxels:
    """Coordinates of the voxels, bent at random; shape (z, y, x, 3)."""
    grid = np.moveaxis(np.indices(_SHAPE).astype(np.float64), 0, -1)
    return grid + by * np.stack([_noise(rng, _SHAPE, smooth) for _ in range(3)], -1)


def _spoiled(rng: np.random.Generator, voxels: Voxels, is_noisy: bool) -> npt.NDArray[np.float32]:
    """As a microscope would show it, or spoil it."""
    if rng.random() < 0.4:
        voxels = ndimage.gaussian_filter(voxels, rng.uniform(0.3, 1.2))
    voxels = (voxels - voxels.mean()) / (voxels.std() + 1e-6)
    if not is_noisy:
        noise = _noise(rng, voxels.shape, float(rng.choice([0.0, 0.0, 0.5, 0.8, 1.5])))
        voxels = voxels + noise * _between(rng, 0.05, 2.0)
        if rng.random() < 0.3:
            # Longer along z, as without the projections of a wedge.
            voxels = ndimage.gaussian_filter1d(voxels, rng.uniform(0.5, 2), axis=0)
    if rng.random() < 0.4:
        ramps = np.meshgrid(*(np.linspace(-1, 1, n) for n in voxels.shape), indexing="ij")
        voxels = voxels + sum(
            ramp * slope for ramp, slope in zip(ramps, rng.normal(size=3) / 2, strict=True)
        )
    if rng.random() < 0.5:
        voxels = -voxels
    voxels = np.clip((voxels - voxels.mean()) / voxels.std(), -4, 4)
    out: npt.NDArray[np.float32] = (voxels / voxels.std()).astype(np.float32)
    return out


def _bodies(rng: np.random.Generator) -> tuple[Voxels, Levels]:
    """Packed bodies of a few kinds with thin walls, and organelles in them."""
    grid = _grid(rng, rng.uniform(3, 8), rng.uniform(1, 5))
    centres = rng.uniform(0, 1, (rng.integers(6, 30), 3)) * _SHAPE
    stretch = rng.uniform(0.6, 1.4, (len(centres), 3))
    far = np.stack(
        [np.linalg.norm((grid - c) * s, axis=-1) for c, s in zip(centres, stretch, strict=True)], -1
    )
    nearest = np.partition(far, 1, -1)
    wall = nearest[..., 1] - nearest[..., 0] < 2 * rng.uniform(0.8, 2.5)
    kinds = rng.integers(2, 5)
    kind = rng.integers(0, kinds, len(centres))[far.argmin(-1)]
    voxels = (rng.normal(size=kinds) * rng.uniform(0, 0.6))[kind]
    if rng.random() < 0.5:
        voxels = voxels + rng.uniform(0, 0.5, kinds)[kind] * _noise(
            rng, _SHAPE, rng.uniform(0.7, 2.5)
        )
    clumps = _noise(rng, _SHAPE, rng.uniform(1.5, 4))
    organelle = (clumps > np.quantile(clumps, rng.uniform(0.85, 0.97))) & ~wall
    voxels = np.where(organelle, voxels + 1.5 * rng.normal(), voxels)
    voxels = np.where(wall, rng.uniform(0.8, 2.5) * rng.choice([-1, -1, -1, -1, 1]), voxels)
    fine = np.where(wall, 0, np.where(organelle, kinds + 1, kind + 1))
    return voxels, [wall.astype(int), np.where(wall, 0, 1 + organelle), fine]


def _strength(rng: np.random.Generator) -> float:
    """How much brighter something is, or darker: never next to nothing."""
    value = rng.normal()
    return float(value + np.sign(rng.normal()))


def _shapes(rng: np.random.Generator) -> tuple[Voxels, Levels]:
    """Tubes or rods, sheets of one leaflet or two, and balls, in a bath."""
    grid = _grid(rng, 8, rng.uniform(0, 3))
    voxels = _noise(rng, _SHAPE, rng.uniform(0.7, 3)) * rng.uniform(0, 0.4)
    fine = np.zeros(_SHAPE, int)

    def draw(where: npt.NDArray[np.bool_], value: float, label: int) -> None:
        voxels[where] = value
        fine[where] = label

    radius, thick, is_hollow = rng.uniform(1.5, 7), rng.uniform(0.7, 2), rng.random() < 0.6
    outer, inner = _strength(rng), rng.normal() * 0.3
    for _ in range(rng.integers(1, 7)):
        axis = rng.normal(size=3) * (0.5, 1, 1)
        axis /= np.linalg.norm(axis)
        from_point = grid - rng.uniform(0, 1, 3) * _SHAPE
        away = np.linalg.norm(from_point - (from_point @ axis)[..., None] * axis, axis=-1)
        if is_hollow:
            draw(away < radius - thick, inner, 2)
            draw(np.abs(away - radius) < thick, outer, 1)
        else:
            draw(away < 0.6 * radius, outer, 1)
    value, gap, is_double = _strength(rng), rng.uniform(1.2, 3), rng.random() < 0.5
    for _ in range(rng.integers(0, 4)):
        bend, normal = rng.uniform(10, 60), rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        centre = rng.uniform(0.1, 0.9, 3) * _SHAPE - normal * bend
        depth = np.abs(np.linalg.norm(grid - centre, axis=-1) - bend)
        if is_double:
            fine[depth < gap + 0.8] = 3
            voxels[np.abs(depth - gap) < 0.8] = value
        else:
            draw(depth < 0.7 * gap, value, 3)
    size, value = rng.uniform(1.5, 6), _strength(rng)
    for _ in range(rng.integers(0, 25)):
        from_centre = (grid - rng.uniform(0, 1, 3) * _SHAPE) * rng.uniform(0.7, 1.4, 3)
        draw(np.linalg.norm(from_centre, axis=-1) < size, value, 4)
    return voxels, [(fine > 0).astype(int), np.array([0, 1, 1, 2, 3])[fine], fine]


def _regions(rng: np.random.Generator) -> tuple[Voxels, Levels]:
    """Smooth nested regions, told apart by their mean or their texture."""
    first, second = (_noise(rng, _SHAPE, rng.uniform(*span)) for span in ((5, 12), (2, 6)))
    large = first > np.quantile(first, rng.uniform(0.3, 0.7))
    small = second > np.quantile(second, rng.uniform(0.6, 0.9))
    fine = large + 2 * small
    voxels = rng.normal(size=4)[fine] + _noise(rng, _SHAPE, rng.uniform(0.6, 4)) * rng.uniform(
        0, 0.4
    )
    if rng.random() < 0.5:
        voxels = voxels + rng.uniform(0.2, 1) * large * _noise(rng, _SHAPE, rng.uniform(0.7, 2))
    return voxels, [large.astype(int), fine]
