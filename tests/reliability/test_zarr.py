"""Zarr stores of a stranger: no code runs, nothing outside is touched, memory is bounded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hypseg.latents import find_latents, open_latents
from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image
from napari_hypseg.volumes.zarr_store import open_zarr

from .test_records import ATTRIBUTES, SHAPE, VOXELS, old_image, some_latents


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def change(path: Path, **values: object) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | values))


PICKLE = {"id": "pickle", "protocol": 5}
EVERY_OLD = [
    ({"dtype": "|O", "filters": [PICKLE]}, "Python objects"),
    ({"filters": [PICKLE], "compressor": None}, "'pickle', which is no codec known to be safe"),
    ({"compressor": PICKLE}, "'pickle', which is no codec known to be safe"),
    ({"filters": [{"id": "json2"}]}, "'json2'"),
    ({"filters": [{"id": "vlen-utf8"}]}, "'vlen-utf8'"),
    ({"filters": [{"id": "astype", "encode_dtype": "|O", "decode_dtype": "<f4"}]}, "no number"),
    ({"dtype": "<U9"}, "only numbers"),
    ({"dtype": [["a", "<f4"]]}, "only numbers"),
    ({"chunks": [4096, 4096, 4096]}, "chunks of 275 GB each"),
    ({"shape": [2**40, 2**40, 2**40]}, "make no sense"),
    ({"chunks": [0, 2, 2]}, "make no sense"),
    ({"shape": [3, 4, True]}, "make no sense"),
    ({"shape": [3, 4, 5 * 10**12]}, "make no sense"),
    ({"dimension_separator": "/../../"}, "names its chunks"),
]


@pytest.mark.parametrize(("values", "reason"), EVERY_OLD)
def test_version_2(tmp_path, values, reason, count):
    old_image(tmp_path / "a.zarr")
    for chunk in (tmp_path / "a.zarr" / "0").iterdir():
        if chunk.name[0] != ".":
            chunk.write_bytes(pickle.dumps(Bomb(tmp_path / "went off")))
    change(tmp_path / "a.zarr" / "0" / ".zarray", **values)
    with pytest.raises(VolumeError, match=reason) as refused:
        read_volume(tmp_path / "a.zarr").read()
    assert str(refused.value).startswith(f"{tmp_path / 'a.zarr'}: ")
    assert not (tmp_path / "went off").exists()
    count("hostile Zarr")


def sharded(inner: list[int]) -> list[object]:
    part = {"chunk_shape": inner, "codecs": [{"name": "bytes"}], "index_codecs": [],
            "index_location": "end"}  # fmt: skip
    return [{"name": "sharding_indexed", "configuration": part}]


def grid(*chunk: int) -> dict[str, object]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}


EVERY_NEW = [
    ({"data_type": "string"}, "only numbers"),
    ({"data_type": {"name": "struct"}}, "only numbers"),
    ({"codecs": [{"name": "vlen-bytes"}]}, "'vlen-bytes'"),
    ({"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]}, "'numcodecs.pickle'"),
    ({"codecs": [{"name": "bytes"}, {"name": "mine"}]}, "'mine'"),
    ({"chunk_grid": grid(4096, 4096, 4096)}, "chunks of 275 GB each"),
    ({"chunk_grid": grid(2**20, 2**20, 2**20), "codecs": sharded([1, 1, 1])}, "shards"),
    ({"codecs": sharded([4096, 4096, 4096])}, "chunks of 275 GB each"),
    ({"codecs": [*sharded([1, 1, 1]), {"name": "zstd"}]}, "shards"),
    ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}}, "names"),
]


@pytest.mark.parametrize(("values", "reason"), EVERY_NEW)
@pytest.mark.parametrize("kind", ["image", "latents"])
def test_version_3(tmp_path, values, reason, kind, count):
    path = tmp_path / "a.zarr"
    if kind == "image":
        write_image(path, VOXELS, Volume(VOXELS, (10.0,) * 3))
        change(path / "0" / "zarr.json", **values)
    else:
        some_latents(path)
        text = json.dumps(values).replace("4096]", "4096, 8]").replace("[1, 1, 1]", "[1, 1, 1, 2]")
        text = text.replace("1048576]", "1048576, 2]").replace("275 GB", "2.2 TB")
        change(path / "zarr.json", **json.loads(text))
        reason = reason.replace("275 GB", "2.2 TB")
    with pytest.raises(VolumeError, match=reason) as refused:
        read_volume(path) if kind == "image" else find_latents(path)
    assert str(refused.value).startswith(f"{path}: ")
    count("hostile Zarr")


def test_consolidated_metadata_does_not_count(tmp_path):
    """Copies of the metadata at the top of a store may say anything."""
    old_image(tmp_path / "a.zarr")
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    copies = json.loads((tmp_path / "a.zarr" / ".zmetadata").read_text())
    copies["metadata"]["0/.zarray"] |= {"filters": [PICKLE], "shape": [9, 9, 9]}
    (tmp_path / "a.zarr" / ".zmetadata").write_text(json.dumps(copies))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").read(), VOXELS)


@pytest.mark.parametrize("path", ["../outside.zarr", "/etc", "0/../../outside.zarr", ".."])
def test_levels_lie_in_the_image(tmp_path, path):
    write_image(tmp_path / "outside.zarr", VOXELS, Volume(VOXELS))
    write_image(tmp_path / "a.zarr", VOXELS, Volume(VOXELS))
    record = tmp_path / "a.zarr" / "zarr.json"
    record.write_text(record.read_text().replace('"path": "0"', f'"path": "{path}"'))
    with pytest.raises(VolumeError):
        read_volume(tmp_path / "a.zarr")


def test_links_in_a_store_that_is_written(tmp_path):
    """Chunks could be written anywhere through them; to read they are as good as files."""
    some_latents(tmp_path / "a.zarr")
    outside = tmp_path / "outside"
    (tmp_path / "a.zarr" / "c").rename(outside)
    (tmp_path / "a.zarr" / "c").symlink_to(outside)
    before = {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()}
    with pytest.raises(VolumeError, match="has a link inside"):
        find_latents(tmp_path / "a.zarr")
    with pytest.raises(VolumeError, match="in the way"):
        open_latents(tmp_path / "a.zarr", (*SHAPE, 2), ATTRIBUTES)
    assert np.isfinite(open_zarr(tmp_path / "a.zarr")[...]).all()
    assert {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()} == before


def test_a_store_that_is_a_link(tmp_path):
    """It is read and continued where it lies; what is made anew takes the place of the link."""
    wanted = some_latents(tmp_path / "disk.zarr").read()
    (tmp_path / "a.zarr").symlink_to(tmp_path / "disk.zarr")
    continued = open_latents(tmp_path / "a.zarr", (*SHAPE, 2), ATTRIBUTES)
    np.testing.assert_array_equal(continued.read(), wanted)
    assert (tmp_path / "a.zarr").is_symlink()
    fresh = open_latents(tmp_path / "a.zarr", (*SHAPE, 2), ATTRIBUTES | {"fingerprint": "1f"})
    assert np.isnan(fresh.read()).all()
    assert not (tmp_path / "a.zarr").is_symlink()
    np.testing.assert_array_equal(find_latents(tmp_path / "disk.zarr").read(), wanted)


def test_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "a.zarr").symlink_to(tmp_path / "elsewhere.zarr")
    with pytest.raises(VolumeError, match="in the way"):
        open_latents(tmp_path / "a.zarr", (*SHAPE, 2), ATTRIBUTES)
    assert not (tmp_path / "elsewhere.zarr").exists()
