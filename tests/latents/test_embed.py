"""The dense map against encoding every voxel's own patch, and its store on disk."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch.nn.functional import interpolate

from napari_hypseg.jobs import finish
from napari_hypseg.latents import (
    embed,
    embed_job,
    find_latents,
    open_latents,
    store,
)
from napari_hypseg.model import VAE, Model, ModelConfig
from napari_hypseg.volumes.normalize import fit_normalization
from napari_hypseg.volumes.volume import Volume, VolumeError

# The package gives the function of that name, not the module.
embedding = sys.modules["napari_hypseg.latents.embed"]

BOX = (slice(2, 9), slice(0, 11), slice(5, 16))


def _one_by_one(model: Model, volume: Volume) -> np.ndarray:
    """Every voxel's patch, cut from the mirrored volume, resized and encoded by itself."""
    size = model.config.patch_size
    voxels = fit_normalization(volume).apply(volume.data)
    mirrored = np.pad(voxels, size // 2, mode="symmetric")
    points = np.empty((*volume.shape, model.config.latent_dim), np.float32)
    with torch.inference_mode():
        for z, y, x in np.ndindex(*volume.shape):
            patch = torch.from_numpy(mirrored[z : z + size, y : y + size, x : x + size].copy())
            cube = interpolate(patch[None, None], (10, 10, 10), mode="trilinear")
            points[z, y, x] = model.network.encoder(cube).mean[0].numpy()
    return points


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """The same arithmetic on every machine: no bfloat16, unless a test asks for it."""
    monkeypatch.setattr(embedding, "has_fast_bfloat16", lambda device: False)


@pytest.fixture(scope="module")
def small_chunks():
    """Chunks of a few voxels, so that a small volume has many."""
    whole = store._CHUNK
    store._CHUNK = (4, 8, 8)
    yield
    store._CHUNK = whole


@pytest.fixture
def full(model, small_volume, small_chunks) -> np.ndarray:
    return embed(model, small_volume, device="cpu").read()


def test_equals_encoding_every_patch_by_itself(model, small_volume, full):
    expected = _one_by_one(model, small_volume)
    assert float(np.linalg.norm(expected, axis=-1).max()) > 0.8  # some are near the rim
    np.testing.assert_allclose(full, expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_and_said_in_the_store(model, small_volume, full, monkeypatch):
    monkeypatch.setattr(embedding, "has_fast_bfloat16", lambda device: True)
    latents = embed(model, small_volume, device="cpu")
    assert latents.array.attrs["precision"] == "bfloat16"
    error = np.linalg.norm(latents.read() - full, axis=-1)
    # The weights are random: eight bits of mantissa through five layers, a percent or so.
    assert 0 < error.mean() < 0.02 * np.linalg.norm(full, axis=-1).mean()


@pytest.mark.parametrize("patch_size", [1, 3, 9])
@pytest.mark.parametrize("shape", [(3, 7, 5), (1, 1, 12)])
def test_other_patches_and_volumes_smaller_than_a_patch(patch_size, shape):
    torch.manual_seed(0)
    config = ModelConfig(
        latent_dim=2,
        encoder="stacked",
        grid=2,
        hidden=0,
        channels=(2, 2, 4, 4),
        planes=2,
        patch_size=patch_size,
    )
    model = Model(VAE(config).eval(), "custom")
    volume = Volume(np.random.default_rng(0).normal(size=shape))
    got = embed(model, volume, device="cpu").read()
    np.testing.assert_allclose(got, _one_by_one(model, volume), rtol=1e-4, atol=1e-6)


def test_a_hidden_layer_and_the_euclidean_space(small_volume):
    torch.manual_seed(0)
    config = ModelConfig(
        latent_dim=2, encoder="stacked", grid=2, hidden=5, channels=(2, 2, 4, 4), planes=2,
        geometry="euclidean", gyroplane=False, tangent_clip=None,
    )  # fmt: skip
    model = Model(VAE(config).eval(), "custom")
    volume = small_volume.crop((slice(4), slice(6), slice(5)))
    latents = embed(model, volume, device="cpu")
    assert latents.geometry == "euclidean"
    assert latents.array.attrs["precision"] == "float32"
    np.testing.assert_allclose(latents.read(), _one_by_one(model, volume), rtol=1e-4, atol=1e-6)


def test_one_chunk_or_many_give_the_same(model, small_volume, full, monkeypatch):
    monkeypatch.setattr(store, "_CHUNK", (32, 64, 64))
    one = embed(model, small_volume, device="cpu")
    assert len(list(one.chunk_boxes())) == 1
    np.testing.assert_allclose(one.read(), full, rtol=1e-4, atol=1e-6)


# Equal to rounding, not to the bit: matrix products sum in an order that depends on their size.
@pytest.mark.parametrize("stride", [1, 2, 3, 20])
@pytest.mark.parametrize("box", [None, BOX, (slice(-3, None), slice(None, 4), slice(16, 17))])
def test_box_and_stride_give_the_points_of_the_full_map(model, small_volume, full, box, stride):
    latents = embed(model, small_volume, box=box, stride=stride, device="cpu")
    inside = box or (slice(None),) * 3
    expected = full[inside][::stride, ::stride, ::stride]
    assert latents.read().shape == expected.shape
    np.testing.assert_allclose(latents.read(), expected, rtol=1e-4, atol=1e-6)
    assert latents.voxel_size == (10.0 * stride, 8.0 * stride, 9.0 * stride)
    first = [range(n)[s][0] for n, s in zip(small_volume.shape, inside, strict=True)]
    assert latents.origin == (5.0 + first[0] * 10.0, -7.0 + first[1] * 8.0, 0.5 + first[2] * 9.0)
    assert latents.name == "lump"
    assert (latents.shape, latents.dim) == (expected.shape[:3], 2)


def test_a_part_can_be_read(model, small_volume, full):
    latents = embed(model, small_volume, device="cpu")
    np.testing.assert_allclose(latents.read(BOX), full[BOX], rtol=1e-5, atol=1e-6)


def test_as_volume_keeps_the_place(model, small_volume):
    volume = embed(model, small_volume, box=BOX, stride=2, device="cpu").as_volume()
    assert volume.shape == (4, 6, 6)
    assert volume.voxel_size == (20.0, 16.0, 18.0)
    assert volume.origin == (25.0, -7.0, 45.5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"stride": 0}, "the stride must be at least 1, not 0"),
        ({"box": (slice(5, 5), slice(3), slice(3))}, "lump: the box 5:5,None:3,None:3 holds no"),
        ({"device": "gpu"}, "this machine has no device 'gpu'"),
    ],
)
def test_what_can_not_be_mapped(model, small_volume, asked, message):
    with pytest.raises(ValueError, match=message):
        embed(model, small_volume, **asked)


def _mapping(reports):
    """The reports after those on reading the volume."""
    return [p for p in reports if p.stage != "reading the volume"]


def test_progress_counts_voxels(model, small_volume, small_chunks, monkeypatch):
    monkeypatch.setitem(embed_job.__globals__, "_REPORT_EVERY", 0.0)
    monkeypatch.setitem(embed_job.__globals__, "_BLOCK", {"cpu": 16 * 16})
    reports = _mapping(embed_job(model, small_volume, device="cpu"))
    done = [p.done for p in reports]
    assert (done[0], done[-1]) == (0, 13 * 11 * 17)
    assert all(np.diff(done) >= 0)
    assert max(np.diff(done)) <= 2 * 8
    assert {(p.stage, p.total) for p in reports} == {("mapping voxels", 13 * 11 * 17)}


def _job(folder: Path, model: Model, volume: Volume, **options):
    return embed_job(model, volume, device="cpu", store=folder, **options)


def _chunks(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "c").rglob("*") if p.is_file())


def _age(folder: Path) -> None:
    """Date all files back, to see which are written again."""
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))


def _written(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and p.stat().st_mtime > 2e9 / 1.9}


@pytest.fixture
def kept(tmp_path, model, small_volume, small_chunks) -> Path:
    """A finished store whose files all look old."""
    folder = tmp_path / "lump.latents.zarr"
    finish(_job(folder, model, small_volume))
    assert len(_chunks(folder)) == 4 * 2 * 3
    _age(folder)
    return folder


def test_a_store_holds_what_memory_holds(kept, full):
    np.testing.assert_array_equal(zarr.open_array(kept, mode="r")[:], full)


def test_a_finished_store_is_only_opened(kept, model, small_volume, full):
    job = _job(kept, model, small_volume)
    # Checking alone can take a while, too.
    assert len(_mapping(itertools.islice(job, 20))) > 5
    again = finish(job)
    np.testing.assert_array_equal(again.read(), full)
    assert not _written(kept)
    assert again.voxel_size == small_volume.voxel_size


def test_only_missing_chunks_are_computed(kept, model, small_volume, full):
    gone = _chunks(kept)[2::5]
    for chunk in gone:
        chunk.unlink()
    again = finish(_job(kept, model, small_volume))
    assert _written(kept) == set(gone)
    np.testing.assert_array_equal(again.read(), full)


@pytest.mark.parametrize("place", [0, 8, -5, -1])
def test_a_damaged_chunk_is_computed_again(kept, model, small_volume, full, place):
    damaged = _chunks(kept)[7]
    content = bytearray(damaged.read_bytes())
    content[place] ^= 16
    damaged.write_bytes(content)
    os.utime(damaged, (1e9, 1e9))
    latents = open_latents(kept, (*full.shape,), _attributes(kept))
    with pytest.raises(VolumeError, match=r"^lump: its latent points can't be read, "):
        latents.read()
    again = finish(_job(kept, model, small_volume))
    assert _written(kept) == {damaged}
    np.testing.assert_array_equal(again.read(), full)


@pytest.mark.parametrize("size", [0, 3, 40])
def test_a_truncated_chunk_is_computed_again(kept, model, small_volume, full, size):
    damaged = _chunks(kept)[11]
    damaged.write_bytes(damaged.read_bytes()[:size])
    again = finish(_job(kept, model, small_volume))
    np.testing.assert_array_equal(again.read(), full)


def _attributes(folder: Path) -> dict:
    attributes = dict(zarr.open_array(folder, mode="r").attrs)
    del attributes["hypseg_latents"]
    return attributes


def test_a_stopped_map_goes_on(tmp_path, model, small_volume, full, monkeypatch):
    monkeypatch.setitem(embed_job.__globals__, "_REPORT_EVERY", 0.0)
    folder = tmp_path / "latents.zarr"
    job = _job(folder, model, small_volume)
    while next(job).done < 1000:
        pass
    job.close()
    before = _chunks(folder)
    assert 2 < len(before) < 24
    _age(folder)
    again = finish(_job(folder, model, small_volume))
    assert not _written(folder) & set(before)
    np.testing.assert_array_equal(again.read(), full)


def test_what_a_kill_leaves_is_cleaned_up(kept, model, small_volume, full):
    chunk = _chunks(kept)[3]
    chunk.rename(chunk.with_suffix(".5e3f.partial"))
    (kept / "zarr.77aa.partial").write_bytes(b"{")
    again = finish(_job(kept, model, small_volume))
    assert not list(kept.rglob("*.partial"))
    assert _written(kept) == {chunk}
    np.testing.assert_array_equal(again.read(), full)


@pytest.mark.parametrize("left", [[], ["zarr.77aa.partial"]])
def test_a_store_killed_while_it_was_made(tmp_path, model, small_volume, full, left):
    folder = tmp_path / "latents.zarr"
    folder.mkdir()
    for name in left:
        (folder / name).write_bytes(b"{")
    np.testing.assert_array_equal(finish(_job(folder, model, small_volume)).read(), full)
    assert not list(folder.rglob("*.partial"))


def test_a_store_of_another_version_is_refused_and_replaced(kept, model, small_volume, full):
    array = zarr.open_array(kept, mode="r+")
    array.attrs["hypseg_latents"] = array.attrs["hypseg_latents"] - 1
    with pytest.raises(VolumeError, match="no store of latent points of this version"):
        find_latents(kept)
    again = finish(_job(kept, model, small_volume))
    assert set(_chunks(kept)) <= _written(kept)
    np.testing.assert_array_equal(again.read(), full)


@pytest.mark.parametrize("what", ["model", "volume", "stride", "box"])
def test_a_store_of_something_else_is_replaced(kept, model, small_volume, what):
    options = {}
    if what == "model":
        torch.manual_seed(1)
        model = Model(VAE(model.config).eval(), "custom")
    elif what == "volume":
        small_volume = replace(small_volume, data=np.flip(small_volume.data, 0).copy())
    else:
        options = {"stride": 2} if what == "stride" else {"box": BOX}
    again = finish(_job(kept, model, small_volume, **options))
    assert set(_chunks(kept)) == _written(kept) - {kept / "zarr.json"}
    expected = embed(model, small_volume, device="cpu", **options)
    np.testing.assert_array_equal(again.read(), expected.read())


def test_another_place_or_name_maps_nothing_anew(kept, model, small_volume):
    before = find_latents(kept)
    moved = replace(small_volume, name="other", origin=(1.0, 2.0, 3.0), voxel_size=(20.0,) * 3)
    again = finish(_job(kept, model, moved))
    assert not set(_chunks(kept)) & _written(kept)
    for latents in (again, find_latents(kept), before.placed(moved)):
        assert (latents.name, latents.origin) == ("other", (1.0, 2.0, 3.0))
        assert latents.voxel_size == (20.0,) * 3
    assert again.identity == before.identity


def _make_file(path: Path) -> None:
    path.write_bytes(b"mine")


def _make_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("mine")


def _make_group(path: Path) -> None:
    zarr.open_group(path, mode="w").create_array("a", data=np.arange(3))


def _make_array(path: Path) -> None:
    zarr.create_array(path, data=np.arange(3))


def _make_damaged(path: Path) -> None:
    _make_array(path)
    (path / "zarr.json").write_text("{")


@pytest.mark.parametrize(
    "make", [_make_file, _make_folder, _make_group, _make_array, _make_damaged]
)
def test_what_is_in_the_way_stays(tmp_path, model, small_volume, make):
    path = tmp_path / "mine"
    make(path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(VolumeError) as caught:
        finish(_job(path, model, small_volume))
    assert str(caught.value) == f"{path}: something else than a store of latents is in the way"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
