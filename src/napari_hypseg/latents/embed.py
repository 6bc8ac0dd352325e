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
from typing import Any

import torch
from torch import Tensor

from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents.folded import compile_encoder
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.model.files import Model
from napari_hypseg.training.devices import has_fast_bfloat16, select_device
from napari_hypseg.training.features import Standard, fit_features_job, read_padded
from napari_hypseg.volumes.noise import fit_noise_job
from napari_hypseg.volumes.normalize import Normalization, fit_normalization_job
from napari_hypseg.volumes.volume import Box, Volume

__all__ = ["coarse_to_fine_job", "embed", "embed_job"]

# Patches in one call of the encoder in bfloat16, half as many in float32: large enough for the
# matrix products to run at full speed, small enough for their results, 8 MB, to stay in the
# processor's last cache (or to fill a GPU).
_BLOCK = {"cpu": 4096, "cuda": 65_536, "mps": 32_768}
_REPORT_EVERY = 0.1
# Voxels read at a time: well under a tenth of a second.
_READ = 1 << 21
# Voxels along each axis whose features are computed at a time.
_SEEN = (32, 64, 64)
# Coarse to fine: strides of the passes, and the fewest points that are worth one.
_STRIDES = (8, 4, 2)
_FEWEST = 10_000

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
    mapping = yield from _prepare_job(model, volume, box, stride, device)
    return (yield from mapping.pass_job(stride, store, None))


def coarse_to_fine_job(
    model: Model,
    volume: Volume,
    *,
    box: Box | None = None,
    stride: int = 1,
    device: str = "auto",
    store: Callable[[int], Store | None] = lambda _: None,
) -> Job[Latents]:
    """Map the voxels in passes of stride 8, 4, 2 and 1: a preview in seconds, then the rest.

    Each pass computes what the last has left, so that all of them together encode every voxel
    once. A pass that would give less than 10,000 points is left out.

    Parameters
    ----------
    model, volume, box, device
        As for `embed`.
    stride : int
        Of the last pass; those before have 2, 4 and 8 times as much.
    store : callable, optional
        Gives the folder of the store of a stride; in memory without it.

    Returns
    -------
    Latents
        Those of the last pass. Those of the passes before come as the ``partial`` of a `Progress`.

    Raises
    ------
    VolumeError, ValueError
        As for `embed_job`.
    """
    mapping = yield from _prepare_job(model, volume, box, stride, device)
    strides = [n * stride for n in _STRIDES if math.prod(mapping.shape(n * stride)) >= _FEWEST]
    if mapping.standard is not None:
        # The features of all voxels are needed for every eighth: the whole takes hardly longer.
        strides = []
    latents = None
    for each in strides:
        latents = yield from mapping.pass_job(each, store(each), latents)
        done = math.prod(latents.shape)
        yield Progress("mapping voxels", done, math.prod(mapping.shape(stride)), partial=latents)
    return (yield from mapping.pass_job(stride, store(stride), latents))


def _prepare_job(
    model: Model, volume: Volume, box: Box | None, stride: int, device: str
) -> Job[_Mapping]:
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, not {stride}")
    target = select_device(device)
    part = volume if box is None else volume.crop(box)
    spans = [s.indices(n)[:2] for s, n in zip(box or (slice(None),) * 3, volume.shape, strict=True)]
    total = math.prod(-(-n // stride) for n in part.shape)
    normalization = yield from fit_normalization_job(volume)
    noise = yield from fit_noise_job(volume, normalization)
    fingerprint = yield from volume.fingerprint_job()
    if mismatch := model.mismatch(volume, normalization):
        warnings.warn(mismatch, stacklevel=2)
    config = model.config
    precision = torch.bfloat16 if has_fast_bfloat16(target) else torch.float32
    attributes = {
        "volume": fingerprint,
        "normalization": normalization.to_dict(),
        "noise": noise,
        "model": model.fingerprint(),
        "box": [list(span) for span in spans],
        "precision": str(precision).removeprefix("torch."),
        "origin": list(part.origin),
        "name": volume.name,
        "geometry": config.geometry,
        "curvature": config.curvature,
    }
    standard = None
    if config.encoder == "scales":
        standard = yield from fit_features_job(volume, normalization)
        attributes["encoder"] = config.encoder
    encode = compile_encoder(model.network, target, precision)
    return _Mapping(
        volume, normalization, encode, target, config.patch_size, config.latent_dim, spans,
        attributes, total, block_size(target, precision), standard,
    )  # fmt: skip


def block_size(device: torch.device, dtype: torch.dtype) -> int:
    """Patches in one call of the encoder."""
    return _BLOCK[device.type] * torch.bfloat16.itemsize // dtype.itemsize


@dataclass
class _Mapping:
    """What all passes over a volume share."""

    volume: Volume
    normalization: Normalization
    encode: Callable[[Tensor], Tensor]
    device: torch.device
    patch: int
    dim: int
    spans: list[tuple[int, int]]
    attributes: dict[str, Any]
    total: int
    block: int
    # Of features, where the encoder sees these and no patches.
    standard: Standard | None

    def shape(self, stride: int) -> tuple[int, int, int]:
        """Number of points of a pass."""
        z, y, x = (-(-(stop - start) // stride) for start, stop in self.spans)
        return z, y, x

    def pass_job(self, stride: int, store: Store | None, coarse: Latents | None) -> Job[Latents]:
        """Map every ``stride``-th voxel; of twice the stride there may be points already."""
        sizes = [stride * size for size in self.volume.voxel_size]
        attributes = {**self.attributes, "stride": stride, "voxel_size": sizes}
        latents = open_latents(store, (*self.shape(stride), self.dim), attributes)
        known = 0 if coarse is None else math.prod(coarse.shape)
        done, reported = known, time.monotonic()
        # Writing a chunk and computing the next overlap.
        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for span in latents.chunk_boxes():
                yield Progress("mapping voxels", done, self.total)
                shape = [s.stop - s.start for s in span]
                given, before = [slice(s.start % 2, None, 2) for s in span], _half(span)
                fresh = math.prod(shape)
                if coarse is not None:
                    fresh -= math.prod(s.stop - s.start for s in before)
                if latents.has(span):
                    done += fresh
                    continue
                points = torch.empty(*shape, self.dim, device=self.device)
                if coarse is not None:
                    points[tuple(given)] = torch.from_numpy(coarse.read(before)).to(self.device)
                see = self._patches if self.standard is None else self._scales
                for out, seen in see(span, stride, points, None if coarse is None else given):
                    for part in self._blocks(seen):
                        out[part] = self._encode(seen[part]).view_as(out[part])
                        done += math.prod(seen[part].shape[:2])
                        now = time.monotonic()
                        if now - reported >= _REPORT_EVERY:
                            yield Progress("mapping voxels", done, self.total)
                            reported = time.monotonic()
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write, latents, span, *_start_copy(points))
            if writing is not None:
                writing.result()
        yield Progress("mapping voxels", done, self.total)
        return latents

    def _blocks(self, patches: Tensor) -> Iterator[tuple[slice, slice]]:
        """Parts (y, x) of a plane of patches, so large that the encoder runs at full speed."""
        rows, columns = patches.shape[:2]
        row = 0
        while row < rows and columns:
            high, wide = max(1, self.block // columns), min(columns, self.block)
            yield from (
                (slice(row, row + high), slice(column, column + wide))
                for column in range(0, columns, wide)
            )
            row += high

    def _encode(self, patches: Tensor) -> Tensor:
        """Latent points of patches (y, x, ...) one below the other; (y x, d).

        Where the device's memory is full, half as many at a time, from then on.
        """
        try:
            with torch.inference_mode():
                return self.encode(patches.flatten(2).flatten(0, 1))
        except torch.OutOfMemoryError:
            if math.prod(patches.shape[:2]) == 1:
                raise RuntimeError(
                    f"the memory of {self.device} is too small even for one patch"
                ) from None
        # Not inside the handler: the error keeps what filled the memory alive.
        torch.cuda.empty_cache()
        self.block = max(1, math.prod(patches.shape[:2]) // 2)
        warnings.warn(
            f"the memory of {self.device} is full: "
            f"the mapping goes on with {self.block} patches at a time",
            stacklevel=2,
        )
        return torch.cat([self._encode(patches[part]) for part in self._blocks(patches)])

    def _patches(
        self, span: Box, stride: int, points: Tensor, given: list[slice] | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For some points (y, x, d) of a chunk that are not given the patches (y, x, p, p, p)."""
        for plane, patches in self._planes(span, stride):
            for places in _left(plane, given):
                yield points[plane][places], patches[places]

    def _scales(
        self, span: Box, stride: int, points: Tensor, _given: list[slice] | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For some points (y, x, d) of a chunk the features (y, x, WIDTH)."""
        assert self.standard is not None  # noqa: S101
        shape = tuple(points.shape[:3])
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

    def _planes(self, span: Box, stride: int) -> Iterator[tuple[int, Tensor]]:
        """For each plane of a chunk its number and its patches, shape (y, x, p, p, p)."""
        halo = self.patch // 2
        low = [start + s.start * stride for (start, _), s in zip(self.spans, span, strict=True)]
        high = [
            start + (s.stop - 1) * stride for (start, _), s in zip(self.spans, span, strict=True)
        ]
        across = math.prod(b - a + self.patch for a, b in zip(low[1:], high[1:], strict=True))
        # Planes far apart share no voxels, and are read one by one.
        some = max(1, (_READ // across - self.patch) // stride + 1) if stride < self.patch else 1
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
                patches = patches.unfold(axis, self.patch, stride)
            for index in range(len(patches)):
                yield plane + index, patches[index]


def _half(span: Box) -> Box:
    """Where the points of a box with even numbers lie among those of twice the stride."""
    z, y, x = (slice((s.start + 1) // 2, (s.stop + 1) // 2) for s in span)
    return z, y, x


def _left(plane: int, given: list[slice] | None) -> list[tuple[slice, slice]]:
    """The places (y, x) of a plane without a point, where every second may have one, as grids."""
    everything = slice(None)
    if given is None or plane % 2 != given[0].start:
        return [(everything, everything)]
    _, y, x = given
    other_y, other_x = (slice(1 - s.start, None, 2) for s in (y, x))
    return [(other_y, everything), (y, other_x)]


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
