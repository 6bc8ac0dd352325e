"""The command line from end to end, as a person and as a program would use it."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from napari_hypseg.cli import main
from napari_hypseg.samples import make_tomogram, make_toy
from napari_hypseg.volumes import Volume, read_volume, write_image, write_labels

HYPSEG = [sys.executable, "-c", "from napari_hypseg.cli import main; main()"]
SHORT = ["--steps", "3", "--box", "5:30,5:35,5:40"]


def hypseg(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process and check its exit code."""
    argv, showwarning = sys.argv, warnings.showwarning
    sys.argv = ["hypseg", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        returned = end.code or 0
    finally:
        sys.argv, warnings.showwarning = argv, showwarning
    assert returned == code, err.getvalue()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy volume with a voxel size and an origin of its own."""
    path = tmp_path_factory.mktemp("toy") / "toy.mrc"
    voxels = make_toy("regular", seed=4).volume.read()
    write_image(path, voxels, Volume(voxels, (7.5, 7.5, 7.5), (-30.0, 15.0, 60.0), "toy"))
    return path


@pytest.fixture(scope="module")
def result(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole run."""
    out = tmp_path_factory.mktemp("run") / "result"
    done = hypseg("run", toy, "--out", out, *SHORT, "-k", "2:5", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["ks"] == [2, 3, 4, 5]
    return out


def test_run_fills_its_folder(result: Path) -> None:
    names = {p.name for p in result.iterdir()}
    assert names == {
        "models", "latents", "proposals", "smoothed.zarr", "tree.json", "report.html",
        "session.json",
        "leaves.mrc", *(f"labels_k{k:02d}.mrc" for k in (2, 3, 4, 5)),
    }  # fmt: skip
    run = json.loads((result / "session.json").read_text())["run"]
    assert run["command"].startswith("hypseg run ")
    assert set(run["seconds"]) == {"training", "mapping", "clustering", "writing"}
    assert json.loads((result / "tree.json").read_text())["kind"] == "things"


def test_labels_nest_and_lie_where_the_box_lies(result: Path) -> None:
    finer = None
    for k in (5, 4, 3, 2):
        with mrcfile.open(result / f"labels_k{k:02d}.mrc") as file:
            labels = file.data.copy()
            assert file.header.mode == 0
            np.testing.assert_allclose(file.voxel_size.tolist(), 7.5)
            origin = file.header.origin.tolist()
        # x, y, z; the box begins at voxel 5 along each axis.
        np.testing.assert_allclose(origin, [60 + 37.5, 15 + 37.5, -30 + 37.5])
        assert labels.shape == (25, 30, 35)
        assert np.unique(labels).tolist() == list(range(1, k + 1))
        if finer is not None:
            pairs = np.unique(np.stack([finer.ravel(), labels.ravel()]), axis=1)
            assert len(np.unique(pairs[0])) == pairs.shape[1]
        finer = labels


def test_run_again_takes_what_is_there(toy: Path, result: Path) -> None:
    stamps = {
        p: p.stat().st_mtime_ns for p in (result / "models/0001.hypseg", *result.rglob("c/*/*/*"))
    }
    before = (result / "labels_k04.mrc").read_bytes()
    hypseg("run", toy, "--out", result, *SHORT, "-k", "4")
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    with mrcfile.open(result / "labels_k04.mrc") as file:
        assert file.data.tobytes() == before[1024:]
    # Labels of the earlier run that this one did not write would be mistaken for its own.
    assert sorted(p.name for p in result.glob("labels_*")) == ["labels_k04.mrc"]


def test_segment_with_the_model_gives_the_same(toy: Path, result: Path, tmp_path: Path) -> None:
    hypseg("run", toy, "--out", result, *SHORT, "-k", "3")
    hypseg(
        "segment", toy, "--model", result / "models/0001.hypseg", "--out", tmp_path / "again",
        *SHORT[2:], "-k", "3", "--format", "tif",
    )  # fmt: skip
    again = read_volume(tmp_path / "again" / "labels_k03.tif")
    first = read_volume(result / "labels_k03.mrc")
    np.testing.assert_array_equal(again.read(), first.read())
    assert again.voxel_size == pytest.approx(first.voxel_size)
    assert again.origin == pytest.approx(first.origin)


def test_view_starts_napari_on_the_folder(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_hypseg.cli import commands

    started: list[list[str]] = []
    monkeypatch.setattr(commands.subprocess, "call", lambda command: started.append(command) or 0)
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name == "napari" else 1)
    said = hypseg("view", result, code=1).stderr
    assert "pip install 'napari-hypseg[all]'" in said
    assert started == []
    monkeypatch.setattr(commands, "find_spec", lambda name: 1)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        assert "no display" in hypseg("view", result, code=1).stderr
    monkeypatch.setenv("DISPLAY", ":0")
    hypseg("view", result)
    assert started[0][1:] == ["-m", "napari", "--plugin", "napari-hypseg", str(result.absolute())]


LONGER = ["--steps", "12", "--box", ":,:,:40", "-k", "2:6", "--seed", "7"]


@pytest.fixture(scope="module")
def whole(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without interruption."""
    out = tmp_path_factory.mktemp("whole") / "result"
    hypseg("run", toy, "--out", out, *LONGER)
    return out


@pytest.mark.parametrize(
    ("moment", "stage"),
    [
        (signal.SIGINT, "training"),
        (signal.SIGTERM, "training"),
        (signal.SIGKILL, "training"),
        (signal.SIGKILL, "mapping"),
    ],
)
def test_interrupted_run_ends_in_the_same_labels(
    toy: Path, whole: Path, tmp_path: Path, moment: int, stage: str
) -> None:
    out = tmp_path / "broken"
    process = subprocess.Popen(
        [*HYPSEG, "run", str(toy), "--out", str(out), *LONGER],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would what we start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(stage):
            break
    time.sleep(0.1)
    process.send_signal(moment)
    _, errors = process.communicate(timeout=60)
    if moment != signal.SIGKILL:
        assert process.returncode == 1
        assert "the same command goes on from here" in errors
    hypseg("run", toy, "--out", out, *LONGER)
    for k in range(2, 7):
        name = f"labels_k{k:02d}.mrc"
        np.testing.assert_array_equal(
            read_volume(whole / name).read(), read_volume(out / name).read()
        )
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}


def test_synth_train_info_evaluate(tmp_path: Path) -> None:
    made = hypseg("synth", "regular", "--out", tmp_path, "--count", "2", "--json")
    files = json.loads(made.stdout)["files"]
    assert [Path(f).name for f in files[:4]] == [
        "regular_000.mrc", *(f"regular_000_level{i}.mrc" for i in (1, 2, 3)),
    ]  # fmt: skip
    assert len(files) == 8

    model = tmp_path / "both.hypseg"
    hypseg("train", files[0], files[4], "--model", model, "--steps", "2")
    assert {p.name for p in tmp_path.iterdir()} == {Path(f).name for f in files} | {model.name}

    told = json.loads(hypseg("info", files[0], "--json").stdout)
    assert told["shape"] == [50, 50, 50]
    assert told["voxel_size_angstrom"] == [10.0, 10.0, 10.0]

    score = json.loads(hypseg("evaluate", files[1], files[1], "--json").stdout)
    assert score["mean_dice"] == 1.0
    assert "mean Dice 1.000" in hypseg("evaluate", files[2], files[2]).stdout


def test_synth_makes_tomograms_with_truth_and_centres(tmp_path: Path) -> None:
    options = ["--size", "24,40,48", "--voxel-size", "12", "--snr", "0.5", "--seed", "3"]
    made = hypseg("synth", "tomogram", "--out", tmp_path, "--count", "2", *options, "--json")
    files = [Path(file).name for file in json.loads(made.stdout)["files"]]
    assert files[:5] == [
        "tomogram_000.mrc", *(f"tomogram_000_level{i}.mrc" for i in (1, 2, 3)),
        "tomogram_000_picks.csv",
    ]  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == set(files)
    assert len(files) == 10
    told = json.loads(hypseg("info", tmp_path / "tomogram_001.mrc", "--json").stdout)
    assert told["shape"] == [24, 40, 48]
    assert told["voxel_size_angstrom"] == [12.0, 12.0, 12.0]
    expected = make_tomogram((24, 40, 48), voxel_size=12.0, snr=0.5, seed=4)
    truth = read_volume(tmp_path / "tomogram_001_level3.mrc").read()
    np.testing.assert_array_equal(truth, expected.levels[2])
    lines = (tmp_path / "tomogram_001_picks.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(map(len, expected.picks.values()))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["synth", "cell", "--out", "out", "--snr", "1"], 2, "only a tomogram has --snr"),
        (["synth", "tomogram", "--out", "out", "--size", "big"], 2, "128,256,256"),
        (["synth", "tomogram", "--out", "out", "--snr", "0"], 1, "positive number, not 0"),
        (["run", "missing.mrc", "--out", "out"], 1, "missing.mrc: no such file"),
        (["run", "TOY", "--out", "out", "-k", "many"], 2, "2:12"),
        (["run", "TOY", "--out", "out", "--box", "60:70,:,:"], 1, "60:70"),
        (["run", "TOY", "--out", "out", "--preset", "best"], 1, "no preset 'best'"),
        (["run", "TOY", "--out", "out", "--device", "cuda:99"], 1, "cuda:99"),
        (["segment", "TOY", "--model", "TOY", "--out", "out"], 1, "not a napari-hypseg model"),
        (["evaluate", "TOY", "OTHER"], 1, "can't be compared"),
        (["train", "TOY"], 2, "--model"),
        (["view", "out"], 1, "no session is kept here"),
    ],
)
def test_mistakes_get_one_line(
    toy: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    other = tmp_path / "other.mrc"
    small = np.zeros((4, 4, 4), np.uint8)
    write_labels(other, small, Volume(small, (7.5,) * 3, (0.0,) * 3, "other"))
    names = {"TOY": str(toy), "OTHER": str(other), "out": str(tmp_path / "out")}
    done = hypseg(*(names.get(a, a) for a in arguments), code=code)
    assert words in " ".join(done.stderr.split())
    if code == 1:
        assert len(done.stderr.strip().splitlines()) <= 3


def digest(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("name", ["leaves.mrc", "labels_k02.mrc"])
def test_the_input_survives(toy: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(toy.read_bytes())
    for more in ([], ["--overwrite"]):
        done = hypseg("run", tmp_path / name, "--out", tmp_path, *SHORT, "-k", "2", *more, code=1)
        assert "is the volume itself" in " ".join(done.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert digest(tmp_path / name) == digest(toy)


def test_the_work_on_another_tomogram_survives(toy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mrc"
    voxels = make_toy("regular", seed=5).volume.read()
    write_image(other, voxels, Volume(voxels, (7.5,) * 3))
    hypseg("run", toy, "--out", tmp_path / "r", *SHORT, "-k", "2")
    before = digest(tmp_path / "r" / "labels_k02.mrc")
    said = hypseg("run", other, "--out", tmp_path / "r", *SHORT, "-k", "2", code=1).stderr
    assert "holds the work on another volume, toy" in " ".join(said.split())
    assert digest(tmp_path / "r" / "labels_k02.mrc") == before
    hypseg("run", other, "--out", tmp_path / "r", *SHORT, "-k", "2", "--overwrite")
    assert digest(tmp_path / "r" / "labels_k02.mrc") != before


def test_a_home_is_a_home(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    hypseg("run", toy, "--out=~/r", *SHORT, "-k", "2")
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home" / "r" / "report.html").exists()


def test_a_trained_model_is_not_overwritten(toy: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.hypseg"
    hypseg("train", toy, "--model", model, "--steps", "2")
    before = digest(model)
    hypseg("train", toy, "--model", model, "--steps", "2")
    assert digest(model) == before
    done = hypseg("train", toy, "--model", model, "--steps", "3", code=1)
    assert "is there already" in " ".join(done.stderr.split())
    assert digest(model) == before
    hypseg("train", toy, "--model", model, "--steps", "3", "--overwrite")
    assert digest(model) != before


def test_run_again_leaves_the_classes_and_export_writes_them(toy: Path, tmp_path: Path) -> None:
    import napari_hypseg as hs

    hypseg("run", toy, "--out", tmp_path / "r", *SHORT, "-k", "4")
    session = hs.Session.open(tmp_path / "r")
    membrane = session.keep(session.proposals.nodes(4)[1], name="membrane")
    session.keep(session.proposals.nodes(4)[2], name="=cmd()")
    kept = session.classes.labels.copy()
    hypseg("run", toy, "--out", tmp_path / "r", *SHORT, "-k", "3", "--tree", "kinds")
    again = hs.Session.open(tmp_path / "r")
    np.testing.assert_array_equal(again.classes.labels, kept)
    assert [row.name for row in again.classes.table] == ["membrane", "=cmd()"]

    out = tmp_path / "labels.mrc"
    hypseg("export", tmp_path / "r", out)
    written = read_volume(out)
    np.testing.assert_array_equal(written.read(), kept)
    assert (written.voxel_size, written.origin) == ((7.5,) * 3, (-30.0, 15.0, 60.0))
    # A name never becomes a formula where the table is opened.
    assert "\n2,'=cmd()" in (tmp_path / "labels.csv").read_text()
    done = hypseg("export", tmp_path / "r", out, code=1)
    assert "is there already" in " ".join(done.stderr.split())
    hypseg("export", tmp_path / "r", tmp_path / "one", "--only", "membrane")
    np.testing.assert_array_equal(
        read_volume(tmp_path / "one.mrc").read(), np.where(kept == membrane, kept, 0)
    )
    done = hypseg("export", tmp_path / "r", tmp_path / "two", "--only", "spike", code=1)
    assert "spike" in done.stderr


def test_evaluate_scores_files_of_any_type_and_tells_what_differs(tmp_path: Path) -> None:
    mask = np.zeros((6, 8, 8), np.uint8)
    mask[2:5, 2:6, 2:6] = 1
    held = Volume(mask, (10.0,) * 3, (0.0,) * 3, "held")
    moved = Volume(mask, (12.0,) * 3, (50.0, 0.0, 0.0), "moved")
    write_labels(tmp_path / "a.mrc", mask, held)
    write_labels(tmp_path / "b.mrc", np.roll(mask, 1, 0), moved)
    write_image(tmp_path / "truth.mrc", mask.astype(np.float32), held)
    files = [tmp_path / name for name in ("a.mrc", "b.mrc", "truth.mrc")]
    with warnings.catch_warnings(action="always"):
        done = hypseg("evaluate", *files)
    assert "voxel size" in done.stderr
    assert "origin" in done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [
        ["0", "1.000"], ["1", "1.000"],
    ]  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        scores = json.loads(hypseg("evaluate", *files, "--json").stdout)["files"]
    assert [round(score["classes"][1]["best_dice"], 3) for score in scores] == [1, 0.667]
    write_image(tmp_path / "image.mrc", mask / np.float32(3), held)
    done = hypseg("evaluate", tmp_path / "image.mrc", tmp_path / "truth.mrc", code=1)
    assert "whole numbers" in done.stderr


def test_evaluate_scores_picks(tmp_path: Path) -> None:
    (tmp_path / "found.csv").write_text("class,z,y,x\nribosome,1,2,3\nribosome,9,9,9\n")
    (tmp_path / "truth.csv").write_text("class,z,y,x\nribosome,1,2,5\nTRiC,50,50,50\n")
    done = hypseg("evaluate", tmp_path / "found.csv", tmp_path / "truth.csv", "--radius", 2)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["ribosome", "0.500", "1.000", "0.667", "2", "1"] in rows
    assert ["TRiC", "0.000", "0.000", "0.000", "0", "1"] in rows
