"""Bad volumes: one sentence that names the file and the reason, or a right result with a word."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from napari_hypseg.volumes import Volume, VolumeError, fit_normalization, read_volume, write_image
from napari_hypseg.volumes.limits import free_disk, free_memory

from .test_stopping import one_line

RUN = ["--preset", "tiny", "--steps", "3", "-k", "2,3"]
RNG = np.random.default_rng(5)
SHAPE = (12, 20, 24)


def things(shape=SHAPE) -> np.ndarray:
    """A bright block in noise."""
    voxels = RNG.normal(size=shape).astype(np.float32)
    voxels[shape[0] // 3 :, shape[1] // 3 : -4, shape[2] // 3 : -4] += 8
    return voxels


def save(path: Path, voxels: np.ndarray, size: float = 10.0) -> Path:
    write_image(path, voxels, Volume(voxels, (size,) * 3))
    return path


def spoil(where: object, value: float) -> np.ndarray:
    voxels = things()
    voxels[where] = value
    return voxels


SPOILT = {
    "few NaN": spoil(([1, 5, 9], [3, 4, 5], [0, 23, 7]), np.nan),
    "slab of NaN": spoil(np.s_[4:7], np.nan),
    "few inf": spoil(([1, 5], [3, 4], [0, 23]), np.inf),
    "slab of -inf": spoil(np.s_[:, 5:9], -np.inf),
}


@pytest.mark.parametrize("case", SPOILT)
def test_voxels_that_are_not_finite(hypseg, tmp_path, case, count):
    """The result is there, and a warning says how many voxels count as the mean."""
    path = save(tmp_path / "tomo.mrc", SPOILT[case])
    ended = hypseg("run", path, "--out", tmp_path / "out", *RUN)
    assert ended.code == 0, ended.said
    share = np.mean(~np.isfinite(SPOILT[case]))
    assert f"warning: tomo: {share:.2%} of the voxels are not finite" in ended.said
    labels = read_volume(tmp_path / "out" / "labels_k02.mrc").read()
    assert labels.shape == SHAPE
    # What is not finite lies outside; of a whole slab of it no voxel has a class.
    assert set(np.unique(labels).tolist()) - {0} == {1, 2}
    count("bad volume")


REFUSED = {
    "all NaN": (np.full(SHAPE, np.nan, np.float32), "has no finite voxel"),
    "all inf": (np.full(SHAPE, np.inf, np.float32), "has no finite voxel"),
    "constant": (np.full(SHAPE, 3.0, np.float32), "is constant, all its voxels are 3"),
    "constant but for NaN": (spoil(np.s_[1:], np.nan) * 0 + 2, "is constant"),
    "one slice": (things((1, 20, 24)), "1 x 20 x 24 voxels"),
    "one voxel wide": (things((12, 20, 3))[:, :, :1], "12 x 20 x 1 voxels"),
    "smaller than a patch": (things((4, 4, 4)), "4 x 4 x 4 voxels"),
}


@pytest.mark.filterwarnings("ignore:.*not finite")
@pytest.mark.parametrize("case", REFUSED)
def test_nothing_to_learn_from(hypseg, tmp_path, case, count):
    voxels, reason = REFUSED[case]
    path = save(tmp_path / "tomo.mrc", voxels)
    one_line(hypseg("run", path, "--out", tmp_path / "out", *RUN), "tomo: ", reason)
    assert not list((tmp_path / "out").rglob("*.hypseg"))
    count("bad volume")


def changed(path: Path, offset: int, form: str, *values: float) -> None:
    """Numbers of a file overwritten."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def images(path: Path, shape: tuple[int, ...], **options: object) -> None:
    tifffile.imwrite(path, np.zeros(shape, np.uint8), **{"photometric": "minisblack"} | options)


def truncated(path: Path) -> None:
    save(path, things())
    os.truncate(path, path.stat().st_size // 2)


def complex_mrc(path: Path) -> None:
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.zeros((3, 4, 5), np.complex64))


def terabytes(path: Path) -> None:
    save(path, things())
    changed(path, 0, "<3i", 20_000, 20_000, 20_000)


def bomb(path: Path) -> None:
    """16 MB of zeros in 16 kB, for a header that claims a thousand times that."""
    save(path.with_suffix(""), things())
    head = bytearray(path.with_suffix("").read_bytes()[:1024])
    struct.pack_into("<3i", head, 0, 30_000, 30_000, 3_000)
    path.write_bytes(gzip.compress(bytes(head) + bytes(1 << 24)))


def tiff_of_terabytes(path: Path) -> None:
    images(path, (4, 8, 8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            page.tags["ImageLength"].overwrite(2**31 - 8)
            page.tags["ImageWidth"].overwrite(2**31 - 8)


def tiff_bomb(path: Path) -> None:
    """A page of 64 voxels that unpacks to two gigabytes."""
    images(path, (4, 8, 8), compression="zlib", metadata=None)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(128)) + packer.flush()
    with tifffile.TiffFile(path, mode="r+") as tif:
        end = path.stat().st_size
        tif.pages[0].tags["StripOffsets"].overwrite(end)
        tif.pages[0].tags["StripByteCounts"].overwrite(len(packed))
    with path.open("ab") as file:
        file.write(packed)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "2D": ("a.tif", lambda p: images(p, (8, 9)), "not a volume"),
    "4D": ("a.tif", lambda p: images(p, (5, 7, 8, 9), imagej=True,
                                     metadata={"axes": "TZYX"}), "5 time points"),
    "RGB": ("a.tif", lambda p: images(p, (7, 8, 9, 3), photometric="rgb"), "3 colour samples"),
    "complex": ("a.mrc", complex_mrc, "complex numbers"),
    "truncated": ("a.mrc", truncated, "cut short"),
    "truncated TIFF": ("a.tif", truncated, ""),
    "terabytes": ("a.mrc", terabytes, "is cut short"),
    "terabytes packed": ("a.mrc.gz", bomb, ""),
    "terabytes of TIFF": ("a.tif", tiff_of_terabytes, ""),
    "TIFF bomb": ("a.tif", tiff_bomb, ""),
    "empty": ("a.mrc", lambda p: p.write_bytes(b""), "is empty"),
    "a folder": ("a.mrc", lambda p: p.mkdir(), "is no OME-Zarr image"),
    "missing": ("a.mrc", lambda p: None, "no such file"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*has a fault")
@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_a_sentence(tmp_path, case, count):
    from .test_headers import little_to_live_on

    name, make, reason = BROKEN[case]
    path = tmp_path / name
    make(path)
    with little_to_live_on(), pytest.raises(VolumeError) as caught:
        read_volume(path, voxel_size=1).read()
    said = str(caught.value)
    assert said.startswith((f"{path}: ", "a: "))
    assert "\n" not in said
    assert reason in said
    count("bad volume")


@pytest.mark.skipif(os.name != "posix", reason="no such permissions here")
def test_no_permission(tmp_path, count):
    path = save(tmp_path / "a.mrc", things())
    path.chmod(0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.chdir(tmp_path)  # Its parents may be closed to others.
            tmp_path.chmod(0o755)
            os.setuid(65534)
        try:
            read_volume("a.mrc")
            said = "opened"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as words:
        said = words.read()
    os.waitpid(child, 0)
    assert said.startswith("VolumeError: a.mrc: can't be read, ")
    assert "Permission denied" in said
    count("bad volume")


@pytest.mark.parametrize("size", [0.0, -5.0, float("inf"), float("nan")])
def test_voxel_size_without_sense(tmp_path, size, count):
    """Never silently 1, whatever the format."""
    voxels = things()
    mrc, tif = save(tmp_path / "a.mrc", voxels), tmp_path / "a.tif"
    changed(mrc, 40, "<3f", *(size * n for n in SHAPE[::-1]))
    metadata = {"axes": "ZYX"} | {f"PhysicalSize{axis}": size for axis in "XYZ"}
    tifffile.imwrite(tif, voxels, ome=True, photometric="minisblack", metadata=metadata)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=voxels)
    steps = [{"type": "scale", "scale": [1.0, size if np.isfinite(size) else 0.0, 1.0]}]
    axes = [{"name": n, "type": "space", "unit": "angstrom"} for n in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = voxels
        file["d"].attrs["element_size_um"] = [1.0, size, 1.0]
    for name in ("a.mrc", "a.tif", "a.zarr", "a.h5"):
        with pytest.warns(UserWarning, match="gives no valid voxel size along .* angstrom"):
            volume = read_volume(tmp_path / name)
        assert all(0 < s < np.inf for s in volume.voxel_size)
        assert read_volume(tmp_path / name, voxel_size=7.5).voxel_size == (7.5,) * 3
        count("bad volume")


def test_wrong_byte_order_stamp(tmp_path, count):
    voxels = things()
    path = save(tmp_path / "a.mrc", voxels)
    changed(path, 212, "4B", 0x11, 0x11, 0, 0)
    with pytest.warns(UserWarning, match="byte-order stamp that its numbers contradict"):
        np.testing.assert_array_equal(read_volume(path).read(), voxels)
    count("bad volume")


def lazy_files(folder: Path) -> list[Path]:
    voxels = things()
    tifffile.imwrite(folder / "z.tif", voxels, compression="zlib", photometric="minisblack")
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("d", data=voxels, chunks=(4, 20, 24))
    return [save(folder / "a.mrc", voxels), save(folder / "a.tif", voxels), folder / "z.tif",
            folder / "a.h5"]  # fmt: skip


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("change", ["shortened", "written over", "touched"])
def test_a_file_that_changes_while_it_is_read(tmp_path, number, change, count):
    path = lazy_files(tmp_path)[number]
    volume = read_volume(path, voxel_size=10)
    box = (slice(0, 2), slice(0, 20), slice(0, 24))
    volume.read(box)
    if change == "shortened":
        os.truncate(path, path.stat().st_size // 2)
    elif change == "written over":
        changed(path, path.stat().st_size - 40, "4f", 1, 2, 3, 4)
    os.utime(path, ns=(1, 1))
    with pytest.raises(VolumeError) as caught:
        volume.read()
    assert str(caught.value).startswith(f"{path.name.split('.')[0]}: its voxels can't be read, ")
    assert "\n" not in str(caught.value)
    count("file changed while open")
    # One that takes its place, or its removal, leaves the open one as it was.
    (tmp_path / "again").mkdir()
    path = lazy_files(tmp_path / "again")[number]
    volume = read_volume(path, voxel_size=10)
    first = volume.read(box)
    (tmp_path / "new").write_bytes(b"something else")
    os.replace(tmp_path / "new", path)
    np.testing.assert_array_equal(volume.read()[:2], first)
    path.unlink()
    np.testing.assert_array_equal(volume.read()[:2], first)
    count("file replaced while open", 2)


def test_a_run_ends_with_a_reason_when_its_file_changes(hypseg, tmp_path, count):
    """The file shrinks while a run reads it: never a bus error."""
    path = save(tmp_path / "tomo.mrc", things((40, 60, 60)))
    timer = threading.Timer(0.4, os.truncate, (path, 2000))
    timer.start()
    ended = hypseg("run", path, "--out", tmp_path / "out", *RUN, "--steps", 200)
    timer.join()
    one_line(ended, "tomo: its voxels can't be read, the file has", "since it was opened")
    count("file changed while open")


def test_stored_voxels_in_boxes_of_every_kind(tmp_path):
    voxels = RNG.normal(size=(5, 7, 9)).astype(np.float32)
    volume = read_volume(save(tmp_path / "a.mrc", voxels))
    for _ in range(200):
        box = []
        for n in voxels.shape:
            a, b = sorted(RNG.integers(0, n + 1, 2))
            box.append(slice(int(a), int(b), int(RNG.integers(1, 4))))
        np.testing.assert_array_equal(volume.read(tuple(box)), voxels[tuple(box)])
    backwards = (slice(None, None, -1), slice(5, 1, -2), slice(None, None, -3))
    np.testing.assert_array_equal(volume.read(backwards), voxels[backwards])
    part = volume.crop((slice(1, 4), slice(2, 7), slice(3, 9)))
    np.testing.assert_array_equal(part.read(backwards), voxels[1:4, 2:7, 3:9][backwards])
    inner = part.crop((slice(1, 3), slice(0, 5), slice(2, 4)))
    np.testing.assert_array_equal(inner.read(), voxels[2:4, 2:7, 5:7])
    assert not isinstance(inner.data, np.ndarray)


def test_what_is_left_of_this_machine(tmp_path):
    assert 1e6 < free_memory() < 1e15
    assert free_disk(tmp_path / "not" / "there") == free_disk(tmp_path) > 0


def test_normalising_says_so_once_per_volume():
    with pytest.warns(UserWarning, match=r"^noise: 25.00% of the voxels are not finite") as said:
        fit_normalization(Volume(spoil(np.s_[:3], np.nan), name="noise"))
    assert len(said) == 1
