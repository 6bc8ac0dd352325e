"""Models and stores from elsewhere or half gone; `tests/model` and `tests/latents` go into more."""

from __future__ import annotations

import pickle
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from napari_hypseg.latents import embed
from napari_hypseg.model import load_model
from napari_hypseg.model.files import load_tensors, save_tensors
from napari_hypseg.volumes import read_volume

from .test_stopping import files, one_line

MAP = "latents/0001_stride1_0-12_0-20_0-40.zarr"
RUN = ["--preset", "tiny", "--steps", "4", "--box", ":12,:20,:40", "-k", "2:4"]


@pytest.fixture(scope="module")
def whole(hypseg, toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert hypseg("run", toy, "--out", out, *RUN).code == 0
    return out


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 16
    path.write_bytes(content)


def newer(path: Path) -> None:
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, metadata | {"format_version": 99})


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(Bomb(path.with_name("went off")), file)


def torch_pickled(path: Path) -> None:
    torch.save(Bomb(path.with_name("went off")), path)


def vast(path: Path) -> None:
    """A header that claims exabytes."""
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


BAD = {
    truncated: "is not a napari-hypseg model file, or it is damaged",
    flipped: "is not a napari-hypseg model file, or it is damaged",
    newer: "the model has format 99",
    pickled: "is not a napari-hypseg model file",
    torch_pickled: "is not a napari-hypseg model file",
    vast: "is not a napari-hypseg model file",
}


@pytest.mark.parametrize("damage", BAD)
def test_bad_models_are_refused_in_a_sentence(hypseg, toy, whole, tmp_path, damage, count):
    path = Path(shutil.copy(whole / "models/0001.hypseg", tmp_path / "bad.hypseg"))
    damage(path)
    run = ["segment", toy, "--model", path, "--out", tmp_path / "out", "-k", 2]
    one_line(hypseg(*run), f"{path}: ", BAD[damage])
    assert not (tmp_path / "went off").exists()
    count("bad model or store")


@pytest.mark.parametrize("damage", [truncated, flipped, newer, pickled])
def test_a_bad_model_in_the_folder_is_trained_anew(hypseg, toy, whole, tmp_path, damage, count):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    damage(out / "models" / "0001.hypseg")
    assert hypseg("run", toy, "--out", out, *RUN).code == 0
    assert not (out / "models" / "went off").exists()
    again, first = out / "models" / "0002.hypseg", whole / "models" / "0001.hypseg"
    assert load_model(again).fingerprint() == load_model(first).fingerprint()
    for path in whole.glob("*.mrc"):
        np.testing.assert_array_equal(read_volume(out / path.name).read(), read_volume(path).read())
    count("bad model or store")


def test_a_model_trained_at_another_normalisation(toy, whole):
    """Every volume is normalised by its own intensities, whatever the model was trained on."""
    model, volume = load_model(whole / "models/0001.hypseg"), read_volume(toy)
    part = volume.crop((slice(0, 12),) * 3)
    brighter = replace(part, data=part.read().astype(np.float64) * 40 + 3000)
    right = embed(model, part, device="cpu").read()
    np.testing.assert_allclose(embed(model, brighter, device="cpu").read(), right, atol=2e-3)


def chunks(store: Path) -> list[Path]:
    return sorted(p for p in (store / "c").rglob("*") if p.is_file())


def lost(path: Path) -> None:
    chunks(path)[0].unlink()


def cut(path: Path) -> None:
    chunk = chunks(path)[0]
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])


def bit(path: Path) -> None:
    flip = bytearray(chunks(path)[0].read_bytes())
    flip[len(flip) // 2] ^= 1
    chunks(path)[0].write_bytes(flip)


def of_something_else(path: Path) -> None:
    array = zarr.open_array(path, mode="r+")
    array.attrs["model" if "latents" in str(path) else "volume"] = "0" * 16


@pytest.mark.parametrize("store", [MAP, "smoothed.zarr", "proposals/things.zarr/leaves"])
@pytest.mark.parametrize("damage", [lost, cut, bit, of_something_else])
def test_bad_stores_are_computed_again(hypseg, toy, whole, tmp_path, store, damage, count):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    before = {p: p.read_bytes() for p in chunks(whole / store)}
    damage(out / store)
    if store == "smoothed.zarr":  # Looked at only where there are no clusters yet.
        shutil.rmtree(out / "proposals")
    ended = hypseg("run", toy, "--out", out, *RUN)
    assert ended.code == 0, ended.said
    assert files(out) == files(whole)
    for path, content in before.items():
        assert (out / path.relative_to(whole)).read_bytes() == content
    for labels in whole.glob("labels_*.mrc"):
        found = read_volume(out / labels.name).read()
        np.testing.assert_array_equal(found, read_volume(labels).read())
    count("bad model or store")
