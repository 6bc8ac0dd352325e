"""kill -9, full disks and closed doors: the next run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hypseg.model import load_model
from napari_hypseg.model.files import load_tensors
from napari_hypseg.session import Session
from napari_hypseg.volumes import read_volume
from napari_hypseg.volumes.atomic import BusyError, locked, remove, replacing

from .conftest import SCALE

RUN = ["--preset", "tiny", "--steps", "6", "--box", ":12,:20,:40", "-k", "2:4"]


@pytest.fixture(scope="module")
def whole(hypseg, toy, tmp_path_factory):
    """An uninterrupted run: its folder, how long it takes and how often it changes the folder."""
    out = tmp_path_factory.mktemp("whole") / "out"
    ended = hypseg("run", toy, "--out", out, *RUN, inside=str(out))
    assert ended.code == 0, ended.said
    return out, ended


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def check_what_is_there(out: Path, whole: Path) -> None:
    """Whatever has its final name is whole."""
    for path in sorted(out.rglob("*")) if out.exists() else ():
        name = path.relative_to(out)
        if any(part.startswith(".") for part in name.parts):
            continue
        if path.suffix == ".mrc":
            np.testing.assert_array_equal(
                read_volume(path).read(), read_volume(whole / name).read()
            )
        elif path.suffix == ".hypseg":
            assert load_model(path).fingerprint() == load_model(whole / name).fingerprint()
        elif path.suffix == ".part":
            load_tensors(path)
        elif path.suffix == ".json" and path.parent == out:
            json.loads(path.read_text())
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".zarr" and (path / "zarr.json").exists():
            here, there = zarr.open(path, mode="r"), zarr.open(whole / name, mode="r")
            if isinstance(here, zarr.Group):
                here, there = here["leaves"], there["leaves"]
            found, right = here[:], there[:]
            mapped = ~np.isnan(found)
            np.testing.assert_array_equal(found[mapped], right[mapped])


def check_the_same(out: Path, whole: Path) -> None:
    """As if nothing had happened: the same files, the same labels."""
    assert files(out) == files(whole)
    check_what_is_there(out, whole)


def seeded(moments: int) -> list[float]:
    """Fractions of a run, evenly spread but for chance."""
    chance = np.random.default_rng(7).random(moments)
    return [round(float(n + c) / moments, 4) for n, c in enumerate(chance)]


@pytest.mark.parametrize("moment", seeded(round(20 * SCALE)))
def test_killed_at_a_moment(hypseg, toy, whole, tmp_path, moment, count):
    out, ended = tmp_path / "out", whole[1]
    seconds = moment * ended.seconds
    # A run that was quicker than the first has ended by then: once more, and sooner.
    while (killed := hypseg("run", toy, "--out", out, *RUN, seconds=seconds)).code == 0:
        remove(out)
        seconds *= 0.7
    count("kill -9 at a random moment")
    check_what_is_there(out, whole[0])
    again = hypseg("run", toy, "--out", out, *RUN)
    assert again.code == 0, again.said
    check_the_same(out, whole[0])
    assert killed.code == -signal.SIGKILL
    count("kills survived")


@pytest.mark.parametrize("moment", seeded(round(6 * SCALE)))
def test_killed_before_a_change_of_the_folder(hypseg, toy, whole, tmp_path, moment, count):
    out = tmp_path / "out"
    change = 1 + int(moment * whole[1].changes)
    killed = hypseg("run", toy, "--out", out, *RUN, inside=str(out), touch=change)
    assert killed.code == -signal.SIGKILL, killed.said
    count("kill -9 before a change of the folder")
    check_what_is_there(out, whole[0])
    again = hypseg("run", toy, "--out", out, *RUN)
    assert again.code == 0, again.said
    check_the_same(out, whole[0])
    count("kills survived")


@pytest.mark.parametrize("moment", seeded(round(2 * SCALE)))
def test_killed_while_other_work_is_replaced(hypseg, toy, whole, tmp_path, moment, count):
    """Another seed makes every file and every store of the folder anew."""
    out = tmp_path / "out"
    assert hypseg("run", toy, "--out", out, *RUN, "--seed", 5).code == 0
    change = 1 + int(moment * whole[1].changes)
    killed = hypseg("run", toy, "--out", out, *RUN, inside=str(out), touch=change)
    assert killed.code == -signal.SIGKILL
    again = hypseg("run", toy, "--out", out, *RUN)
    assert again.code == 0, again.said
    # The first model stays beside the second.
    for path in whole[0].glob("*.mrc"):
        np.testing.assert_array_equal(read_volume(out / path.name).read(), read_volume(path).read())
    assert [p.name for p in sorted((out / "models").iterdir())] == ["0001.hypseg", "0002.hypseg"]
    assert {p.name[:4] for p in (out / "latents").iterdir()} == {"0002"}
    count("kills survived")


ANOTHER = [*RUN[:-1], "2:6", "--seed", 5, "--tree", "kinds"]


@pytest.fixture(scope="module")
def kept(hypseg, toy, tmp_path_factory):
    """A run of which all was kept and painted over, and how often another run changes it."""
    folder = tmp_path_factory.mktemp("kept")
    assert hypseg("run", toy, "--out", folder / "out", *RUN).code == 0
    session = Session.open(folder / "out")
    session.k = 4
    first, *_ = session.keep_all()
    stroke = np.nonzero(np.indices(session.classes.labels.shape)[0] == 3)
    before = session.classes.labels[stroke].copy()
    session.classes.labels[stroke] = first
    assert session.classes.painted(stroke, before) == 0
    session.classes.rename(first, "painted")
    shutil.copytree(folder / "out", folder / "again")
    ended = hypseg("run", toy, "--out", folder / "again", *ANOTHER, inside=str(folder / "again"))
    assert ended.code == 0, ended.said
    return session, ended.changes


@pytest.mark.parametrize("moment", seeded(round(20 * SCALE)))
def test_killed_beside_classes_that_were_kept(hypseg, toy, kept, tmp_path, moment, count):
    """Another model, map and tree are made in the folder; what the person made is not touched."""
    session, changes = kept
    out = Path(shutil.copytree(session.folder, tmp_path / "out"))

    def check_classes() -> None:
        classes = Session.open(out).classes
        np.testing.assert_array_equal(classes.labels, session.classes.labels)
        assert classes.table == session.classes.table
        assert classes.history == session.classes.history

    touch = 1 + int(moment * changes)
    killed = hypseg("run", toy, "--out", out, *ANOTHER, inside=str(out), touch=touch)
    assert killed.code == -signal.SIGKILL, killed.said
    count("kill -9 beside kept classes")
    check_classes()
    again = hypseg("run", toy, "--out", out, *ANOTHER)
    assert again.code == 0, again.said
    check_classes()
    assert len(list(out.glob("labels_k*.mrc"))) == 5
    classes = Session.open(out).classes
    for _ in range(3):
        classes.undo()
    assert not classes.labels.any()
    assert not classes.table
    count("kills survived")


def one_line(ended, *words: object) -> None:
    """The run failed, and its last line says why in one sentence."""
    lines = [line for line in ended.said.splitlines() if line.startswith("hypseg: ")]
    assert ended.code == 1, ended.said
    assert "Traceback" not in ended.said
    assert ended.said.rstrip().endswith(lines[-1])
    for word in words:
        assert str(word) in lines[-1], lines[-1]


@pytest.mark.parametrize("room", [100, 13_000, 40_000])
def test_disk_full(hypseg, toy, whole, tmp_path, room, count):
    out = tmp_path / "out"
    ended = hypseg("run", toy, "--out", out, *RUN, file_size=room)
    one_line(ended, "File too large", out)
    assert not [name for name in files(out) if Path(name).name.startswith(".")]
    check_what_is_there(out, whole[0])
    again = hypseg("run", toy, "--out", out, *RUN)
    assert again.code == 0, again.said
    check_the_same(out, whole[0])
    count("disk full")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at a folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only the superuser can make a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [16, 180, 260])
def test_small_file_system(hypseg, toy, whole, tmp_path, kilobytes, count):
    """A full disk as the system has it, where even a folder entry finds no room."""
    disk = tmp_path / "disk"
    with mounted(disk, f"size={kilobytes}k"):
        one_line(hypseg("run", toy, "--out", disk / "out", *RUN), "No space left", disk)
        check_what_is_there(disk / "out", whole[0])
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        again = hypseg("run", toy, "--out", disk / "out", *RUN)
        assert again.code == 0, again.said
        check_the_same(disk / "out", whole[0])
    count("disk full")


def test_disk_that_can_only_be_read(hypseg, toy, tmp_path, count):
    disk = tmp_path / "disk"
    with mounted(disk, "ro"):
        one_line(hypseg("run", toy, "--out", disk, *RUN), disk, "Read-only file system")
        one_line(hypseg("run", toy, "--out", disk / "a", *RUN), disk, "Read-only file system")
    count("folder that can't be written", 2)


def test_folder_that_may_not_be_written(hypseg, toy, tmp_path, count):
    if os.getuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o555)
    one_line(hypseg("run", toy, "--out", tmp_path, *RUN), tmp_path, "Permission denied")
    one_line(hypseg("run", toy, "--out", tmp_path / "a", *RUN), tmp_path, "Permission denied")
    assert not list(tmp_path.iterdir())
    count("folder that can't be written", 2)


def test_second_process_in_a_folder_is_refused(hypseg, toy, whole, tmp_path, count):
    out = tmp_path / "out"
    with locked(out):
        one_line(
            hypseg("run", toy, "--out", out, *RUN),
            f"{out}: process {os.getpid()} writes there at the moment",
        )
        with pytest.raises(BusyError), locked(out):
            pass
        with locked(tmp_path / "elsewhere"), locked(out, "other.hypseg"):
            pass
    assert not list(out.iterdir())
    model = tmp_path / "m.hypseg"
    with locked(tmp_path, model.name):
        train = ["train", toy, "--model", model, "--preset", "tiny", "--steps", 2]
        one_line(hypseg(*train), f"{model}: process {os.getpid()} writes")
    assert hypseg(*train).code == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    count("second process", 2)


def test_the_lock_of_a_dead_process_holds_nobody_up(hypseg, toy, whole, tmp_path, count):
    out = tmp_path / "out"
    assert hypseg("run", toy, "--out", out, *RUN, inside=str(out), touch=20).code < 0
    assert (out / ".hypseg.lock").exists()
    with locked(out):
        pass
    assert not (out / ".hypseg.lock").exists()
    count("lock of a dead process")


def test_what_stepped_aside_comes_back(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "kept").write_text("old")
    dead = killed_number()
    os.replace(tmp_path / "a.zarr", tmp_path / f".a.zarr.hypseg-{dead}-0123abcd.old")
    (tmp_path / f".a.zarr.hypseg-{dead}-0123abcd.new").mkdir()
    # As a container leaves it, where every run has the same number.
    ours = tmp_path / f".a.hypseg.hypseg-{os.getpid()}-89abcdef.new"
    ours.mkdir()
    (ours / ".tmpAb1Cd2").write_text("half")
    (tmp_path / ".mine.txt").write_text("mine")
    with locked(tmp_path):
        assert {p.name for p in tmp_path.iterdir()} == {"a.zarr", ".mine.txt", ".hypseg.lock"}
    assert (tmp_path / "a.zarr" / "kept").read_text() == "old"


def killed_number() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_replacing_keeps_the_old_on_failure(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def stopped() -> None:
        with replacing(path) as fresh:
            fresh.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "old"
    with replacing(path) as fresh:
        fresh.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    remove(path)
    assert not list(tmp_path.iterdir())
