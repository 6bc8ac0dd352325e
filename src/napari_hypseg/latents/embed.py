"""Dense mapping: the latent point of every voxel, tile by tile, into a resumable store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents.folded import compile_encoder
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.model.files import Model
from napari_hypseg.training.devices import has_fast_bfloat16, select_device
from napari_hypseg.volumes.normalize import Normalization, fit_normalization
from napari_hypseg.volumes.volume import Box, Volume

__all__ = ["embed", "embed_job"]

# Patches in one call of the encoder: large enough for the matrix products to run at full speed,
# small enough for their results to stay in the processor's cache (or to fill a GPU).
_BLOCK = {"cpu": 1024, "cuda": 65_536, "mps": 16_384}
_REPORT_EVERY = 0.1


def embed(
    model: Model,
    volume: Volume,
    *,
    box: Box | None = None,
    stride: int = 1,
    device: str = "auto",
) -> Latents:
    """Map every voxel of a volume to its latent point, in memory.

    Parameters
    ----------
    model : Model
        A trained model.
    volume : Volume
        The volume; its intensities are normalised by its own statistics.
    box : tuple of slice, optional
        Only this part, along (z, y, x). Patches at its border still see what lies outside it.
    stride : int
        Map every ``stride``-th voxel along each axis.
    device : str
        "auto" (CUDA, else Apple's MPS, else the CPU), or a name that PyTorch knows.

    Returns
    -------
    Latents

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> toy = hs.make_toy("regular").volume
    >>> hs.embed(hs.train(toy, steps=2), toy, stride=10).shape
    (5, 5, 5)
    """
    return finish(embed_job(model, volume, box=box, stride=stride, device=device))


def embed_job(
    model: Model,
    volume: Volume,
    *,
    box: Box | None = None,
    stride: int = 1,
    device: str = "auto",
    store: str | os.PathLike[str] | None = None,
) -> Job[Latents]:
    """The generator twin of `embed`.

    Parameters
    ----------
    store : path, optional
        Folder of the Zarr store. Chunks that it has already, undamaged and of the same volume and
        model, are not computed again.

    Raises
    ------
    VolumeError
        If the box is empty, the volume can't be read, or something else is where the store goes.
    ValueError
        If the stride is below 1 or the device unknown.
    """
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, not {stride}")
    target = select_device(device)
    precision = torch.bfloat16 if has_fast_bfloat16(target) else torch.float32
    config = model.config
    part = volume if box is None else volume.crop(box)
    spans = [s.indices(n)[:2] for s, n in zip(box or (slice(None),) * 3, volume.shape, strict=True)]
    z, y, x = (-(-n // stride) for n in part.shape)
    vz, vy, vx = part.voxel_size
    attributes = {
        "volume": volume.fingerprint(),
        "model": model.fingerprint(),
        "box": [list(span) for span in spans],
        "stride": stride,
        "precision": str(precision).removeprefix("torch."),
        "voxel_size": [stride * vz, stride * vy, stride * vx],
        "origin": list(part.origin),
        "name": volume.name,
        "geometry": config.geometry,
        "curvature": config.curvature,
    }
    yield Progress("mapping voxels", 0, z * y * x)
    normalization = fit_normalization(volume)
    encode = compile_encoder(model.network, target, precision)
    latents = open_latents(store, (z, y, x, config.latent_dim), attributes)

    done, reported = 0, time.monotonic()
    for span in latents.chunk_boxes():
        yield Progress("mapping voxels", done, z * y * x)
        points = np.empty((*(s.stop - s.start for s in span), config.latent_dim), np.float32)
        count = points.size // config.latent_dim
        if latents.has(span):
            done += count
            continue
        first = [start + s.start * stride for (start, _), s in zip(spans, span, strict=True)]
        last = [start + (s.stop - 1) * stride for (start, _), s in zip(spans, span, strict=True)]
        tile = _read_padded(volume, normalization, first, last, config.patch_size // 2)
        patches = torch.from_numpy(tile).to(target)
        for axis in range(3):
            patches = patches.unfold(axis, config.patch_size, stride)
        rows = max(1, _BLOCK[target.type] // points.shape[2])
        for plane in range(points.shape[0]):
            for row in range(0, points.shape[1], rows):
                with torch.inference_mode():
                    part_points = _encode(encode, patches[plane, row : row + rows])
                points[plane, row : row + rows] = part_points
                done += part_points.size // config.latent_dim
                now = time.monotonic()
                if now - reported >= _REPORT_EVERY:
                    yield Progress("mapping voxels", done, z * y * x)
                    reported = time.monotonic()
        latents.array[span] = points
    yield Progress("mapping voxels", done, z * y * x)
    return latents


def _encode(encode: Callable[[Tensor], Tensor], block: Tensor) -> npt.NDArray[np.float32]:
    """Latent points (rows, x, d) of a block of patches (rows, x, p, p, p)."""
    points = encode(block.reshape(block.shape[0] * block.shape[1], -1))
    array: npt.NDArray[np.float32] = points.view(*block.shape[:2], -1).cpu().numpy()
    return array


def _read_padded(
    volume: Volume, normalization: Normalization, first: list[int], last: list[int], halo: int
) -> npt.NDArray[np.float32]:
    """Normalised voxels from ``first - halo`` to ``last + halo``, mirrored beyond the border."""
    spans, missing = [], []
    for low, high, size in zip(first, last, volume.shape, strict=True):
        start, stop = max(0, low - halo), min(size, high + halo + 1)
        spans.append(slice(start, stop))
        missing.append((start - (low - halo), (high + halo + 1) - stop))
    z, y, x = spans
    return np.pad(normalization.apply(volume.read((z, y, x))), missing, mode="symmetric")
