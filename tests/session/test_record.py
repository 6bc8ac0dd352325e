"""``session.json``: what a stranger or a crash made of it gives one sentence, and nothing more."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_hypseg.session import Session, read_record


def damage(file, kind):
    if kind == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif kind == "noise":
        file.write_bytes(np.random.default_rng(0).bytes(file.stat().st_size))
    elif kind == "other":
        file.write_text("[1, 2, 3]")
    else:
        place = whole = json.loads(file.read_text())
        *way, last = kind.split("/")
        for key in way:
            place = place[key]
        del place[last]
        file.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    "kind",
    ["cut", "noise", "other", "volume", "volume/place/path", "volume/name", "volume/shape",
     "hypseg_session", "latents/stride", "proposals/smoothing", "proposals/tree"],
)  # fmt: skip
def test_a_damaged_record_is_told_in_a_sentence(moved, kind):
    damage(moved / "toy_hypseg" / "session.json", kind)
    with pytest.raises(ValueError, match="toy_hypseg") as caught:
        Session.open(moved / "toy_hypseg")
    assert "\n" not in str(caught.value)
    assert "damaged" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models/0001.hypseg", "cut"),
        ("latents/0001_stride2.zarr/zarr.json", "noise"),
        ("proposals/things.zarr/zarr.json", "noise"),
        ("proposals/things.zarr/zarr.json", "attributes/merges"),
        ("proposals/things.zarr/leaves/c/0/0/0", "noise"),
        ("proposals/things.zarr/leaves/c/0/0/0", "cut"),
    ],
)
def test_what_is_damaged_is_told_and_the_classes_are_there(moved, name, kind):
    """What the machine made can be made anew."""
    folder = moved / "toy_hypseg"
    session = Session.open(folder)
    session.keep_all()
    before = session.classes.labels.copy()
    damage(folder / name, kind)
    with pytest.warns(UserWarning, match="damaged|no store|none of the session") as caught:
        session = Session.open(folder)
    assert all("\n" not in str(w.message) for w in caught)
    np.testing.assert_array_equal(session.classes.labels, before)
    session.train(steps=2, device="cpu")
    session.discover(stride=2, device="cpu")
    assert session.proposals.most > 3


@pytest.mark.parametrize(("version", "word"), [(1, "older"), (3, "newer")])
def test_another_version_is_told(moved, version, word):
    file = moved / "toy_hypseg" / "session.json"
    file.write_text(file.read_text().replace('"hypseg_session": 2', f'"hypseg_session": {version}'))
    with pytest.raises(ValueError, match=f"of an? {word} version of napari-hypseg"):
        Session.open(moved / "toy_hypseg")


@pytest.mark.parametrize(
    "name", ["../victim", "/etc/victim", "labels_k02.mrc/../../victim", "classes", "session.json"]
)
def test_outputs_are_names_that_we_give(moved, name):
    """What is listed as written is removed when it is written no more."""
    file = moved / "toy_hypseg" / "session.json"
    values = json.loads(file.read_text())
    values["outputs"] = [name]
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="damaged at 'outputs"):
        read_record(moved / "toy_hypseg")


def test_a_record_of_any_size_does_not_fill_the_memory(tmp_path):
    with (tmp_path / "session.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="too large"):
        read_record(tmp_path)
