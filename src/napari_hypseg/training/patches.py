"""Multi-scale patches on the device: triplets of places, and their voxels, resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.model.config import TrainingConfig

__all__ = ["Patches", "Piece", "Triplets", "VoxelPool", "largest_anchor"]

#: Normalised intensities of a volume or a part of it, and which voxels lie outside (padding).
Piece = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]

# So many places are drawn for each that is taken, where some voxels lie outside.
_TRIES = 16


class Patches(NamedTuple):
    """Places of cubic patches.

    Attributes
    ----------
    volume : tensor of int64, shape (n,)
        Which of the training volumes.
    corner : tensor of int64, shape (n, 3)
        First voxel along (z, y, x).
    size : tensor of int64, shape (n,)
        Side, in voxels.
    """

    volume: Tensor
    corner: Tensor
    size: Tensor


class Triplets(NamedTuple):
    """Anchors, a positive inside each, and a negative that does not overlap it."""

    anchor: Patches
    positive: Patches
    negative: Patches


def largest_anchor(shape: tuple[int, ...], config: TrainingConfig) -> int:
    """Side of the largest anchor in a volume: it fits, and a child fits beside it.

    Wherever the anchor is, the longest axis has room for a child on one of its two sides.

    Raises
    ------
    ValueError
        If the volume is too small for any anchor with a child inside.
    """
    most = min(*shape, config.max_size, max(shape) - 2 * config.min_child)
    least = config.min_child + config.gap
    if most < least:
        raise ValueError(
            f"a volume of {' x '.join(map(str, shape))} voxels is too small to train on: it needs "
            f"at least {least} voxels along every axis and {least + 2 * config.min_child} along one"
        )
    return most


def _trimmed(piece: Piece, config: TrainingConfig) -> Piece:
    """A piece without the whole layers at its faces that lie outside, if enough is left."""
    voxels, outside = piece
    if not outside.any() or outside.all():
        return piece
    box: list[slice] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(~outside.all(axis=others))
        box.append(slice(used[0], used[-1] + 1))
    z, y, x = box
    try:
        largest_anchor(tuple(span.stop - span.start for span in box), config)
    except ValueError:
        return piece
    return voxels[z, y, x], outside[z, y, x]


def _randint(low: Tensor, high: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform integers in [low, high], elementwise (float64: exact to 2^53)."""
    u = torch.rand(low.shape, generator=generator, device=low.device, dtype=torch.float64)
    span = (high - low + 1).double()
    return low + torch.minimum((u * span).floor(), span - 1).long()


class VoxelPool:
    """The voxels of the training volumes on one device, and random patches of them.

    Nothing here waits for the device: no shape depends on a random number.

    Parameters
    ----------
    pieces : sequence of (array of float32, array of bool), shape (z, y, x) each
        Normalised intensities and which voxels lie outside, one pair a volume. Volumes are drawn
        in proportion to their size, but for whole layers at their faces that lie outside.
    config : TrainingConfig
        Sizes of anchors and children.
    device : torch.device
        Where to keep and gather them.

    Raises
    ------
    ValueError
        If a volume is too small for an anchor and a child beside it.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        config: TrainingConfig,
        device: torch.device,
    ) -> None:
        self.config = config
        self.device = device
        arrays, masks = zip(*(_trimmed(piece, config) for piece in pieces), strict=True)
        self.voxels = torch.from_numpy(np.concatenate([a.ravel() for a in arrays])).to(device)
        self._outside: Tensor | None = None
        if any(mask.any() for mask in masks):
            self._outside = torch.from_numpy(np.concatenate([m.ravel() for m in masks])).to(device)
        shapes = np.array([a.shape for a in arrays], dtype=np.int64)
        most = np.array([largest_anchor(a.shape, config) for a in arrays], dtype=np.int64)

        def put(values: npt.NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        sizes = shapes.prod(1)
        self._shapes = put(shapes)
        self._strides = put(np.stack([shapes[:, 1] * shapes[:, 2], shapes[:, 2], sizes * 0 + 1], 1))
        self._starts = put(np.concatenate([[0], sizes.cumsum()[:-1]]))
        self._ends = put(sizes.cumsum())
        self._total = int(sizes.sum())
        self._most = put(most)

    def draw(self, count: int, generator: torch.Generator) -> Triplets:
        """Random triplets.

        Parameters
        ----------
        count : int
            How many.
        generator : torch.Generator
            Source of randomness, on the pool's device.

        Returns
        -------
        Triplets
            Every patch lies wholly inside its volume; the negative is of the positive's size and,
            uniformly among all places that share no voxel with the anchor, in the same volume.
            Where some voxels lie outside, such triplets of which all patches have their middle
            voxel inside; one in thousands may not, where most voxels lie outside.
        """
        if self._outside is None:
            return self._draw(count, generator)
        drawn = self._draw(_TRIES * count, generator)
        # Chosen among as many without a look at how many are good: nothing waits for the device.
        good = torch.stack([self._inside(patches) for patches in drawn]).sum(0)
        order = torch.arange(_TRIES, device=self.device)[:, None]
        best = (good.view(_TRIES, count) * _TRIES - order).argmax(0)
        chosen = best * count + torch.arange(count, device=self.device)
        return Triplets(*(Patches(*(part[chosen] for part in patches)) for patches in drawn))

    def _inside(self, patches: Patches) -> Tensor:
        """Whether the middle voxels of patches lie inside."""
        middle = patches.corner + patches.size[:, None] // 2
        places = self._starts[patches.volume] + (middle * self._strides[patches.volume]).sum(1)
        assert self._outside is not None  # noqa: S101
        return ~self._outside[places]

    def _draw(self, count: int, generator: torch.Generator) -> Triplets:
        """Random triplets, wherever they lie."""
        config, shape = self.config, (count,)
        zero = torch.zeros(shape, dtype=torch.int64, device=self.device)
        voxel = _randint(zero, zero + self._total - 1, generator)
        volume = torch.searchsorted(self._ends, voxel, right=True)
        extent = self._shapes[volume]

        most = self._most[volume]
        least = torch.minimum(zero + max(config.min_size, config.min_child + config.gap), most)
        if config.log_sizes:
            u = torch.rand(shape, generator=generator, device=self.device, dtype=torch.float64)
            # Each integer size r gets the log-uniform weight of [r, r + 1).
            ratio = (most + 1).double() / least.double()
            size = torch.minimum((least.double() * ratio**u).floor().long(), most)
        else:
            size = _randint(least, most, generator)
        anchor = _randint(torch.zeros_like(extent), extent - size[:, None], generator)

        # Whatever the anchor's place, a child of this size fits beside it along the longest axis.
        room = (extent.max(1).values - size) // 2
        child_most = torch.minimum(torch.minimum(size - config.gap, zero + config.max_child), room)
        child = _randint(zero + config.min_child, child_most, generator)
        slack = (size - child)[:, None].expand(-1, 3)
        inside = slack // 2 if config.concentric else _randint(slack * 0, slack, generator)
        return Triplets(
            Patches(volume, anchor, size),
            Patches(volume, anchor + inside, child),
            Patches(volume, self._beside(extent, anchor, size, child, generator), child),
        )

    @staticmethod
    def _beside(
        extent: Tensor, anchor: Tensor, size: Tensor, child: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Uniform corners of children that share no voxel with their anchor, without rejection.

        Corners at which a child overlaps the anchor form a box. Its complement splits into three
        parts: outside the box along z; inside along z but outside along y; inside along both but
        outside along x. One random number picks a corner of the three together.
        """
        free = extent - child[:, None] + 1  # corners along each axis
        low = (anchor - child[:, None] + 1).clamp_min(0)
        high = torch.minimum(anchor + size[:, None] - 1, free - 1)
        inside = high - low + 1
        outside = free - inside
        _, ny, nx = free.unbind(1)
        part_z = outside[:, 0] * ny * nx
        part_y = inside[:, 0] * outside[:, 1] * nx
        part_x = inside[:, 0] * inside[:, 1] * outside[:, 2]
        pick = _randint(part_z * 0, part_z + part_y + part_x - 1, generator)

        def skip(index: Tensor, axis: int) -> Tensor:
            """The ``index``-th corner outside the box along an axis."""
            return index + torch.where(index >= low[:, axis], inside[:, axis], 0)

        in_z, in_y = pick < part_z, pick < part_z + part_y
        rest_y, rest_x = pick - part_z, pick - part_z - part_y
        # Where a part is not the one picked its digits are nonsense, and torch.where drops them.
        width = outside.clamp_min(1)
        y_part = rest_y // nx
        x_part = rest_x // width[:, 2]
        z = torch.where(
            in_z,
            skip(pick // (ny * nx), 0),
            low[:, 0]
            + torch.where(in_y, y_part // width[:, 1], x_part // inside[:, 1].clamp_min(1)),
        )
        y = torch.where(
            in_z,
            pick // nx % ny,
            torch.where(
                in_y,
                skip(y_part % width[:, 1], 1),
                low[:, 1] + x_part % inside[:, 1].clamp_min(1),
            ),
        )
        x = torch.where(
            in_z,
            pick % nx,
            torch.where(in_y, rest_y % nx, skip(rest_x % width[:, 2], 2)),
        )
        return torch.stack([z, y, x], dim=1)

    def batch(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Voxels of random triplets: anchors, then positives, then negatives.

        Parameters
        ----------
        count, generator
            As for `draw`.
        side : int
            As for `gather`.

        Returns
        -------
        tensor, shape (3 count, 1, m, m, m)
        """
        triplets = self.draw(count, generator)
        places = Patches(*(torch.cat(parts) for parts in zip(*triplets, strict=True)))
        return self.gather(places, side)

    def gather(self, patches: Patches, side: int) -> Tensor:
        """Voxels of patches, resized to a common side by trilinear interpolation.

        The same as `torch.nn.functional.interpolate` (``mode="trilinear"``,
        ``align_corners=False``) of each patch by itself.

        Parameters
        ----------
        patches : Patches
            n places.
        side : int
            Side m of the resized patches, in voxels.

        Returns
        -------
        tensor, shape (n, 1, m, m, m)
        """
        steps = torch.arange(side, device=self.device, dtype=torch.float32) + 0.5
        size = patches.size[:, None].float()
        place = (steps * size / side - 0.5).clamp_min(0)
        lower = torch.minimum(place.floor(), size - 1)
        upper = torch.minimum(lower + 1, size - 1)
        share = (place - lower).clamp(0, 1)
        strides = self._strides[patches.volume]
        base = self._starts[patches.volume] + (patches.corner * strides).sum(1)
        z0, y0, x0 = (lower.long() * strides[:, i, None] for i in range(3))
        z1, y1, x1 = (upper.long() * strides[:, i, None] for i in range(3))

        def plane(z: Tensor, y: Tensor) -> Tensor:
            """Voxels at (z, y), interpolated along x: shape (n, m, m, m)."""
            row = base[:, None, None] + z[:, :, None] + y[:, None, :]
            left = self.voxels[row[..., None] + x0[:, None, None, :]]
            right = self.voxels[row[..., None] + x1[:, None, None, :]]
            return torch.lerp(left, right, share[:, None, None, :])

        share_y, share_z = share[:, None, :, None], share[:, :, None, None]
        front = torch.lerp(plane(z0, y0), plane(z0, y1), share_y)
        back = torch.lerp(plane(z1, y0), plane(z1, y1), share_y)
        return torch.lerp(front, back, share_z)[:, None]
