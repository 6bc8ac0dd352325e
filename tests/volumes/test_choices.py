"""Files that hold several volumes, or one where others would not look for it."""

from __future__ import annotations

import os
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_hypseg.volumes import (
    Volume,
    VolumeError,
    choices,
    read_volume,
    write_image,
    write_labels,
)

VOXELS = np.arange(7 * 8 * 9, dtype=np.uint16).reshape(7, 8, 9)
SIZE = (10.0, 20.0, 30.0)
pytestmark = pytest.mark.filterwarnings("ignore:.*no valid voxel size")


def same(path, expected=VOXELS, **options):
    volume = read_volume(path, **options)
    np.testing.assert_array_equal(volume.read(), expected)
    box = (slice(1, 3), slice(2, 8), slice(0, 5))
    np.testing.assert_array_equal(volume.read(box), expected[box])
    return volume


def all_of(path, arrays, **options):
    """Every choice opens as one of the arrays, in their order."""
    names = choices(path)
    assert len(names) == len(arrays)
    for name, array in zip(names, arrays, strict=True):
        assert same(path, array, dataset=name, **options).source.dataset == name
    with pytest.raises(VolumeError, match="choose one") as caught:
        read_volume(path)
    assert names[0] in str(caught.value)
    for wrong in ("nothing", "c=9", f"{names[0]} c=0", ""):
        with pytest.raises(VolumeError, match=r"has no|3 axes"):
            read_volume(path, dataset=wrong)
    return names


def test_a_plain_file_has_none(tmp_path):
    for ending in (".mrc", ".tif", ".zarr"):
        path = tmp_path / f"a{ending}"
        write_image(path, VOXELS, Volume(VOXELS))
        assert choices(path) == []
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["only"], file["table"] = VOXELS, np.zeros((3, 2))
    assert choices(tmp_path / "a.h5") == []
    with pytest.raises(VolumeError, match=r"b\.tif: no such file"):
        choices(tmp_path / "b.tif")


@pytest.mark.parametrize("shape", [(1, 7, 8, 9), (7, 8, 9, 1), (1, 7, 8, 9, 1), (7, 1, 8, 9)])
def test_hdf5_with_axes_of_one(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exported_data"] = VOXELS.reshape(shape)
    same(tmp_path / "a.h5")
    assert choices(tmp_path / "a.h5") == []


def test_hdf5_one_slice(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = VOXELS[:1]
    assert read_volume(tmp_path / "a.h5").shape == (1, 8, 9)


def test_hdf5_several(tmp_path):
    path = tmp_path / "a.h5"
    two = np.stack([VOXELS, VOXELS + 1])
    with h5py.File(path, "w") as file:
        file["raw/channels"], file["z"] = two, VOXELS + 2
        file["last"] = np.moveaxis(two, 0, -1)
        file["many"] = np.zeros((2, 3, 4, 5, 6))
    names = all_of(path, [VOXELS, VOXELS + 1, VOXELS, VOXELS + 1, VOXELS + 2])
    assert names == ["last[:, :, :, 0]", "last[:, :, :, 1]", "raw/channels[0]", "raw/channels[1]",
                     "z"]  # fmt: skip
    with pytest.raises(VolumeError, match=r"3 axes; choose raw/channels\[0\], raw/channels\[1\]"):
        read_volume(path, dataset="raw/channels")


def test_eman2_knows_its_voxel_size(tmp_path):
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        group = file.create_group("MDF/images/0")
        group["image"] = VOXELS
        for name, size in zip("zyx", SIZE, strict=True):
            group.attrs[f"EMAN.apix_{name}"] = np.float32(size)
    assert same(tmp_path / "a.hdf").voxel_size == SIZE


@pytest.mark.parametrize(("axes", "what"), [("TYX", "time points"), ("CYX", "channels")])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_imagej_stack_along_another_axis(tmp_path, axes, what, compression):
    tifffile.imwrite(
        tmp_path / "a.tif", VOXELS, imagej=True, metadata={"axes": axes}, compression=compression
    )
    with pytest.warns(UserWarning, match=f"calls its slices {what}"):
        same(tmp_path / "a.tif", voxel_size=10)
    assert choices(tmp_path / "a.tif") == []


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("ome", [False, True])
def test_tiff_channels_and_times(tmp_path, ome, compression):
    many = np.arange(2 * 3 * VOXELS.size, dtype=np.uint16).reshape(2, 7, 3, 8, 9)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, many, ome=ome, imagej=not ome, metadata={"axes": "TZCYX"}, compression=compression,
        photometric="minisblack",
    )  # fmt: skip
    names = all_of(path, [many[t, :, c] for t in range(2) for c in range(3)])
    assert names == [f"t={t} c={c}" for t in range(2) for c in range(3)]


def test_tiff_images(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for add in (0, 1):
            tif.write(VOXELS + add, metadata={"axes": "ZYX"}, photometric="minisblack")
    assert all_of(path, [VOXELS, VOXELS + 1]) == ["image=0", "image=1"]


def test_zarr_channels(tmp_path):
    path = tmp_path / "a.zarr"
    two = np.stack([VOXELS, VOXELS + 1])
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=two)
    axes = [{"name": "c"}] + [{"name": n, "unit": "angstrom"} for n in "zyx"]
    steps = [{"type": "scale", "scale": [1.0, *SIZE]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    image = {"axes": axes, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    assert all_of(path, list(two)) == ["c=0", "c=1"]
    assert read_volume(path, dataset="c=1").voxel_size == SIZE


def test_zarr_images(tmp_path):
    for name, add in (("one", 0), ("two", 1)):
        write_image(tmp_path / "set" / f"{name}.zarr", VOXELS + add, Volume(VOXELS))
    assert choices(tmp_path / "set") == ["one.zarr", "two.zarr"]
    same(tmp_path / "set", VOXELS + 1, dataset="two.zarr")


def test_a_bare_zarr_array(tmp_path):
    zarr.save_array(tmp_path / "a.zarr", VOXELS)
    with pytest.warns(UserWarning, match="no valid voxel size"):
        same(tmp_path / "a.zarr")
    zarr.save_array(tmp_path / "b.zarr", np.stack([VOXELS, VOXELS + 1], -1))
    assert all_of(tmp_path / "b.zarr", [VOXELS, VOXELS + 1])[1] == "[:, :, :, 1]"
    zarr.save_array(tmp_path / "c.zarr", VOXELS[0])
    with pytest.raises(VolumeError, match=r"c\.zarr: .*\(8, 9\)"):
        read_volume(tmp_path / "c.zarr")


def test_a_folder_of_slices(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for z, plane in enumerate(VOXELS, start=5):
        compression = "zlib" if z % 2 else None
        tifffile.imwrite(folder / f"s_{z}.tif", plane, compression=compression)
    (folder / "notes.txt").write_text("by hand")
    assert same(folder).name == "slices"
    tifffile.imwrite(folder / "s_99.tif", VOXELS[0, :3])
    with pytest.raises(VolumeError, match=r"slices: .* s_99\.tif has another size"):
        read_volume(folder)
    tifffile.imwrite(folder / "s_99.tif", VOXELS, photometric="minisblack")
    with pytest.raises(VolumeError, match=r"s_99\.tif is no single slice"):
        read_volume(folder)


@pytest.mark.parametrize("ending", [".mrc", ".tif", ".h5"])
@pytest.mark.parametrize("name", ["tomogram", "tomogram.bak"])
def test_no_ending_but_a_valid_header(tmp_path, ending, name):
    path = tmp_path / f"a{ending}"
    if ending == ".h5":
        with h5py.File(path, "w") as file:
            file["a"] = VOXELS
    else:
        write_image(path, VOXELS, Volume(VOXELS))
    same(path.rename(tmp_path / name))


@pytest.mark.parametrize("ending", [".mrc", ".tif", ".zarr", ".h5"])
@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_of_any_bytes(tmp_path, ending):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9")
    os.mkdir(folder)
    path = f"{folder}/t\udcfc{ending}"
    if ending == ".h5":
        with h5py.File(path, "w") as file:
            file["a"] = VOXELS
    else:
        write_image(path, VOXELS, Volume(VOXELS))
    volume = same(path)
    # What a person reads, and files hold, is text.
    assert volume.name == "t�"
    assert volume.source.path == path
    for other in (".mrc", ".tif", ".zarr"):
        write_labels(f"{folder}/l\udcfc{other}", VOXELS % 9, volume)
        assert read_volume(f"{folder}/l\udcfc{other}").name == "l�"
    with pytest.raises(VolumeError) as caught:
        read_volume(f"{folder}/missing{ending}")
    str(caught.value).encode()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_stores_may_be_links(tmp_path):
    write_image(tmp_path / "real.zarr", VOXELS, Volume(VOXELS, SIZE))
    shutil.make_archive(str(tmp_path / "packed.zarr"), "zip", tmp_path / "real.zarr")
    for name, real in (("a.zarr", "real.zarr"), ("b.zarr.zip", "packed.zarr.zip")):
        (tmp_path / name).symlink_to(tmp_path / real)
        assert same(tmp_path / name).voxel_size == SIZE
