"""Every file of the shared format collection opens as expected or is refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from napari_hypseg.volumes import VolumeError, read_volume

# (file, shape, type, voxel size, origin, what the warning says)
OPEN = [
    ("mrc/EMD-3001.map", (73, 25, 43), "f4", (33.03 / 72, 4.71 / 12, 17.93 / 40),
     (0, -12 * 4.71 / 12, -21 * 17.93 / 40), "skewed cell"),
    ("mrc/EMD-3197.map", (20, 20, 20), "f4", (11.4,) * 3, (0, 0, -22.8), None),
    ("mrc/EMD-3197.map.bz2", (20, 20, 20), "f4", (11.4,) * 3, (0, 0, -22.8), None),
    ("mrc/emd_3197.map.gz", (20, 20, 20), "f4", (11.4,) * 3, (0, 0, -22.8), None),
    ("mrc/float16.mrc", (1, 64, 64), "f2", (230.1 / 64,) * 3, (0, 0, 0), "along z,"),
    ("mrc/mrcfile_fei1_cut128.mrc", (1, 128, 128), "u2", (0.8537755,) * 3, (0, 0, 0),
     "along z,"),
    ("mrc/mrcfile_fei2_cut128.mrc", (1, 128, 128), "u2", (0.66655135,) * 3, (0, 0, 0),
     "along z,"),
    ("mrc/tardis_mrc2D.mrc", (1, 64, 32), "u1", (23.2,) * 3, (0, 0, 0), "MAP stamp"),
    ("mrc/tardis_rec3D.rec", (78, 64, 32), "u1", (23.2,) * 3, (0, 0, 0), "MAP stamp"),
    ("mrc/visfd_test_blob_detect.rec", (27, 32, 22), "i1", (19.315384,) * 3,
     (-1661.1233, 1970.1689, -405.6228), None),
    ("mrc/visfd_test_blob_detect_mask.rec", (27, 32, 22), "i1", (19.3154,) * 3,
     (2679.6289, 5212.1631, 4323.2305), None),
    ("mrc/visfd_test_image_membrane.rec", (16, 16, 16), "i2", (19.733334,) * 3,
     (700.53333, -10648.699, -7995.9463), None),
    ("ome/bioimagetools_0.4/valid/image-03.zarr", (2, 100, 100), "f8", (1e4,) * 3, (0, 0, 0), None),
    ("ome/bioimagetools_0.4/valid/image-04.zarr", (2, 64, 64), "f8", (1e4,) * 3, (0, 0, 0), None),
    ("ome/bmcv_0.5_input9.zarr", (2, 100, 100), "?", (1e4,) * 3, (0, 0, 0), None),
    ("ome/bmcv_0.5_float32_5z_16y_20x-no_z_spacing.zarr", (5, 16, 20), "f4", (1e7,) * 3,
     (0, 0, 0), None),
]  # fmt: skip
VALID, INVALID = "ome/bioimagetools_0.4/valid", "ome/bioimagetools_0.4/invalid"
REFUSED = [
    ("ome/SOURCE.txt", "ending"),
    ("ome/simple_0.4", "YX"),
    ("ome/simple_0.5", "YX"),
    ("ome/simple_0.5.zip", "YX"),
    ("ome/bmcv_multiseries.ome.tiff", "holds 6 images"),
    ("ome/bmcv_res.ome.tiff", "4 colour samples"),
    ("ome/impy_imagej_tzcyx.tif", "4 time points and 2 channels"),
    ("ome/ometypes_ome.tiff", "2 channels"),
    (VALID, "holds 4 images, choose one: image-01.zarr, image-02.zarr, image-03.zarr"),
    (f"{VALID}/image-01.zarr", "YX"),
    (f"{VALID}/image-02.zarr", "YX"),
    (f"{VALID}/plate-01.zarr", "wells A/1, A/2, B/1, B/2"),
    ("ome/bioimagetools_0.4/warning/image-01.zarr", "YX"),
    (f"{INVALID}/image-01.zarr", "no multiscales"),
    (f"{INVALID}/image-02.zarr", "empty"),
    (f"{INVALID}/image-03.zarr", "level '0' is missing"),
    (f"{INVALID}/image-04.zarr", "3 axes"),
    ("ome/all_0.6", "no OME-Zarr image"),
    ("ome/all_0.6/base_array", "no OME-Zarr image"),
    ("ome/all_0.6/basic", "holds 4 images"),
    *(
        (f"ome/all_0.6/{name}.zarr", "OME-Zarr 0.6.dev1")
        for name in (
            "axis_dependent/mapAxis", "basic/identity", "basic/scale", "basic/translation",
            "basic/sequenceScaleTranslation", "simple/affine", "simple/rotation",
            "simple/anisotropic_rotation",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "size", "origin", "warning"), OPEN, ids=[row[0] for row in OPEN]
)
def test_opens(shared_data, name, shape, dtype, size, origin, warning):
    path = shared_data / "formats" / name
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        volume = read_volume(path)
        voxels = volume.read()
    said = [str(item.message) for item in caught]
    assert len(said) == (warning is not None)
    if warning:
        assert warning in said[0]
        assert str(path) in said[0]
        assert "\n" not in said[0]
    assert volume.shape == voxels.shape == shape
    assert voxels.dtype == np.dtype(dtype)
    np.testing.assert_allclose(volume.voxel_size, size, rtol=1e-5)
    np.testing.assert_allclose(volume.origin, origin, rtol=1e-5)


@pytest.mark.parametrize(("name", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refuses(shared_data, name, reason):
    path = shared_data / "formats" / name
    with pytest.raises(VolumeError) as caught:
        read_volume(path)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_every_file_has_an_expectation(shared_data):
    folder = shared_data / "formats"
    known = {row[0] for row in OPEN} | {row[0] for row in REFUSED}
    files = [p for room in ("mrc", "ome") for p in (folder / room).iterdir()]
    files += folder.glob("ome/**/*.zarr")
    missing = {
        str(path.relative_to(folder)) for path in files if not path.name.startswith("LICENSE")
    } - known
    assert missing - {"ome/bioimagetools_0.4"} == set()


@pytest.mark.parametrize("name", [row[0] for row in OPEN if row[0].startswith("mrc/EMD-3197")])
def test_packed_map_equals_plain(shared_data, name):
    plain = mrcfile.read(shared_data / "formats/mrc/EMD-3197.map")
    np.testing.assert_array_equal(read_volume(shared_data / "formats" / name).read(), plain)


@pytest.mark.filterwarnings("ignore:.*skewed cell")
def test_axis_order_of_a_map_is_undone(shared_data):
    path = shared_data / "formats/mrc/EMD-3001.map"
    voxels = read_volume(path).read()
    stored = mrcfile.read(path)  # sections y, rows x, columns z
    for z, y, x in [(0, 0, 0), (72, 1, 2), (5, 24, 42)]:
        assert voxels[z, y, x] == stored[y, x, z]


@pytest.mark.filterwarnings("ignore:.*MAP stamp")
def test_old_bytes_are_unsigned(shared_data):
    voxels = read_volume(shared_data / "formats/mrc/tardis_rec3D.rec").read()
    # The range that the header itself gives.
    assert (voxels.min(), voxels.max()) == (141, 163)


def test_microtubule(shared_data):
    folder = shared_data / "microtubule_cryoet"
    mrc, tif = read_volume(folder / "13pf_MT.mrc"), read_volume(folder / "13pf_MT.tif")
    assert mrc.voxel_size == tif.voxel_size == (10.52,) * 3
    assert mrc.origin == tif.origin == (0.0,) * 3
    assert mrc.data.dtype == np.uint16
    assert not isinstance(mrc.data, np.ndarray)
    assert (mrc.name, mrc.shape) == ("13pf_MT", (36, 206, 94))
    np.testing.assert_array_equal(mrc.read(), tif.read())
    np.testing.assert_array_equal(tif.read(), tifffile.imread(folder / "13pf_MT.tif"))


def test_fly(shared_data):
    path = shared_data / "fly_fibsem" / "train-image.h5"
    with pytest.warns(UserWarning, match="give the right voxel size"):
        named = read_volume(path, dataset="stack")
    only = read_volume(path, voxel_size=100)
    assert only.shape == (50, 100, 200)
    assert only.voxel_size == (100.0,) * 3
    np.testing.assert_array_equal(only.read(), named.read())
    truth = read_volume(shared_data / "fly_fibsem" / "train-gt.lzf.h5", voxel_size=100)
    assert truth.read((slice(0, 2),) * 3).dtype == np.int32


def test_glioma(shared_data):
    nibabel = pytest.importorskip("nibabel")
    path = shared_data / "glioma_mri" / "TCGA-DU-7294_consensus.nii.gz"
    volume = read_volume(path)
    assert volume.shape == (155, 240, 240)
    assert volume.voxel_size == (1e7,) * 3
    assert volume.name == "TCGA-DU-7294_consensus"
    stored = np.asanyarray(nibabel.load(path).dataobj)
    np.testing.assert_array_equal(volume.read(), stored.transpose(2, 1, 0))


def test_level_of_a_real_pyramid(shared_data):
    path = shared_data / "formats/ome/bmcv_0.5_input9.zarr"
    # Its z is not halved from level to level.
    with pytest.warns(UserWarning, match="more than 5 times as long one way"):
        coarse = read_volume(path, level=3)
    assert coarse.voxel_size == pytest.approx((1e4, 8.333333333333334e4, 8.333333333333334e4))
    np.testing.assert_array_equal(coarse.read(), zarr.open(path / "3", mode="r")[:])
    with pytest.raises(VolumeError, match="5 resolution levels, there is no level 5"):
        read_volume(path, level=5)


@pytest.mark.parametrize(
    "name",
    [
        "formats/mrc/EMD-3197.map", "formats/mrc/EMD-3197.map.bz2", "formats/mrc/emd_3197.map.gz",
        "microtubule_cryoet/13pf_MT.tif", "fly_fibsem/train-image.h5",
        "fly_fibsem/train-gt.lzf.h5", "glioma_mri/TCGA-DU-7294_consensus.nii.gz",
        "formats/ome/simple_0.5.zip",
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", [0.0, 0.01, 0.6, 0.97])
def test_truncated_file_is_refused(shared_data, tmp_path, name, part):
    whole = (shared_data / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(VolumeError) as caught:
        read_volume(path, voxel_size=1).read()
    assert path.name in str(caught.value) or "voxels can't be read" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_name_with_capital_ending(shared_data, tmp_path):
    packed = gzip.compress((shared_data / "formats/mrc/EMD-3197.map").read_bytes())
    (tmp_path / "Big.MRC.GZ").write_bytes(packed)
    volume = read_volume(tmp_path / "Big.MRC.GZ")
    assert (volume.name, volume.voxel_size) == ("Big", (11.4,) * 3)
    (tmp_path / "a.rec.BZ2").write_bytes(bz2.compress(gzip.decompress(packed)))
    assert read_volume(tmp_path / "a.rec.BZ2").fingerprint() == volume.fingerprint()
