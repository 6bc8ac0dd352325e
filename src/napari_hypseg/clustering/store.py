"""A clustering in a folder: the leaves and how they join."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.codecs

from napari_hypseg.clustering.cluster import OUTSIDE, TreeClustering
from napari_hypseg.clustering.tree import MergeTree
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes.atomic import replacing
from napari_hypseg.volumes.limits import free_memory, in_words
from napari_hypseg.volumes.volume import Box, VolumeError, slabs
from napari_hypseg.volumes.zarr_store import open_zarr

__all__ = ["open_clustering", "save_clustering_job"]

FORMAT_VERSION = 1
# Sides of a chunk of leaves: 2 million voxels, some milliseconds of packing.
_CHUNK = 128
# With a checksum, so that damage is found.
_CODECS = (zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec())


def save_clustering_job(
    path: str | os.PathLike[str], clustering: TreeClustering, belongs: dict[str, Any]
) -> Job[None]:
    """Write a clustering to a folder (Zarr), which appears whole or not at all.

    Parameters
    ----------
    path : path
        The folder, ``.zarr`` by custom; what is there is replaced.
    clustering : TreeClustering
        The clusters.
    belongs : dict
        What they were made of and how, as JSON values; `open_clustering` asks for the same.
    """
    with replacing(Path(path)) as fresh:
        group = zarr.open_group(fresh, mode="w", zarr_format=3)
        leaves = clustering.leaves
        chunks = tuple(min(_CHUNK, n) for n in leaves.shape)
        array = group.create_array(
            "leaves", shape=leaves.shape, dtype="uint8", chunks=chunks, compressors=_CODECS
        )
        boxes = _boxes(leaves.shape)
        for done, box in enumerate(boxes):
            yield Progress("keeping the clusters", done, len(boxes))
            array[box] = leaves[box]
        group.attrs.update(
            {"hypseg_clusters": FORMAT_VERSION, "belongs": belongs, **clustering.to_dict()}
        )


def open_clustering(
    path: str | os.PathLike[str], latents: Latents, belongs: dict[str, Any]
) -> TreeClustering | None:
    """The clustering of a folder; None if there is none there, or one that belongs elsewhere.

    Parameters
    ----------
    path : path
        As for `save_clustering_job`.
    latents : Latents
        The points that were clustered: the smoothed ones, if they were smoothed.
    belongs : dict
        What the clusters should have been made of, and how.

    Raises
    ------
    VolumeError
        If the folder is damaged.
    """
    if not Path(path).exists():
        return None
    try:
        group = open_zarr(path)
        values: dict[str, Any] = dict(group.attrs)
        if values["hypseg_clusters"] != FORMAT_VERSION or values["belongs"] != belongs:
            return None
        tree = MergeTree.from_dict(values)
        stored = _array(group, "leaves")
        if stored.shape != latents.shape or stored.dtype != np.uint8:
            raise ValueError("its leaves don't fit its points")
        leaves = np.empty(latents.shape, np.uint8)
        # Chunk by chunk: read at once, Zarr holds all of it twice more.
        for box in _boxes(leaves.shape):
            leaves[box] = stored[box]
        if not _fits(leaves, tree):
            raise ValueError("its leaves don't fit its tree")
        if values["kind"] not in ("things", "kinds"):
            raise ValueError("it has no known kind of tree")
        return TreeClustering(values["kind"], leaves, tree)
    # The codecs of a chunk raise whatever their libraries do.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise VolumeError(
            f"{path}: is damaged ({reason[:200]}): delete it, and it is made anew"
        ) from error


def _fits(leaves: npt.NDArray[np.uint8], tree: MergeTree) -> bool:
    """Whether the leaves have the tree's numbers of voxels."""
    counts = np.zeros(256, np.int64)
    for box in slabs(leaves.shape):
        counts += np.bincount(leaves[box].ravel(), minlength=256)
    expected = np.zeros(256, np.int64)
    expected[: tree.n_leaves] = tree.counts[: tree.n_leaves]
    # What lies outside is in no leaf.
    expected[OUTSIDE] = counts[OUTSIDE]
    return np.array_equal(counts, expected)


def _array(group: Any, name: str) -> Any:
    """An array of a group, which may hold no more values than fit in memory."""
    array = group[name]
    if array.nbytes > free_memory():
        raise ValueError(f"its {name} take {in_words(array.nbytes)}, more than is free")
    return array


def _boxes(shape: tuple[int, ...]) -> list[Box]:
    """Boxes of the chunks of the leaves."""
    spans = ([slice(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)] for n in shape)
    return [(z, y, x) for z, y, x in itertools.product(*spans)]
