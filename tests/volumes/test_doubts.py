"""Voxel sizes without sense are told and marked, others are not; tilt series are told."""

from __future__ import annotations

import warnings

import mrcfile
import numpy as np
import pytest
import tifffile

from napari_hypseg.volumes import Volume, read_volume, write_image

VOXELS = np.random.default_rng(0).normal(size=(24, 10, 12)).astype(np.float32)


def mrc(path, size=10.0, voxels=VOXELS, extended=None, **header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(voxels)
            file.voxel_size = size
            if extended is not None:
                file.set_extended_header(extended)
            for name, value in header.items():
                file.header[name] = value
    return path


def imagej(path, resolution, **metadata):
    tifffile.imwrite(
        path, VOXELS, imagej=True, resolution=(resolution, resolution),
        metadata={"axes": "ZYX", **metadata},
    )  # fmt: skip
    return path


SENSELESS = {
    "mz of 1": (lambda p: mrc(p / "a.mrc", mz=1), (10,) * 3, "voxel size along z, 10 angstrom"),
    "infinite": (lambda p: mrc(p / "a.mrc", (np.inf, 8, 10)), (10, 8, 8), "along x, 8 angstrom"),
    "none": (lambda p: mrc(p / "a.mrc", 0), (1,) * 3, "voxel size along z, y, x, 1 angstrom"),
    "long": (lambda p: mrc(p / "a.mrc", (10, 10, 60)), (60, 10, 10), "60 x 10 x 10 angstrom"),
    "Fiji inch": (lambda p: imagej(p / "a.tif", 72.0, unit="inch"), (1,) * 3, "voxel size along z"),
    "no spacing": (lambda p: imagej(p / "a.tif", 2.0, unit="nm"), (10, 5, 5), "1 nm is taken"),
}


@pytest.mark.parametrize("kind", SENSELESS)
def test_a_senseless_voxel_size_is_told(tmp_path, kind):
    make, size, reason = SENSELESS[kind]
    path = make(tmp_path)
    with pytest.warns(UserWarning, match=rf"a\.\w+: it .*size|a\.\w+: .*{reason}") as caught:
        volume = read_volume(path)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert reason in said
    assert said.endswith(": give the right voxel size")
    # As a dock says it, too.
    assert "--" not in said
    assert volume.voxel_size == pytest.approx(size)
    assert volume.doubts
    # Whoever gives one has no doubts, and a part has those of the whole.
    assert read_volume(path, voxel_size=12).doubts == ()
    assert volume.crop((slice(0, 3),) * 3).doubts == volume.doubts


@pytest.mark.parametrize(
    "make",
    [
        lambda p: mrc(p / "a.mrc"),
        lambda p: mrc(p / "a.mrc", (10, 10, 40)),
        lambda p: imagej(p / "a.tif", 2.0, unit="nm", spacing=0.5),
        lambda p: imagej(p / "a.tif", 2540000.0, unit="inch", spacing=1 / 2540000),
    ],
)
def test_sensible_ones_are_not_doubted(tmp_path, make):
    assert read_volume(make(tmp_path)).doubts == ()


ANGLES = np.linspace(-6000, 6000, 24).astype("<i2").view("V48")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ts.st", {"ispg": 0}),
        ("ts.preali", {"ispg": 0}),
        ("ts_ali.ali", {"ispg": 0}),
        ("ts.mrc", {"ispg": 0, "extended": ANGLES, "exttyp": b"SERI"}),
    ],
)
def test_a_tilt_series_is_told(tmp_path, name, header):
    with pytest.warns(UserWarning, match="tilt series, images rather than a volume"):
        volume = read_volume(mrc(tmp_path / name, **header))
    assert volume.shape == VOXELS.shape


@pytest.mark.parametrize("name", ["tomogram.st", "tomogram.mrcs", "tomogram.preali", "a.rec"])
def test_a_volume_by_any_name_is_none(tmp_path, name):
    """Its header says that it is a volume."""
    np.testing.assert_array_equal(read_volume(mrc(tmp_path / name)).read(), VOXELS)


def test_what_is_written_is_not_doubted(tmp_path):
    for ending in (".mrc", ".tif", ".zarr"):
        path = tmp_path / f"a{ending}"
        write_image(path, VOXELS, Volume(VOXELS, (40.0, 10.0, 10.0)))
        assert read_volume(path).doubts == ()
