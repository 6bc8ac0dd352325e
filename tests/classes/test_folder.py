"""What the folder of the classes survives: kills, other programs, damage, strangers."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from napari_hypseg.classes import Classes
from napari_hypseg.volumes import Volume, read_volume

SHAPE = (20, 70, 70)


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def kept(tmp_path):
    """Three edits: class 1 above, class 2 below it, and a name."""
    classes = Classes(tmp_path / "classes", SHAPE)
    classes.add(np.ones((5, 70, 70), bool), "above", box=np.s_[:5, :70, :70])
    classes.add(np.ones((5, 70, 70), bool), box=np.s_[5:10, :70, :70])
    classes.rename(2, "below")
    return classes


WRITER = """
import sys
import numpy as np
from napari_hypseg.classes import Classes
classes = Classes(sys.argv[1], (20, 70, 70))
n = len(classes.history)
if not classes.table:
    classes.add(name="counter"); n += 1
while True:
    classes.fill(1, np.ones((1, 70, 70), bool), box=np.s_[n % 20:n % 20 + 1, :70, :70]) \\
        if not classes.counts[1] or n % 2 == 0 else classes.clear(1)
    n = len(classes.history)
    print(n, flush=True)
"""


def test_no_kill_loses_an_edit_that_was_made(tmp_path):
    draw = random.Random(0)
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
        )
        last = int(child.stdout.readline())
        time.sleep(draw.uniform(0, 0.3))
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        last = int(rest[-1]) if rest else last
        again = Classes(tmp_path / "c", SHAPE)
        steps = len(again.history)
        assert steps in (last, last + 1)
        # Either nothing or just one whole slice, as the last step in words says.
        full = again.labels.all((1, 2))
        assert again.labels.any((1, 2)).sum() == full.sum()
        assert full.sum() == (again.undo_text.startswith("fill"))
        again.undo()
        assert again.labels.any() == again.undo_text.startswith("fill")
        again.redo()
        assert again.labels.all((1, 2)).tolist() == full.tolist()
        stored = zarr.open_array(tmp_path / "c" / "labels.zarr", mode="r")[:]
        np.testing.assert_array_equal(stored, again.labels)


def test_two_programs_lose_nothing_of_each_other(tmp_path):
    one, two = (Classes(tmp_path / "c", SHAPE) for _ in range(2))
    heard = []
    two.changed.connect(heard.append)
    for turn in range(6):
        part = np.s_[turn : turn + 1, :70, :70]
        (one, two)[turn % 2].add(np.ones((1, 70, 70), bool), f"turn {turn}", box=part)
    one.refresh()
    for classes in (one, two, Classes(tmp_path / "c", SHAPE)):
        assert [row.name for row in classes.table] == [f"turn {turn}" for turn in range(6)]
        assert classes.labels[:6, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert len([edit for edit in heard if edit.what.startswith("take up")]) == 3
    two.add(name="unseen")
    # What was not seen is shown, and not taken back.
    one.undo()
    assert one.table == two.table
    assert one.table[-1].name == "unseen"
    one.undo()
    assert one.table[-1].name == "turn 5"


def test_nothing_is_made_before_the_first_edit(tmp_path):
    classes = Classes(tmp_path / "c", SHAPE)
    with pytest.raises(ValueError, match="no class 3"):
        classes.clear(3)
    with pytest.raises(ValueError, match="no class 3"):
        classes.hide([3])
    assert not (tmp_path / "c").exists()


def test_there_are_255_classes_at_most_and_a_number_comes_again_last(tmp_path):
    classes = Classes(tmp_path / "c", (4, 8, 8))
    labels = np.arange(256).reshape(4, 8, 8)
    classes.replace(labels)
    assert len(classes.table) == 255
    with pytest.raises(ValueError, match="255 classes"):
        classes.add(name="one more")
    classes.remove([7])
    assert classes.add(name="again") == 7
    with pytest.raises(ValueError, match=r"these are 1 to 256"):
        classes.replace(labels + 1)
    other = Classes(tmp_path / "d", (4, 8, 8))
    assert [other.add(), other.add()] == [1, 2]
    other.remove(1)
    assert other.add() == 3
    assert len({row.colour for row in classes.table}) == 255


def test_the_log_mends_the_volume(kept):
    labels = kept.labels.copy()
    chunk = kept.folder / "labels.zarr" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    again = Classes(kept.folder, SHAPE)
    np.testing.assert_array_equal(again.labels, labels)
    again.lock(1)
    stored = zarr.open_array(kept.folder / "labels.zarr", mode="r")[:]
    np.testing.assert_array_equal(stored, labels)


def test_a_damaged_edit_ends_undo_and_loses_no_label(kept):
    labels = kept.labels.copy()
    (kept.folder / "edits" / "000002.edit").write_bytes(b"hypsegE1 and nothing more")
    again = Classes(kept.folder, SHAPE)
    np.testing.assert_array_equal(again.labels, labels)
    again.undo()
    with pytest.raises(ValueError, match=r"000002\.edit: this edit of the classes is damaged"):
        again.undo()
    np.testing.assert_array_equal(again.labels, labels)
    again.add(name="and on")


def _strange(draw, values):
    """Another value somewhere in nested JSON values."""
    odd = [None, -1, 1e400, "x", [], {}, True, 10**30, "../../x", float("nan"), [[1]], 256]
    holder = values
    while True:
        key = draw.choice([*holder] if isinstance(holder, dict) else [*range(len(holder))])
        if isinstance(holder[key], (dict, list)) and holder[key] and draw.random() < 0.7:
            holder = holder[key]
            continue
        if draw.random() < 0.2:
            del holder[key]
        else:
            holder[key] = draw.choice(odd)
        return values


@pytest.mark.parametrize("name", ["state.json", "labels.zarr/zarr.json"])
def test_strange_files_give_one_sentence_and_nothing_is_written(kept, name):
    draw = random.Random(1)
    file, refused = kept.folder / name, 0
    text = file.read_text()
    for turn in range(150):
        file.write_text(json.dumps(_strange(draw, json.loads(text))))
        if turn % 10 == 0:
            file.write_bytes(draw.randbytes(turn))
        before = contents(kept.folder.parent)
        try:
            Classes(kept.folder, SHAPE)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
            assert str(kept.folder) in str(error)  # noqa: PT017
            with pytest.raises(ValueError, match="classes"):
                kept.add(name="over it") if name == "state.json" else Classes(kept.folder, SHAPE)
        assert contents(kept.folder.parent) == before
    assert refused > 75


@pytest.mark.parametrize("name", ["state.json", "labels.zarr", "labels.zarr/c", "edits", "."])
def test_links_are_not_followed(kept, name, tmp_path):
    place, elsewhere = kept.folder / name, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    with pytest.raises(ValueError, match="classes"):
        Classes(kept.folder, SHAPE)


def test_a_lost_state_or_another_shape_is_refused(kept):
    with pytest.raises(ValueError, match=r"\(20, 70, 70\).*\(20, 70, 71\)"):
        Classes(kept.folder, (20, 70, 71))
    (kept.folder / "state.json").unlink()
    with pytest.raises(ValueError, match="is missing"):
        Classes(kept.folder, SHAPE)
    with pytest.raises(ValueError, match="is missing"):
        kept.add(name="over it")


def test_a_full_disk_undoes_the_edit_in_memory(kept, monkeypatch):
    labels, table = kept.labels.copy(), kept.table
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        kept.add(np.ones(SHAPE, bool))
    monkeypatch.undo()
    np.testing.assert_array_equal(kept.labels, labels)
    assert (kept.table, len(kept.history)) == (table, 3)
    assert kept.counts[1] == (labels == 1).sum()


def test_signals_tell_what_changed(kept):
    heard, chosen = [], []
    kept.changed.connect(heard.append)
    kept.chosen_changed.connect(lambda: chosen.append(kept.chosen))
    kept.choose([2])
    kept.subtract(2, np.ones((1, 2, 3), bool), box=np.s_[6:7, 4:6, 1:4])
    kept.remove(2)
    # The chunk in which it has changed.
    assert heard[0].box == np.s_[0:20, 0:64, 0:64]
    assert [edit.numbers for edit in heard] == [(2,), (2,)]
    assert chosen == [(2,), ()]


def test_exports(kept, tmp_path):
    like = Volume(np.zeros(SHAPE, np.float32), (10.0, 11.0, 12.0), (1.0, 2.0, 3.0), "t")
    kept.write(tmp_path / "all.mrc", like)
    back = read_volume(tmp_path / "all.mrc")
    np.testing.assert_array_equal(back.read(), kept.labels)
    assert back.voxel_size == pytest.approx(like.voxel_size)
    named = json.loads((tmp_path / "all.json").read_text())["classes"]
    assert [(row["label"], row["name"]) for row in named] == [(1, "above"), (2, "below")]
    kept.write(tmp_path / "mask.tif", like, [2])
    np.testing.assert_array_equal(
        read_volume(tmp_path / "mask.tif").read(), np.where(kept.labels == 2, 2, 0)
    )
    kept.write_table(tmp_path / "t.csv", like.voxel_size)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["above", "below"]
    assert int(rows[0]["voxels"]) == 5 * 70 * 70
    assert float(rows[0]["volume_nm3"]) == pytest.approx(5 * 70 * 70 * 1.32)
