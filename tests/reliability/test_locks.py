"""Locks, temporary names and links in a folder that others may write in, or have made."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from napari_hypseg.volumes.atomic import BusyError, locked, remove, replacing

from .test_stopping import killed_number


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def outside(tmp_path):
    """A folder that nothing may change, with what it should hold."""
    folder = tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    (folder / "precious").write_text("keep")
    (folder / "deep" / "precious").write_text("keep, too")
    before = content(folder)
    yield folder
    assert content(folder) == before


def test_a_lock_that_is_a_link_is_not_followed(tmp_path, outside):
    work = tmp_path / "work"
    work.mkdir()
    for target in (outside / "precious", outside / "made"):
        (work / ".hypseg.lock").symlink_to(target)
        with pytest.raises(OSError, match=r"\.hypseg\.lock: is a link"), locked(work):
            pass
        (work / ".hypseg.lock").unlink()


def test_the_sweep_removes_only_what_was_made_here(tmp_path, outside):
    """Links with the right name go, not what they point to; what only looks alike stays."""
    work, dead = tmp_path / "work", killed_number()
    work.mkdir()
    mine = [".a.12345678.old", ".a.12345678.new", ".b.hypseg-x-01234567.new",
            "c.hypseg-1-01234567.new", ".hypseg-5-01234567.new"]  # fmt: skip
    for name in mine:
        (work / name).write_text("a person's own")
    links = [f".d.hypseg-{dead}-01234567.new", f".e.hypseg-{dead}-01234567.new"]
    (work / links[0]).symlink_to(outside)
    (work / links[1]).symlink_to(outside / "precious")
    os.mkfifo(work / f".f.hypseg-{dead}-01234567.new")
    with locked(work):
        pass
    assert {p.name for p in work.iterdir()} == {*mine, f".f.hypseg-{dead}-01234567.new"}


def test_the_sweep_leaves_what_is_being_written(tmp_path):
    """By another thread of this process, and by another process."""
    other = subprocess.Popen(["sleep", "30"])
    try:
        theirs = tmp_path / f".a.json.hypseg-{other.pid}-01234567.new"
        theirs.write_text("half")
        with replacing(tmp_path / "b.json") as fresh:
            fresh.write_text("whole")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(lock_once, tmp_path).result()
            assert theirs.exists()
    finally:
        other.kill()
        other.wait()
    assert (tmp_path / "b.json").read_text() == "whole"
    lock_once(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"b.json"}


def lock_once(folder: Path, name: str = "", wait: float = 0.0) -> None:
    with locked(folder, name, wait):
        pass


def test_threads_of_one_process(tmp_path):
    """A job holds the folder; another thread can't have it, but has a record in it."""
    with locked(tmp_path), ThreadPoolExecutor(1) as pool:
        pool.submit(lock_once, tmp_path, "session.json").result()
        with pytest.raises(BusyError, match=r"another job of this program writes there"):
            pool.submit(lock_once, tmp_path).result()


def test_waiting_for_a_short_lock(tmp_path):
    held, began = threading.Event(), time.monotonic()

    def hold() -> None:
        with locked(tmp_path, "session.json"):
            held.set()
            time.sleep(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(BusyError):
        lock_once(tmp_path, "session.json")
    with locked(tmp_path, "session.json", wait=10):
        assert 0.4 < time.monotonic() - began < 5
    thread.join()


def test_a_lock_that_ends_in_another_thread(tmp_path):
    """As that of a job that the garbage collector closes."""

    def job():
        with locked(tmp_path):
            yield

    running = job()
    next(running)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(running.close).result()
    lock_once(tmp_path)


COUNT = """
import sys
from pathlib import Path
from napari_hypseg.volumes.atomic import locked, replacing
folder = Path(sys.argv[1])
for _ in range(40):
    with locked(folder, "n", wait=60):
        n = int((folder / "n").read_text())
        with replacing(folder / "n") as fresh:
            fresh.write_text(str(n + 1))
"""


def test_many_that_wait_lose_nothing(tmp_path):
    """Three processes add one, forty times each, while the folder is locked and swept as well."""
    (tmp_path / "n").write_text("0")
    runs = [subprocess.Popen([sys.executable, "-c", COUNT, tmp_path]) for _ in range(3)]
    while any(run.poll() is None for run in runs):
        lock_once(tmp_path)
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "120"
    assert [p.name for p in tmp_path.iterdir()] == ["n"]


def seen_by_all(folder: Path) -> Path:
    """A folder of pytest's, which other users may look into."""
    for parent in [folder, *folder.parents]:
        if any("pytest-of" in name for name in parent.parts):
            parent.chmod(0o755)
    return folder


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs another user")
def test_a_folder_of_two_users(tmp_path):
    """What one user's killed process left, lock and all, holds up no other who may write there."""
    work = seen_by_all(tmp_path) / "work"
    work.mkdir()
    work.chmod(0o777)
    begin = "import os, sys; from pathlib import Path\n"
    begin += "from napari_hypseg.volumes.atomic import locked\nos.umask(0o022)\n"
    killed = begin + "with locked(Path(sys.argv[1])): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", killed, work]).returncode == 9
    assert (work / ".hypseg.lock").exists()
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c"]
    code = begin + "with locked(Path(sys.argv[1])): print('mine')"
    ended = subprocess.run([*other, code, work], capture_output=True, text=True)
    assert ended.stdout == "mine\n", ended.stderr
    assert not list(work.iterdir())


def test_links_are_replaced_not_written_through(tmp_path, outside):
    """A file over a link, a folder over a link, links that lead nowhere."""
    work = tmp_path / "work"
    work.mkdir()
    for name, target in [("a", outside / "precious"), ("b", outside), ("c", outside / "nothing")]:
        (work / name).symlink_to(target)
        with replacing(work / name) as fresh:
            fresh.write_text("new")
        assert content(work) == {name: "new"}
        (work / name).unlink()
        (work / name).symlink_to(target)
        with replacing(work / name) as fresh:
            fresh.mkdir()
            (fresh / "x").write_text("new")
        assert content(work) == {f"{name}/x": "new"}
        remove(work / name)
        (work / name).symlink_to(target)
        remove(work / name)
        assert not list(work.iterdir())


def test_a_folder_that_is_reached_by_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "disk")
    with locked(tmp_path / "work"), replacing(tmp_path / "work" / "a") as fresh:
        fresh.write_text("new")
    assert content(tmp_path / "disk") == {"a": "new"}
    assert (tmp_path / "work").is_symlink()


@pytest.mark.parametrize("name", ["a\nb", b"\xff\xfe.mrc".decode(errors="surrogateescape"), "~"])
def test_names_of_any_bytes(tmp_path, name):
    (tmp_path / f".{name}.hypseg-{killed_number()}-01234567.new").write_text("half")
    with locked(tmp_path, name), replacing(tmp_path / name) as fresh:
        fresh.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == [name]
