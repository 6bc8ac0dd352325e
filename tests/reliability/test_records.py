"""Metadata that a stranger changed: used, or refused in a sentence; no harm, crash or hunger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file

from napari_hypseg.clustering import MergeTree, TreeClustering, open_clustering, save_clustering_job
from napari_hypseg.jobs import finish
from napari_hypseg.latents import find_latents, open_latents
from napari_hypseg.model import VAE, Model, ModelConfig, ModelError, files, load_model
from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image

from .mutations import fuzz

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="no limit on memory here"
)
SHAPE = (3, 4, 5)
VOXELS = np.arange(60, dtype=np.float32).reshape(SHAPE)
ATTRIBUTES = {
    "fingerprint": "0f", "voxel_size": [10.0] * 3, "origin": [0.0] * 3, "name": "a",
    "geometry": "hyperbolic", "curvature": 1.0,
}  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("keep")
    (folder / "store.zarr").mkdir()
    return folder


def anew(kept: Path):
    """Makes a copy of a folder in place of the one that was used."""
    used = kept.with_name(f"used_{kept.name}")

    def make() -> Path:
        shutil.rmtree(used, ignore_errors=True)
        return Path(shutil.copytree(kept, used))

    return make


def some_latents(path: Path | None = None):
    latents = open_latents(path, (*SHAPE, 2), ATTRIBUTES)
    latents.array[...] = np.random.default_rng(0).normal(size=(*SHAPE, 2)).astype("f4") / 9
    return latents


def test_latents(tmp_path, outside, count):
    some_latents(tmp_path / "a.zarr")

    def use(path: Path) -> None:
        latents = find_latents(path)
        for box in list(latents.chunk_boxes())[:9]:
            latents.read(tuple(slice(s.start, min(s.stop, s.start + 9)) for s in box))
        latents.as_volume()

    tally = fuzz(anew(tmp_path / "a.zarr"), use, ["zarr.json"], outside, VolumeError)
    count("records mutated", sum(tally.values()))


def test_latents_that_are_continued(tmp_path, outside, count):
    """A store in whose place a run would go on writing."""
    some_latents(tmp_path / "a.zarr")

    def use(path: Path) -> None:
        latents = open_latents(path, (*SHAPE, 2), ATTRIBUTES)
        for box in latents.chunk_boxes():
            if not latents.has(box):
                latents.array[box] = np.full((*SHAPE, 2), 0.5, np.float32)
            assert latents.has(box)
        assert latents.read().shape == (*SHAPE, 2)

    tally = fuzz(anew(tmp_path / "a.zarr"), use, ["zarr.json"], outside, VolumeError)
    count("records mutated", sum(tally.values()))


def test_clusters(tmp_path, outside, count):
    latents = some_latents()
    leaves = (np.arange(60) % 3).astype(np.uint8).reshape(SHAPE)
    tree = MergeTree(
        np.array([[0, 1], [2, 3]]), np.array([1.0, 2.0]), np.array([20, 20, 20, 40, 60]),
        np.zeros((5, 2)),
    )  # fmt: skip
    finish(save_clustering_job(tmp_path / "a.zarr", TreeClustering("volume", leaves, tree), {}))

    def use(path: Path) -> None:
        found = open_clustering(path, latents, {})
        if found is not None:
            for k in (1, 2, 3):
                if k <= found.most:
                    assert np.asarray(found.labels(k)).shape == SHAPE

    records = ["zarr.json", "leaves/zarr.json"]
    tally = fuzz(anew(tmp_path / "a.zarr"), use, records, outside, VolumeError)
    count("records mutated", sum(tally.values()))


def old_image(path: Path) -> None:
    """OME-Zarr 0.4, which is Zarr 2."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=VOXELS, chunks=(2, 2, 2))
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images(tmp_path, outside, version, count):
    if version == "0.4":
        old_image(tmp_path / "a.zarr")
        records = [".zattrs", ".zgroup", "0/.zarray"]
    else:
        write_image(tmp_path / "a.zarr", VOXELS, Volume(VOXELS, (10.0,) * 3))
        records = ["zarr.json", "0/zarr.json"]

    def use(path: Path) -> None:
        volume = read_volume(path)
        assert all(0 < size < np.inf for size in volume.voxel_size)
        assert np.isfinite(volume.origin).all()
        volume.read(tuple(slice(0, 9) for _ in range(3)))

    tally = fuzz(anew(tmp_path / "a.zarr"), use, records, outside, VolumeError)
    count("records mutated", sum(tally.values()))


def test_models(tmp_path, outside, count):
    config = ModelConfig(
        latent_dim=2, encoder="stacked", grid=2, channels=(2, 3, 2, 4), planes=5, hidden=3
    )
    training = {
        "settings": {"steps": 3}, "seed": 0, "device": "cpu", "seconds": 1.5, "batch_size": 8,
        "volumes": [{"name": "a", "fingerprint": "0f", "shape": [3, 4, 5], "mean": 0.1}],
        "loss": [{"step": 3, "total": 1.5}], "rollbacks": [],
    }  # fmt: skip
    Model(VAE(config).eval(), "custom", training).save(tmp_path / "sound.hypseg")
    tensors, metadata = files.load_tensors(tmp_path / "sound.hypseg")
    (tmp_path / "sound.json").write_text(json.dumps(metadata))
    path = tmp_path / "a.hypseg"

    def make() -> Path:
        shutil.copy(tmp_path / "sound.json", tmp_path / "a.json")
        return tmp_path

    def use(folder: Path) -> None:
        text = (folder / "a.json").read_text(encoding="latin-1")
        save_file(tensors, path, {files._KEY: text, "checksum": files._hash(text, tensors)})
        model = load_model(path)
        side = model.config.input_size
        with torch.inference_mode():
            model.network.encoder(torch.zeros(1, 1, side, side, side))
        model.fingerprint()
        assert all(row["total"] < 1e300 for row in model.training.get("loss", []))

    tally = fuzz(make, use, ["a.json"], outside, ModelError)
    count("records mutated", sum(tally.values()))
