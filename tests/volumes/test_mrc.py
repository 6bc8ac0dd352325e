"""MRC headers made by hand: every field that a program may get wrong."""

from __future__ import annotations

import gzip
import pickle
import struct
import warnings

import mrcfile
import numpy as np
import pytest

from napari_hypseg.volumes import VolumeError, read_volume

SHAPE = (3, 4, 5)
TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def make(
    voxels, *, mode, order="<", n=None, m=None, cell=(10, 8, 6), axes=(1, 2, 3), start=(0, 0, 0),
    origin=(0, 0, 0), ispg=1, extended=b"", nsymbt=None, map_id=b"MAP ", stamp=None,
    low_high=(0, -1), imod=b"", angles=(90, 90, 90),
):  # fmt: skip
    """An MRC file field by field, packed with struct alone (n, m, cell, ... are in x, y, z)."""
    n = n or voxels.shape[::-1]
    head = bytearray(1024)
    struct.pack_into(f"{order}10i", head, 0, *n, mode, *start, *(n if m is None else m))
    struct.pack_into(f"{order}6f", head, 40, *cell, *angles)
    struct.pack_into(f"{order}3i", head, 64, *axes)
    struct.pack_into(f"{order}3f", head, 76, *low_high, 0)
    nsymbt = len(extended) if nsymbt is None else nsymbt
    struct.pack_into(f"{order}2i", head, 88, ispg, nsymbt)
    head[152 : 152 + len(imod)] = imod
    struct.pack_into(f"{order}3f", head, 196, *origin)
    head[208:212] = map_id
    head[212:216] = stamp or {"<": b"DD\0\0", ">": b"\x11\x11\0\0"}[order]
    return bytes(head) + extended + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes()


def voxels_of(mode, shape=SHAPE):
    return (np.arange(np.prod(shape)).reshape(shape) - 7).astype(TYPES[mode])


@pytest.fixture
def opened(tmp_path):
    def read(content, name="a.mrc", **options):
        (tmp_path / name).write_bytes(content)
        return read_volume(tmp_path / name, **options)

    return read


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", TYPES)
@pytest.mark.parametrize("extended", [b"", b"x" * 131])
def test_modes_and_byte_orders(opened, mode, order, extended):
    voxels = voxels_of(mode)
    volume = opened(make(voxels, mode=mode, order=order, extended=extended, low_high=(-7, 52)))
    np.testing.assert_array_equal(volume.read(), voxels)
    assert volume.read().dtype == np.dtype(TYPES[mode])
    assert volume.voxel_size == (2.0, 2.0, 2.0)


def test_wrong_byte_order_stamp(opened):
    voxels = voxels_of(2)
    with pytest.warns(UserWarning, match="contradict"):
        volume = opened(make(voxels, mode=2, order=">", stamp=b"DD\0\0"))
    np.testing.assert_array_equal(volume.read(), voxels)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "i1"),
        ({"low_high": (0, 255)}, "u1"),
        ({"low_high": (-5, 255)}, "i1"),
        ({"low_high": (float("nan"), float("nan"))}, "i1"),
        ({"imod": "unsigned"}, "u1"),
        ({"imod": "unsigned", "low_high": (-5, 5)}, "u1"),
        ({"imod": "signed", "low_high": (0, 255)}, "i1"),
    ],
)
def test_signed_or_unsigned_bytes(opened, fields, kind, order):
    fields = dict(fields)
    if "imod" in fields:
        flags = 8 | (fields["imod"] == "signed")
        fields["imod"] = struct.pack(f"{order}2i", 1146047817, flags)
    voxels = np.arange(60, dtype="u1").reshape(SHAPE) * 4
    volume = opened(make(voxels, mode=0, order=order, **fields))
    np.testing.assert_array_equal(volume.read(), voxels.view(kind))


def test_bytes_without_map_stamp_are_unsigned(opened):
    voxels = np.full(SHAPE, 200, "u1")
    with pytest.warns(UserWarning, match="MAP stamp"):
        volume = opened(make(voxels, mode=0, map_id=b"\0\0\0\0"))
    np.testing.assert_array_equal(volume.read(), voxels)


@pytest.mark.parametrize("axes", [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)])
def test_axis_orders(opened, axes):
    """Column, row and section axes in any order give the same volume back."""
    voxels = voxels_of(1)  # (z, y, x)
    # Array axis of section, row, column: x is axis 2, y 1, z 0.
    stored = voxels.transpose([3 - axis for axis in axes[::-1]])
    start_xyz = (4, -5, 6)
    content = make(
        stored, mode=1, axes=axes, m=(5, 4, 3), cell=(5, 8, 9), low_high=(-7, 52),
        start=[start_xyz[axis - 1] for axis in axes],
    )  # fmt: skip
    volume = opened(content)
    np.testing.assert_array_equal(volume.read(), voxels)
    assert volume.voxel_size == (3.0, 2.0, 1.0)
    assert volume.origin == (18.0, -10.0, 4.0)


def test_empty_axis_order_is_the_usual_one(opened):
    np.testing.assert_array_equal(
        opened(make(voxels_of(2), mode=2, axes=(0, 0, 0))).read(), voxels_of(2)
    )


def test_origin_field_wins_over_start(opened):
    content = make(voxels_of(2), mode=2, start=(1, 1, 1), origin=(0.1, -2.5, 1e6))
    assert opened(content).origin == (1e6, -2.5, 0.1)


def test_start_follows_a_given_voxel_size(opened):
    content = make(voxels_of(2), mode=2, start=(1, 2, 3))
    assert opened(content, voxel_size=10).origin == (30.0, 20.0, 10.0)


@pytest.mark.parametrize("bad", [0, -10, float("inf"), float("nan")])
def test_senseless_voxel_size(opened, bad):
    content = make(voxels_of(2), mode=2, cell=(10, bad, 6))
    with pytest.warns(UserWarning, match=r"a\.mrc: gives no valid voxel size along y,") as caught:
        assert opened(content).voxel_size == (2.0, 2.0, 2.0)
    assert len(caught) == 1
    assert opened(content, voxel_size=(1, 2, 3)).voxel_size == (1.0, 2.0, 3.0)


def test_grid_of_the_cell_left_empty(opened):
    assert opened(make(voxels_of(2), mode=2, m=(0, 0, 0))).voxel_size == (2.0,) * 3


def test_cell_larger_than_the_map(opened):
    content = make(voxels_of(2), mode=2, m=(100, 100, 100), cell=(500, 400, 300))
    assert opened(content).voxel_size == (3.0, 4.0, 5.0)


def test_image_stack_opens_with_a_word(opened):
    with pytest.warns(UserWarning, match="stack of images"):
        volume = opened(make(voxels_of(2), mode=2, ispg=0, m=(5, 4, 1), cell=(10, 8, 2)))
    assert (volume.shape, volume.voxel_size) == (SHAPE, (2.0,) * 3)


def test_longer_than_its_header_opens_with_a_word(opened):
    with pytest.warns(UserWarning, match="9 bytes longer"):
        volume = opened(make(voxels_of(2), mode=2) + b"123456789")
    np.testing.assert_array_equal(volume.read(), voxels_of(2))


HUGE = (2**31 - 1,) * 3
REFUSED = {
    "complex": (make(voxels_of(2), mode=4), "complex numbers"),
    "complex integers": (make(voxels_of(2), mode=3), "complex numbers"),
    "4-bit": (make(voxels_of(2), mode=101), "4-bit"),
    "colours": (make(voxels_of(2), mode=16), "colours"),
    "unknown mode": (make(voxels_of(2), mode=77), "unknown mode 77"),
    "volume stack": (make(voxels_of(2), mode=2, ispg=401, m=(5, 4, 1)), "3 volumes"),
    "axes": (make(voxels_of(2), mode=2, axes=(1, 1, 3)), "order of axes"),
    "negative size": (make(voxels_of(2), mode=2, n=(5, -4, 3)), "size (3, -4, 5)"),
    "negative extension": (make(voxels_of(2), mode=2, nsymbt=-8), "no MRC file"),
    "terabytes": (make(voxels_of(2), mode=2, n=HUGE), "cut short"),
    "terabytes in the extension": (make(voxels_of(2), mode=2, nsymbt=2**31 - 1), "cut short"),
    "header only": (make(voxels_of(2), mode=2)[:1024], "cut short"),
    "short header": (b"MRC", "no MRC file"),
    "empty": (b"", "is empty"),
    "pickle": (pickle.dumps(list(range(3000))), "no MRC file"),
    "text": (b"not a volume. " * 500, "no MRC file"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case, packed):
    content, reason = REFUSED[case]
    path = tmp_path / ("a.mrc.gz" if packed else "a.mrc")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(VolumeError) as caught:
        read_volume(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    if packed:
        reason = {"empty": "no MRC file", "terabytes": "too large to unpack"}.get(case, reason)
    assert reason in said


def test_read_like_mrcfile(opened, tmp_path):
    """What mrcfile itself writes, from 50 random headers, comes back as mrcfile reads it."""
    rng = np.random.default_rng(4)
    for _ in range(50):
        shape = rng.integers(1, 9, 3)
        path = tmp_path / "b.mrc"
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(rng.normal(size=shape).astype(np.float32))
            mrc.set_volume()
            mrc.voxel_size = tuple(rng.uniform(10, 50, 3))
            mrc.header.origin = tuple(rng.normal(scale=1e3, size=3))
        volume = read_volume(path)
        with mrcfile.open(path) as mrc:
            np.testing.assert_array_equal(volume.read(), mrc.data)
            size, origin = mrc.voxel_size, mrc.header.origin
            for axis, name in enumerate("zyx"):
                assert volume.voxel_size[axis] == pytest.approx(float(size[name]), rel=1e-6)
                assert np.float32(volume.origin[axis]) == origin[name]


def test_random_headers_open_or_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    whole = bytearray(make(voxels_of(2), mode=2))
    path = tmp_path / "a.mrc"
    opened = 0
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, 224, rng.integers(1, 6)):
            broken[place] = rng.integers(256)
        path.write_bytes(bytes(broken))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                volume = read_volume(path)
            except VolumeError:
                continue
        opened += 1
        assert all(0 < size < np.inf for size in volume.voxel_size)
        assert np.isfinite(volume.origin).all()
    assert 0 < opened < 300
