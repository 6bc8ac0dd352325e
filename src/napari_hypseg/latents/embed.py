"""Dense mapping: the latent point of every voxel, tile by tile, into resumable stores."""

from __future__ import annotations

import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.model.files import Model
from napari_hypseg.model.vae import VAE, Posterior, ScaleEncoder
from napari_hypseg.training.devices import has_fast_bfloat16, select_device
from napari_hypseg.training.features import Standard, fit_features_job, read_padded
from napari_hypseg.volumes.normalize import Normalization, fit_normalization_job
from napari_hypseg.volumes.volume import Box, Volume

__all__ = ["embed", "embed_job"]

# Voxels in one call of the encoder: large enough for its matrix products to run at full speed,
# small enough for their results to stay in the processor's last cache (or to fill a GPU).
_BLOCK = {"cpu": 4096, "cuda": 65_536, "mps": 32_768}
# A patch takes so many times as much as features.
_PATCHES = 16
_REPORT_EVERY = 0.1
# Voxels of patches read at a time: well under a tenth of a second.
_READ = 1 << 21
# Voxels along each axis whose features are computed at a time.
_SEEN = (32, 64, 64)

Store = str | os.PathLike[str]


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
    store: Store | None = None,
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
    part = volume if box is None else volume.crop(box)
    spans = [s.indices(n)[:2] for s, n in zip(box or (slice(None),) * 3, volume.shape, strict=True)]
    z, y, x = (-(-n // stride) for n in part.shape)
    normalization = yield from fit_normalization_job(volume)
    fingerprint = yield from volume.fingerprint_job()
    if mismatch := model.mismatch(volume, normalization):
        warnings.warn(mismatch, stacklevel=2)
    config = model.config
    precision = torch.bfloat16 if has_fast_bfloat16(target) else torch.float32
    attributes = {
        "volume": fingerprint,
        "normalization": normalization.to_dict(),
        "model": model.fingerprint(),
        "box": [list(span) for span in spans],
        "precision": str(precision).removeprefix("torch."),
        "stride": stride,
        "voxel_size": [stride * size for size in volume.voxel_size],
        "origin": list(part.origin),
        "name": volume.name,
        "geometry": config.geometry,
        "curvature": config.curvature,
    }
    standard = None
    if config.encoder == "scales":
        standard = yield from fit_features_job(volume, normalization)
    latents = open_latents(store, (z, y, x, config.latent_dim), attributes)
    # A copy: the caller's network stays where it is.
    network = VAE(config)
    network.load_state_dict(model.network.state_dict())
    mapping = _Mapping(
        volume, normalization, network.eval().to(target), target, precision, stride, spans,
        standard, _BLOCK[target.type] // (_PATCHES if standard is None else 1),
    )  # fmt: skip
    return (yield from mapping.map_job(latents))


@dataclass
class _Mapping:
    """What maps the chunks of a volume."""

    volume: Volume
    normalization: Normalization
    network: VAE
    device: torch.device
    precision: torch.dtype
    stride: int
    spans: list[tuple[int, int]]
    # Of features, where the encoder sees these and no patches.
    standard: Standard | None
    block: int

    def map_job(self, latents: Latents) -> Job[Latents]:
        """Map what a store does not hold yet."""
        see = self._patches if self.standard is None else self._scales
        done, total, reported = 0, math.prod(latents.shape), time.monotonic()
        # Writing a chunk and computing the next overlap.
        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for span in latents.chunk_boxes():
                yield Progress("mapping voxels", done, total)
                shape = [s.stop - s.start for s in span]
                if latents.has(span):
                    done += math.prod(shape)
                    continue
                points = torch.empty(*shape, latents.dim, device=self.device)
                for out, seen in see(span, points):
                    for part in self._blocks(seen):
                        out[part] = self._encode(seen[part]).view_as(out[part])
                        done += math.prod(seen[part].shape[:2])
                        now = time.monotonic()
                        if now - reported >= _REPORT_EVERY:
                            yield Progress("mapping voxels", done, total)
                            reported = time.monotonic()
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write, latents, span, *_start_copy(points))
            if writing is not None:
                writing.result()
        yield Progress("mapping voxels", done, total)
        return latents

    def _blocks(self, patches: Tensor) -> Iterator[tuple[slice, slice]]:
        """Parts (y, x) of a plane of voxels, so large that the encoder runs at full speed."""
        rows, columns = patches.shape[:2]
        row = 0
        while row < rows and columns:
            high, wide = max(1, self.block // columns), min(columns, self.block)
            yield from (
                (slice(row, row + high), slice(column, column + wide))
                for column in range(0, columns, wide)
            )
            row += high

    def _encode(self, seen: Tensor) -> Tensor:
        """Latent points of what the encoder sees of voxels (y, x, ...), shape (y x, d).

        Where the device's memory is full, half as many at a time, from then on.
        """
        try:
            return encode(self.network, seen.flatten(2).flatten(0, 1), self.precision)
        except torch.OutOfMemoryError:
            if math.prod(seen.shape[:2]) == 1:
                raise RuntimeError(
                    f"the memory of {self.device} is too small even for one voxel"
                ) from None
        # Not inside the handler: the error keeps what filled the memory alive.
        torch.cuda.empty_cache()
        self.block = max(1, math.prod(seen.shape[:2]) // 2)
        warnings.warn(
            f"the memory of {self.device} is full: "
            f"the mapping goes on with {self.block} voxels at a time",
            stacklevel=2,
        )
        return torch.cat([self._encode(seen[part]) for part in self._blocks(seen)])

    def _scales(self, span: Box, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Planes (y, x, d) of the points of a chunk with their voxels' features (y, x, WIDTH)."""
        assert self.standard is not None  # noqa: S101
        shape, stride = tuple(points.shape[:3]), self.stride
        sides = [max(1, side // stride) for side in _SEEN]
        for corner in itertools.product(*map(range, (0, 0, 0), shape, sides)):
            some = [slice(c, min(c + n, m)) for c, n, m in zip(corner, sides, shape, strict=True)]
            z, y, x = (
                slice(low + (s.start + p.start) * stride, low + (s.start + p.stop - 1) * stride + 1)
                for (low, _), s, p in zip(self.spans, span, some, strict=True)
            )
            found = self.standard.read(self.volume, self.normalization, (z, y, x), self.device)
            out = points[tuple(some)]
            yield from zip(out, found[::stride, ::stride, ::stride], strict=True)

    def _patches(self, span: Box, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Planes (y, x, d) of the points of a chunk with their patches (y, x, p, p, p)."""
        side, stride = self.network.config.patch_size, self.stride
        halo = side // 2
        low = [start + s.start * stride for (start, _), s in zip(self.spans, span, strict=True)]
        high = [
            start + (s.stop - 1) * stride for (start, _), s in zip(self.spans, span, strict=True)
        ]
        across = math.prod(b - a + side for a, b in zip(low[1:], high[1:], strict=True))
        # Planes far apart share no voxels, and are read one by one.
        some = max(1, (_READ // across - side) // stride + 1) if stride < side else 1
        for plane in range(0, span[0].stop - span[0].start, some):
            first = low[0] + plane * stride
            last = min(first + (some - 1) * stride, high[0])
            tile = torch.from_numpy(
                read_padded(
                    self.volume, self.normalization, [first, *low[1:]], [last, *high[1:]], halo
                )
            )
            if self.device.type == "cuda":
                tile = tile.pin_memory()
            patches = tile.to(self.device, non_blocking=True)
            for axis in range(3):
                patches = patches.unfold(axis, side, stride)
            yield from zip(points[plane : plane + some], patches, strict=True)


@torch.inference_mode()
def encode(network: VAE, seen: Tensor, precision: torch.dtype) -> Tensor:
    """Latent points of what an encoder sees of voxels.

    Parameters
    ----------
    network : VAE
    seen : tensor, shape (n, WIDTH) or (n, p^3)
        Features; or patches, which are resized to the network's input size.
    precision : torch.dtype
        Of the layers before the last: float32, or bfloat16.

    Returns
    -------
    tensor of float32, shape (n, d)
    """
    if not isinstance(network.encoder, ScaleEncoder):
        patch, side = network.config.patch_size, network.config.input_size
        cubes = seen.view(-1, 1, patch, patch, patch)
        seen = interpolate(cubes, size=(side,) * 3, mode="trilinear", align_corners=False)
    with torch.autocast(seen.device.type, precision, enabled=precision != torch.float32):
        posterior: Posterior = network.encoder(seen)
    return posterior.mean


def _start_copy(points: Tensor) -> tuple[Tensor, Callable[[], object]]:
    """Points on their way to the host, and what waits until they are there."""
    if points.device.type != "cuda":
        return points.cpu(), lambda: None
    # Queued behind the work that makes them, and ahead of the next chunk's.
    copy, arrived = points.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()
    return copy, arrived.synchronize


def _write(latents: Latents, span: Box, points: Tensor, wait: Callable[[], object]) -> None:
    wait()
    latents.array[span] = points.numpy()
