"""Opening TIFF, OME-Zarr, NIfTI and HDF5 files made by other libraries, and refusing them."""

from __future__ import annotations

import functools
import http.server
import json
import pickle
import shutil
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_hypseg.volumes import READABLE_SUFFIXES, Volume, VolumeError, read_volume, write_image
from napari_hypseg.volumes.contents import LazyView
from napari_hypseg.volumes.units import angstroms

VOXELS = np.arange(7 * 8 * 9, dtype=np.uint16).reshape(7, 8, 9)
no_size = pytest.mark.filterwarnings("ignore:.*no valid voxel size")


def refused(path, **options):
    with pytest.raises(VolumeError) as caught:
        read_volume(path, **options).read()
    said = str(caught.value)
    assert "\n" not in said
    assert path.name in said
    return said


@pytest.mark.parametrize("suffix", READABLE_SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage" * 1000,
        pickle.dumps(list(range(5000))),
        np.random.default_rng(1).bytes(5000),
        b"II*\0" + bytes(3000),
        b"\x89HDF\r\n\x1a\n" + bytes(3000),
        b"\x1f\x8b" + bytes(300),
        b"BZh9" + bytes(300),
        b"PK\x03\x04" + bytes(300),
    ],
    ids=["empty", "garbage", "pickle", "noise", "tiff", "hdf5", "gzip", "bzip2", "zip"],
)
def test_garbage_is_refused_in_a_sentence(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path)


def test_wrong_places(tmp_path):
    assert "no such file" in refused(tmp_path / "a.mrc")
    assert "no such file" in refused(tmp_path / "a.zarr")
    (tmp_path / "a.xyz").write_bytes(b"1")
    assert ".mrc" in refused(tmp_path / "a.xyz")
    (tmp_path / "b.mrc").mkdir()
    assert "no OME-Zarr image" in refused(tmp_path / "b.mrc")
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, photometric="minisblack")
    assert "no level 1" in refused(tmp_path / "a.tif", level=1)
    assert "no part 'x'; it holds one volume" in refused(tmp_path / "a.tif", dataset="x")


@pytest.mark.parametrize("size", [0, -1, float("nan"), (1, 2, 0)])
def test_senseless_given_voxel_size(tmp_path, size):
    with pytest.raises(VolumeError, match="must be positive"):
        read_volume(tmp_path / "a.tif", voxel_size=size)


@pytest.mark.parametrize(
    ("unit", "length"),
    [
        ("Å", 1), ("\u212b", 1), ("Angstrom", 1), ("A", 1), ("nm", 10), ("nanometers", 10),
        ("µm", 1e4), ("μm", 1e4), ("um", 1e4), ("\\u00B5m", 1e4), ("\\u00b5m", 1e4),
        ("\\u03BCm", 1e4), ("micron", 1e4), ("microns", 1e4), ("micrometre", 1e4), ("mm", 1e7),
        ("cm", 1e8), ("m", 1e10), ("inch", 2.54e8), (" nm ", 10), ("pixel", None), ("", None),
        ("s", None), ("\\u00C5", 1),
    ],
)  # fmt: skip
def test_units(unit, length):
    assert angstroms(unit) == length


# TIFF


@pytest.mark.parametrize("unit", ["nm", "um", "\\u00B5m", "mm", "cm", "inch", "\\u00C5"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_imagej_tiff(tmp_path, unit, compression):
    path = tmp_path / "a.TIF"
    metadata = {"axes": "ZYX", "unit": unit, "spacing": 0.38}
    tifffile.imwrite(
        path, VOXELS, imagej=True, resolution=(1 / 0.2, 1 / 0.3), metadata=metadata,
        compression=compression,
    )  # fmt: skip
    volume = read_volume(path)
    one = angstroms(unit)
    np.testing.assert_allclose(volume.voxel_size, (0.38 * one, 0.3 * one, 0.2 * one), rtol=1e-7)
    np.testing.assert_array_equal(volume.read(), VOXELS)
    assert not isinstance(volume.data, np.ndarray)
    box = (slice(1, 3), slice(2, 8), slice(0, 5))
    np.testing.assert_array_equal(volume.read(box), VOXELS[box])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_plain_tiff_has_no_voxel_size(tmp_path, compression, bigtiff):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(
        path, VOXELS, photometric="minisblack", compression=compression, bigtiff=bigtiff
    )
    with pytest.warns(UserWarning, match=r"a\.tiff: .* 1 angstrom .*give the right voxel size"):
        volume = read_volume(path)
    assert volume.voxel_size == (1.0,) * 3
    np.testing.assert_array_equal(volume.read(), VOXELS)
    assert read_volume(path, voxel_size=5).voxel_size == (5.0,) * 3


@no_size
@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        ("CENTIMETER", 1e6, 100.0),
        ("INCH", 254000, 1000.0),
        ("INCH", 72, 1.0),
        ("NONE", 300, 1.0),
    ],
)
def test_resolution_tags(tmp_path, unit, resolution, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, VOXELS, photometric="minisblack", resolution=(resolution, resolution),
        resolutionunit=unit, metadata=None,
    )  # fmt: skip
    np.testing.assert_allclose(read_volume(path).voxel_size, (expected,) * 3, rtol=1e-7)


@no_size
def test_pages_written_one_by_one(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for page in VOXELS:
            tif.write(page, contiguous=False, metadata=None)
    np.testing.assert_array_equal(read_volume(path).read(), VOXELS)
    whole = path.read_bytes()
    for part in (0.2, 0.5, 0.8, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        refused(path)


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((8, 9), {}, "not a volume"),
        ((8, 9, 3), {"photometric": "rgb"}, "3 colour samples"),
        ((7, 8, 9, 3), {"photometric": "rgb"}, "3 colour samples"),
        ((5, 7, 8, 9), {"imagej": True, "metadata": {"axes": "TZYX"}}, "5 time points"),
        ((7, 2, 8, 9), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "2 channels"),
        ((5, 7, 2, 8, 9), {"ome": True, "metadata": {"axes": "TZCYX"}}, "points and 2 channels"),
    ],
)
def test_tiff_that_is_no_volume(tmp_path, shape, options, reason):
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(path, np.zeros(shape, np.uint8), **options)
    assert reason in refused(path)


def test_one_channel_and_time_point_open(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, VOXELS[None, :, None], photometric="minisblack", compression="zlib",
        metadata={
            "axes": "TZCYX", "PhysicalSizeX": 1.5, "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 2.5, "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.005,
            "Plane": {"PositionX": [3.0] * 7, "PositionXUnit": ["nm"] * 7,
                      "PositionY": [9.0] * 7, "PositionYUnit": ["reference frame"] * 7},
        },
    )  # fmt: skip
    volume = read_volume(path)
    assert volume.name == "a"
    assert volume.voxel_size == (50.0, 25.0, 15.0)
    assert volume.origin == (0.0, 0.0, 30.0)
    np.testing.assert_array_equal(volume.read(), VOXELS)


def test_broken_ome_xml_opens_with_a_word(tmp_path):
    path = tmp_path / "a.tif"
    description = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/"><Im</OME>'
    tifffile.imwrite(path, VOXELS, photometric="minisblack", description=description, metadata=None)
    with pytest.warns(UserWarning, match=r"has a fault: .*OME.*; it gives no valid voxel size"):
        volume = read_volume(path)
    np.testing.assert_array_equal(volume.read(), VOXELS)


def test_complex_voxels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS.astype(np.complex64), photometric="minisblack")
    assert "complex64" in refused(tmp_path / "a.tif")


# OME-Zarr


def zarr_image(path, voxels, axes, *, version="0.5", steps=None, extra=None):
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    group.create_array("0", data=voxels, chunks=tuple(min(4, n) for n in voxels.shape))
    scale = [4.0 if unit == "angstrom" else 1.0 for _, unit in axes]
    steps = steps or [{"type": "scale", "scale": scale}]
    image = {
        "version": version,
        "axes": [{"name": name} | ({"unit": unit} if unit else {}) for name, unit in axes],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    } | (extra or {})
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [image]
    return path


NM = [("z", "nanometer"), ("y", "nanometer"), ("x", "angstrom")]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zarr_place(tmp_path, version):
    """Scale and translation of the level, then those of the image, by hand."""
    steps = [
        {"type": "scale", "scale": [1.0, 2.0, 10.0]},
        {"type": "translation", "translation": [10.0, 20.0, 30.0]},
    ]
    extra = {
        "coordinateTransformations": [
            {"type": "scale", "scale": [2.0, 2.0, 2.0]},
            {"type": "translation", "translation": [1.0, 1.0, 1.0]},
        ]
    }
    path = zarr_image(tmp_path / "a.zarr", VOXELS, NM, version=version, steps=steps, extra=extra)
    volume = read_volume(f"{path}/")
    assert (volume.name, volume.voxel_size) == ("a", (20.0, 40.0, 20.0))
    assert volume.origin == (210.0, 410.0, 61.0)
    np.testing.assert_array_equal(volume.read(), VOXELS)


def test_zarr_other_axes(tmp_path):
    axes = [("t", None), ("c", None), *NM]
    path = zarr_image(tmp_path / "a.zarr", VOXELS[None, None], axes)
    volume = read_volume(path)
    box = (slice(1, 5), slice(0, 3), slice(2, 9))
    assert volume.shape == VOXELS.shape
    np.testing.assert_array_equal(volume.read(box), VOXELS[box])
    many = zarr_image(tmp_path / "b.zarr", np.stack([VOXELS, VOXELS])[None], axes)
    assert "2 channels" in refused(many)


def test_zarr_axes_in_another_order(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS.transpose(2, 0, 1), [NM[2], NM[0], NM[1]])
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.read(), VOXELS)
    assert volume.voxel_size == (10.0, 10.0, 4.0)


def test_zarr_without_unit(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS, [(name, None) for name in "zyx"])
    with pytest.warns(UserWarning, match="read as angstrom"):
        assert read_volume(path).voxel_size == (1.0,) * 3


def test_zarr_folders(tmp_path):
    for name in ("one.zarr", "two.zarr"):
        zarr_image(tmp_path / "set" / name, VOXELS, NM)
    assert "choose one: one.zarr, two.zarr" in refused(tmp_path / "set")
    shutil.rmtree(tmp_path / "set" / "two.zarr")
    assert read_volume(tmp_path / "set").shape == VOXELS.shape
    with pytest.warns(UserWarning, match="no valid voxel size"):
        bare = read_volume(tmp_path / "set" / "one.zarr" / "0")
    np.testing.assert_array_equal(bare.read(), VOXELS)


def test_zarr_transformation_that_a_volume_cannot_hold(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS, NM, steps=[{"type": "affine"}])
    assert "'affine'" in refused(path)


def test_zarr_damaged_chunk_is_named(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS, NM)
    next(p for p in (path / "0" / "c").rglob("*") if p.is_file()).write_bytes(b"x")
    volume = read_volume(path)
    with pytest.raises(VolumeError, match=r"^a: its voxels can't be read"):
        volume.read()


def test_zarr_damaged_metadata(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS, NM)
    meta = json.loads((path / "zarr.json").read_text())
    whole = json.dumps(meta)
    for key in ("axes", "datasets"):
        broken = json.loads(whole)
        del broken["attributes"]["ome"]["multiscales"][0][key]
        (path / "zarr.json").write_text(json.dumps(broken))
        refused(path)
    (path / "zarr.json").write_text(whole[:50])
    refused(path)


def test_zarr_zip_and_url(tmp_path):
    path = zarr_image(tmp_path / "a.zarr", VOXELS, NM)
    shutil.make_archive(str(path), "zip", path)
    packed = read_volume(tmp_path / "a.zarr.zip")
    np.testing.assert_array_equal(packed.read(), VOXELS)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        root = f"http://127.0.0.1:{server.server_port}"
        volume = read_volume(f"{root}/a.zarr")
        np.testing.assert_array_equal(volume.read(), VOXELS)
        assert (volume.name, volume.voxel_size) == ("a", (10.0, 10.0, 4.0))
        with pytest.raises(VolumeError, match="nothing"):
            read_volume(f"{root}/nothing.zarr")
    finally:
        server.shutdown()
        server.server_close()


# HDF5


@no_size
def test_hdf5_choice(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw/volume"] = VOXELS
        file["table"] = np.zeros((3, 2))
    np.testing.assert_array_equal(read_volume(path).read(), VOXELS)
    assert not isinstance(read_volume(path).data, np.ndarray)
    assert "raw/volume (7, 8, 9), table (3, 2)" in refused(path, dataset="labels")
    assert "3 axes" in refused(path, dataset="table")
    with h5py.File(path, "a") as file:
        file["labels"] = VOXELS
    assert "choose one as its dataset: labels, raw/volume" in refused(path)
    assert read_volume(path, dataset="/raw/volume").shape == VOXELS.shape
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros((3, 2))
    assert "no dataset of 3 axes" in refused(path)


def test_hdf5_voxel_size(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["d"] = VOXELS
        file["d"].attrs["element_size_um"] = np.float32([0.03, 0.02, 0.01])
    assert read_volume(path).voxel_size == (300.0, 200.0, 100.0)


@pytest.mark.parametrize("voxels", [VOXELS.astype("c8"), np.zeros((2, 2, 2), "i4,f4")])
def test_hdf5_types(tmp_path, voxels):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = voxels
    assert "can't be segmented" in refused(tmp_path / "a.h5", voxel_size=1)


# NIfTI


def nifti(path, voxels, affine, *, unit="mm", slope=None):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(unit)
    if slope:
        image.header.set_slope_inter(slope, -1)
    nibabel.save(image, path)
    return nibabel.load(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path, suffix):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 5, -6, 7
    path = tmp_path / f"a{suffix}"
    nifti(path, VOXELS.transpose(), affine, unit="micron")
    volume = read_volume(path)
    assert volume.voxel_size == (3e4, 2e4, 1e4)
    assert volume.origin == (7e4, -6e4, 5e4)
    np.testing.assert_array_equal(volume.read(), VOXELS)
    reversed_x = affine @ np.diag([-1, 1, 1, 1])
    nifti(path, VOXELS.transpose(), reversed_x)
    assert read_volume(path).origin == (0.0,) * 3
    nifti(path, VOXELS.transpose(), affine, unit="unknown")
    with pytest.warns(UserWarning, match="millimetres"):
        assert read_volume(path).voxel_size == (3e7, 2e7, 1e7)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_scaled_and_four_axes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    loaded = nifti(path, VOXELS.transpose()[..., None].astype(np.int16), np.eye(4), slope=0.5)
    expected = np.asarray(loaded.dataobj)[..., 0].transpose()
    volume = read_volume(path)
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.read(), expected)
    nifti(path, np.zeros((3, 4, 5, 2), np.int16), np.eye(4))
    assert "(3, 4, 5, 2)" in refused(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_claiming_terabytes(tmp_path, suffix):
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    import gzip

    content = header.binaryblock + bytes(400)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert "cut short" in refused(path)


def test_nifti_without_nibabel(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(b"1")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert "pip install napari-hypseg[nifti]" in refused(tmp_path / "a.nii")


def test_lazy_view_reads_only_the_box():
    class Counting:
        shape, dtype = (1, 7, 8, 9), VOXELS.dtype
        keys: list = []  # noqa: RUF012

        def __getitem__(self, key):
            self.keys.append(key)
            return VOXELS[None][key]

    data = Counting()
    view = LazyView(data, (3, 1, 2))
    box = (slice(2, 4), slice(0, 3), slice(5, 6))
    np.testing.assert_array_equal(view[box], VOXELS.transpose(2, 0, 1)[box])
    assert data.keys == [(0, box[1], box[2], box[0])]
    assert view.shape == (9, 7, 8)


def test_volume_reports_a_lost_file(tmp_path):
    write_image(tmp_path / "a.zarr", VOXELS, Volume(VOXELS))
    volume = read_volume(tmp_path / "a.zarr").crop((slice(0, 7), slice(0, 8), slice(0, 9)))
    np.testing.assert_array_equal(volume.read(), VOXELS)


def test_reading_stays_light():
    """No format's library is loaded before a file of that format is."""
    heavy = ("zarr", "h5py", "tifffile", "nibabel", "mrcfile", "ome_zarr", "torch", "scipy")
    code = (
        "import sys, napari_hypseg.volumes as v; v.read_volume, v.write_labels, v.Normalization; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_volume_knows_its_place_in_the_file(tmp_path, monkeypatch):
    whole = Volume(VOXELS, (7.0,) * 3)
    assert whole.source is None
    write_image(tmp_path / "a.mrc", VOXELS, whole)
    monkeypatch.chdir(tmp_path)
    part = read_volume("a.mrc").crop((slice(1, 6), slice(None), slice(-4, None)))
    part = part.crop((slice(2, 4), slice(3, 8), slice(0, 2)))
    assert part.source.path == str(tmp_path / "a.mrc")
    assert part.source.box == (slice(3, 5), slice(3, 8), slice(5, 7))
    np.testing.assert_array_equal(part.read(), VOXELS[part.source.box])
