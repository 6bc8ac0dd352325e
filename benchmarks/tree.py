"""Clusters of a made-up volume from latents on disk: `python -m benchmarks.tree Z Y X [KIND]`.

KIND is ``volume`` (the default) or ``disk`` (smoothing and that tree), or ``flat`` (k-means for
each k = 2 to 30 by itself, and the labels of all 29) without smoothing. Prints for each stage its
seconds and those of the processor, all threads together (what counts where other work runs beside
it), and the peak memory. The points are what an encoder could make of patches of 5 voxels: their
mean and their standard deviation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
from scipy.ndimage import uniform_filter

from benchmarks.growth import made_up
from napari_hypseg.clustering import Kind, cluster_job
from napari_hypseg.jobs import Job
from napari_hypseg.latents import Latents, find_latents
from napari_hypseg.latents.embed import read_padded
from napari_hypseg.latents.store import open_latents
from napari_hypseg.volumes import Volume, read_volume
from napari_hypseg.volumes.limits import peak_memory
from napari_hypseg.volumes.noise import fit_noise
from napari_hypseg.volumes.normalize import fit_normalization

SLAB = 32


def make(folder: Path, shape: tuple[int, ...]) -> None:
    """A volume and its points, slab by slab."""
    made_up(folder / "volume.mrc", shape)
    volume = read_volume(folder / "volume.mrc")
    normalization = fit_normalization(volume)
    attributes = {
        "volume": volume.fingerprint(),
        "normalization": normalization.to_dict(),
        "noise": fit_noise(volume, normalization),
        "box": [[0, n] for n in shape],
        "stride": 1,
        "voxel_size": list(volume.voxel_size),
        "origin": list(volume.origin),
        "name": volume.name,
        "geometry": "hyperbolic",
        "curvature": 1.0,
    }
    latents = open_latents(folder / "latents.zarr", (*shape, 2), attributes)
    for start in range(0, shape[0], SLAB):
        stop = min(start + SLAB, shape[0])
        first, last = [start, 0, 0], [stop - 1, *(n - 1 for n in shape[1:])]
        values = read_padded(volume, normalization, first, last, 2)
        mean = uniform_filter(values, 5)[2:-2, 2:-2, 2:-2]
        square = uniform_filter(np.square(values), 5)[2:-2, 2:-2, 2:-2]
        spread = np.sqrt(np.maximum(square - np.square(mean), 0))
        latents.array[start:stop] = np.stack([0.5 * np.tanh(mean), 0.5 * np.tanh(spread)], -1)


def clocks() -> np.ndarray:
    """Seconds on the wall and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def show(name: str, seconds: np.ndarray) -> None:
    print(f"{name}: {seconds[0]:.1f} s, {seconds[1]:.1f} s of the processor", flush=True)


def clusters_job(kind: Kind, latents: Latents, volume: Volume, place: str) -> Job[object]:
    """What a person waits for: the tree."""
    return (yield from cluster_job(latents, volume, tree=kind, store=Path(place, "smooth.zarr")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tree", description=__doc__)
    parser.add_argument("shape", nargs=3, type=int, metavar=("Z", "Y", "X"))
    parser.add_argument("kind", nargs="?", choices=get_args(Kind), default="things")
    arguments = parser.parse_args()
    shape, kind = tuple(arguments.shape), arguments.kind
    with tempfile.TemporaryDirectory() as place:
        # In a process of its own: its memory does not count.
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(Path(place), shape))
        maker.start()
        maker.join()
        volume = read_volume(Path(place, "volume.mrc"))
        latents = find_latents(Path(place, "latents.zarr"))
        seconds: dict[str, np.ndarray] = {}
        name, began = "opening", clocks()
        for progress in clusters_job(kind, latents, volume, place):
            now, following = clocks(), progress.stage
            seconds[name] = seconds.get(name, 0) + now - began
            if following != name:
                show(name, seconds[name])
            name, began = following, now
        seconds[name] = seconds.get(name, 0) + clocks() - began
    show(name, seconds[name])
    show("all", sum(seconds.values()))
    peak = peak_memory()
    print("peak memory", "not told by this system" if peak is None else f"{peak:.2f} GB")


if __name__ == "__main__":
    main()
