"""Written volumes come back as they were, here and in other programs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image, write_labels

ENDINGS = [".mrc", ".tif", ".ome.tiff", ".zarr", ".ome.zarr"]
PLACE = {"voxel_size": (13.33, 10.52, 7.84), "origin": (-120.5, 0.0, 3300.25)}
RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 100, (5, 6, 7))


def volume_of(data, **place):
    return Volume(data, **(PLACE | place), name="tomo")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "u1", "u2", "i4", "u4", "f2", "f4", "f8", "?", ">f4", ">i2"]
)
def test_image_round_trip(tmp_path, ending, dtype):
    image = RNG.integers(0, 100, (5, 6, 7)).astype(dtype)
    path = tmp_path / f"a{ending}"
    write_image(path, image, volume_of(image))
    back = read_volume(path)
    np.testing.assert_array_equal(back.read().astype("f8"), image.astype("f8"))
    assert (back.voxel_size, back.origin) == (PLACE["voxel_size"], PLACE["origin"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if ending == ".mrc" and dtype in ("i1", "i2", "u2", "f2", "f4"):
        assert back.data.dtype == np.dtype(dtype)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("top", "mrc", "other"),
    [(1, "i1", "u1"), (127, "i1", "u1"), (128, "i2", "u1"), (256, "i2", "u2"),
     (32767, "i2", "u2"), (32768, "u2", "u2"), (65535, "u2", "u2")],
)  # fmt: skip
def test_labels_take_the_smallest_type(tmp_path, ending, top, mrc, other):
    labels = LABELS.clip(0, top)
    labels[-1, -1, -1] = top
    path = tmp_path / f"a{ending}"
    write_labels(path, labels, volume_of(labels))
    back = read_volume(path)
    np.testing.assert_array_equal(back.read(), labels)
    assert back.data.dtype == np.dtype(mrc if ending == ".mrc" else other)
    assert (back.voxel_size, back.origin) == (PLACE["voxel_size"], PLACE["origin"])


@pytest.mark.filterwarnings("ignore:.*doubtful voxel size")
@pytest.mark.parametrize("ending", [".mrc", ".tif", ".zarr"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    sizes=st.tuples(*[st.floats(0.1, 1e5)] * 3),
    origin=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
)
def test_place_round_trip(tmp_path, ending, shape, sizes, origin):
    """Any place comes back to the digits of the format, and a second time exactly."""
    path = tmp_path / f"a{ending}"
    image = RNG.normal(size=shape).astype(np.float32)
    write_image(path, image, volume_of(image, voxel_size=sizes, origin=origin))
    back = read_volume(path)
    digits = 3e-7 if ending == ".mrc" else 1e-14
    np.testing.assert_allclose(back.voxel_size, sizes, rtol=digits)
    np.testing.assert_allclose(back.origin, origin, rtol=digits, atol=1e-37)
    np.testing.assert_array_equal(back.read(), image)
    write_image(path, image, back)
    again = read_volume(path)
    assert (again.voxel_size, again.origin) == (back.voxel_size, back.origin)


def test_mrcfile_reads_it(tmp_path):
    path = tmp_path / "a.mrc"
    image = RNG.normal(3, 2, (5, 6, 7)).astype(np.float32)
    write_image(path, image, volume_of(image))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, image)
        assert mrc.is_volume()
        assert int(mrc.header.ispg) == 1
        assert mrc.voxel_size.tolist() == pytest.approx(PLACE["voxel_size"][::-1], rel=1e-6)
        assert mrc.header.origin.tolist() == PLACE["origin"][::-1]
        assert float(mrc.header.rms) == pytest.approx(image.std(), rel=1e-5)
        assert float(mrc.header.dmean) == pytest.approx(image.mean(), rel=1e-5)
        assert (mrc.header.dmin, mrc.header.dmax) == (image.min(), image.max())


def test_tifffile_reads_it(tmp_path):
    path = tmp_path / "a.tif"
    write_labels(path, LABELS, volume_of(LABELS))
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tif.asarray(), LABELS)
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        across, unit = tif.pages[0].tags["XResolution"].value, tif.pages[0].tags["ResolutionUnit"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"] == list(PLACE["voxel_size"])
    assert pixels["PhysicalSizeZUnit"] == "Å"
    assert [plane["PositionZ"] for plane in pixels["Plane"]] == pytest.approx(
        [-120.5 + 13.33 * z for z in range(5)]
    )
    assert 1e8 * across[1] / across[0] == pytest.approx(7.84)
    assert unit.value == 3


def test_one_slice_comes_back_from_every_format(tmp_path):
    image = RNG.normal(size=(1, 6, 7)).astype(np.float32)
    for ending in ENDINGS:
        write_image(tmp_path / f"a{ending}", image, volume_of(image))
        back = read_volume(tmp_path / f"a{ending}")
        assert (back.shape, back.voxel_size) == ((1, 6, 7), PLACE["voxel_size"])


@pytest.mark.parametrize("labels", [False, True])
def test_zarr_levels(tmp_path, labels):
    """Three levels of an odd shape against float64 loops; their places against geometry."""
    shape = (3, 5, 601)
    data = RNG.integers(0, 200, shape).astype(np.uint8)
    path = tmp_path / "a.zarr"
    (write_labels if labels else write_image)(path, data, volume_of(data))
    group = zarr.open_group(path, mode="r")
    ome = dict(group.attrs["ome"])
    assert ome["version"] == "0.5"
    assert ("image-label" in ome) == labels
    assert [axis["unit"] for axis in ome["multiscales"][0]["axes"]] == ["angstrom"] * 3
    assert [group[str(i)].shape for i in range(3)] == [shape, (2, 3, 301), (1, 2, 151)]
    assert len(ome["multiscales"][0]["datasets"]) == 3
    fine = data.astype(float)
    for level in (1, 2):
        coarse = group[str(level)][:]
        size = [-(-n // 2) for n in fine.shape]
        for index in np.ndindex(*size):
            if labels:
                expected = fine[tuple(2 * i for i in index)]
            else:
                edges = [
                    (2 * i, min(2 * i + 1, n - 1)) for i, n in zip(index, fine.shape, strict=True)
                ]
                corners = [fine[z, y, x] for z in edges[0] for y in edges[1] for x in edges[2]]
                expected = round(sum(corners) / 8)
            assert coarse[index] == expected
        fine = coarse.astype(float)
        back = read_volume(path, level=level)
        assert back.voxel_size == pytest.approx([2**level * s for s in PLACE["voxel_size"]])
        shift = 0 if labels else (2**level - 1) / 2
        assert back.origin == pytest.approx(
            [o + shift * s for s, o in zip(*PLACE.values(), strict=True)]
        )


@pytest.mark.parametrize("labels", [False, True])
def test_zarr_is_valid_for_the_ome_models(tmp_path, labels):
    models = pytest.importorskip("ome_zarr_models.v05.image")
    data = RNG.integers(0, 9, (40, 41, 300)).astype(np.int16)
    path = tmp_path / "a.zarr"
    (write_labels if labels else write_image)(path, data, volume_of(data))
    image = models.Image.from_zarr(zarr.open_group(path, mode="r"))
    levels = image.ome_attributes.multiscales[0].datasets
    assert levels[0].coordinateTransformations[0].scale == list(PLACE["voxel_size"])
    assert levels[0].coordinateTransformations[1].translation == list(PLACE["origin"])


def test_writing_from_lazy_arrays_in_many_slabs(tmp_path, monkeypatch):
    """Slab borders don't show: a Zarr array larger than one slab and one block."""
    data = RNG.normal(size=(150, 20, 140)).astype(np.float32)
    lazy = zarr.create_array(tmp_path / "lazy", data=data, chunks=(16, 16, 16))
    monkeypatch.setattr("napari_hypseg.volumes.mrc.slabs", _thin_slabs)
    monkeypatch.setattr("napari_hypseg.volumes.tiff.slabs", _thin_slabs)
    for ending in (".mrc", ".tif", ".zarr"):
        write_image(tmp_path / f"a{ending}", lazy, volume_of(data))
        np.testing.assert_array_equal(read_volume(tmp_path / f"a{ending}").read(), data)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert float(mrc.header.rms) == pytest.approx(data.std(), rel=1e-5)


def _thin_slabs(shape):
    for z in range(0, shape[0], 7):
        yield slice(z, min(z + 7, shape[0])), slice(0, shape[1]), slice(0, shape[2])


@pytest.mark.parametrize(
    ("name", "labels", "reason"),
    [
        ("a.mrc", LABELS + 65500, "65535"),
        ("a.mrc", LABELS - 1, "start at 0"),
        ("a.tif", LABELS / 2, "whole numbers"),
        ("a.tif", LABELS[1:], "shape"),
        ("a.png", LABELS, "ending"),
        ("a.mrc.gz", LABELS, "ending"),
        ("none/a.mrc", LABELS, "can't be written"),
        ("none/a.zarr/b.tif", LABELS, "can't be written"),
        ("folder/c.mrc", LABELS, "is a folder"),
        ("folder/d.zarr", LABELS, "something else than Zarr"),
    ],
)
def test_refused_in_a_sentence(tmp_path, name, labels, reason):
    for inside in ("c.mrc", "d.zarr"):
        (tmp_path / "folder" / inside).mkdir(parents=True)
    (tmp_path / "folder" / "d.zarr" / "precious.txt").write_text("keep")
    with pytest.raises(VolumeError) as caught:
        write_labels(tmp_path / name, labels, volume_of(LABELS))
    assert reason in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert {p.name for p in tmp_path.iterdir()} == {"folder"}
    assert (tmp_path / "folder" / "d.zarr" / "precious.txt").read_text() == "keep"


class _Breaking:
    """An image whose last slices can't be read."""

    shape, dtype = (40, 6, 7), np.dtype(np.float32)

    def __getitem__(self, box):
        raise OSError("the disk is gone")


@pytest.mark.parametrize("ending", [".mrc", ".tif", ".zarr"])
def test_failure_leaves_the_old_file(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    write_labels(path, LABELS, volume_of(LABELS))
    before = _digest(path)
    like = volume_of(np.zeros(_Breaking.shape, np.float32))
    with pytest.raises(VolumeError, match="the disk is gone"):
        write_image(path, _Breaking(), like)
    assert _digest(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    write_labels(path, LABELS.clip(0, 3), volume_of(LABELS))
    assert read_volume(path).read().max() == 3
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".mrc", ".tif"])
def test_file_can_be_written_over_while_it_is_open(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    write_labels(path, LABELS, volume_of(LABELS))
    opened = read_volume(path)
    write_labels(path, opened.read() + 1, opened)
    np.testing.assert_array_equal(read_volume(path).read(), LABELS + 1)


def _digest(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    held = b"".join(str(p).encode() + p.read_bytes() for p in files if p.is_file())
    return hashlib.sha256(held).hexdigest()
