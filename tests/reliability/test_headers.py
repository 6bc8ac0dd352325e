"""Mutated MRC and TIFF headers: opened, or refused in one sentence; no crash, hang or hunger."""

from __future__ import annotations

import bz2
import gzip
import io
import resource
import signal
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image

from .conftest import SCALE

SHAPE = (3, 4, 5)
VOXELS = np.arange(60, dtype=np.float32).reshape(SHAPE)
# Numbers that break programs, as 4 bytes in either order.
NASTY = [0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4]
MOST_BYTES = 1 << 30
MOST_SECONDS = 10.0


def mrc() -> bytes:
    head = bytearray(1024)
    struct.pack_into("<10i", head, 0, 5, 4, 3, 2, 0, 0, 0, 5, 4, 3)
    struct.pack_into("<6f", head, 40, 50, 40, 30, 90, 90, 90)
    struct.pack_into("<3i", head, 64, 1, 2, 3)
    struct.pack_into("<2i", head, 88, 1, 0)
    head[208:216] = b"MAP DD\0\0"
    return bytes(head) + VOXELS.tobytes()


def tiff(**options: object) -> bytes:
    held = io.BytesIO()
    tifffile.imwrite(held, VOXELS, photometric="minisblack", **options)
    return held.getvalue()


def pages() -> bytes:
    held = io.BytesIO()
    with tifffile.TiffWriter(held) as writer:
        for page in VOXELS:
            writer.write(page, contiguous=False, metadata=None)
    return held.getvalue()


def ours(folder: Path) -> bytes:
    write_image(folder / "a.tif", VOXELS, Volume(VOXELS, (10.0, 10.0, 10.0)))
    return (folder / "a.tif").read_bytes()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A sound file of each kind; its name says how it ends."""
    imagej = {"imagej": True, "metadata": {"axes": "ZYX", "unit": "nm", "spacing": 2.0}}
    return {
        "plain.mrc": mrc(),
        "packed.mrc.gz": gzip.compress(mrc()),
        "packed.mrc.bz2": bz2.compress(mrc()),
        "plain.tif": tiff(),
        "imagej.tif": tiff(**imagej),
        "big.tif": tiff(bigtiff=True),
        "deflated.tif": tiff(compression="zlib"),
        "tiled.tif": tiff(compression="zlib", tile=(16, 16)),
        "pages.tif": pages(),
        "ours.tif": ours(tmp_path_factory.mktemp("ours")),
    }


@contextmanager
def little_to_live_on() -> Iterator[None]:
    """One more GB of memory than now, and ten seconds of processor time: beyond it is stopped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))

    def too_long(*_: object) -> None:
        raise AssertionError(f"still busy after {MOST_SECONDS} seconds")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# Where the numbers of the headers lie: the first bytes in most cases, anywhere in some.
places = st.one_of(st.integers(0, 260), st.integers(0, 1 << 14))
mutations = st.one_of(
    st.tuples(places, st.binary(min_size=1, max_size=4)),
    st.tuples(
        places.map(lambda place: place & ~1),
        st.tuples(st.sampled_from(NASTY), st.sampled_from("<>")).map(
            lambda pair: struct.pack(f"{pair[1]}I", pair[0])
        ),
    ),
)


def mutated(content: bytes, changes: list[tuple[int, bytes]], keep: float) -> bytes:
    broken = bytearray(content)
    for place, value in changes:
        place %= len(broken)
        broken[place : place + len(value)] = value[: len(broken) - place]
    return bytes(broken[: max(1, round(keep * len(broken)))])


def repacked(name: str, content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """What is inside a packed file, and what packs it."""
    packers = {"gz": (gzip.decompress, lambda b: gzip.compress(b, 1)),
               "bz2": (bz2.decompress, lambda b: bz2.compress(b, 1))}  # fmt: skip
    unpack, pack = packers.get(name.rsplit(".", 1)[1], (bytes, bytes))
    return unpack(content), pack


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no limit on memory here")
@pytest.mark.parametrize("kind", ["mrc", "tif"])
def test_mutated_headers(kind, samples, tmp_path, count):
    """The headers of good files with a few bytes changed, whole or cut short."""
    names = sorted(name for name in samples if kind in name)
    tally = {"opened": 0, "refused": 0}
    slowest = 0.0

    @settings(
        max_examples=round(300 * SCALE),
        database=None,
        derandomize=SCALE == 1,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        name=st.sampled_from(names),
        changes=st.lists(mutations, min_size=1, max_size=6),
        inside=st.booleans(),
        keep=st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)),
    )
    def check(name, changes, inside, keep):
        nonlocal slowest
        content, pack = samples[name], bytes
        if inside:
            content, pack = repacked(name, content)
        path = tmp_path / name
        path.write_bytes(pack(mutated(content, changes, keep)))
        began = time.process_time()
        with warnings.catch_warnings(), little_to_live_on():
            warnings.simplefilter("ignore")
            try:
                volume = read_volume(path)
                assert all(0 < size < np.inf for size in volume.voxel_size)
                assert np.isfinite(volume.origin).all()
                assert volume.read().shape == volume.shape
                tally["opened"] += 1
            except VolumeError as error:
                said = str(error)
                assert "\n" not in said
                assert path.name in said or said.startswith(f"{path.stem.split('.')[0]}: ")
                tally["refused"] += 1
        slowest = max(slowest, time.process_time() - began)

    check()
    count(f"{kind} headers mutated", sum(tally.values()))
    count(f"{kind} headers refused", tally["refused"])
    # A fuzz that only ever sees one of the two outcomes tests little.
    assert min(tally.values()) > 0.02 * sum(tally.values()), tally
    assert slowest < MOST_SECONDS
