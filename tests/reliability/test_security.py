"""The code holds nothing that runs what a file says, and writes only where it is told to."""

from __future__ import annotations

import ast
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import napari_hypseg
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume, VolumeError, read_volume

SOURCES = sorted(Path(napari_hypseg.__file__).parent.rglob("*.py"))
# Modules that run code or commands, or unpack whatever an archive names.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "subprocess",
           "pty", "code", "codeop", "runpy", "tarfile", "ctypes"}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv",
         "torch.load", "torch.save", "torch.hub.load", "np.fromregex", "shutil.unpack_archive",
         "yaml.load"}  # fmt: skip
# `hypseg view` starts napari: a list of fixed words and a folder, no shell. The docks open
# PyTorch's own library by a foreign function, so that the window stays alive meanwhile.
ALLOWED = {"commands.py": ["subprocess"]}
# Of joblib only what shares work: processes of one's own talk in pickles, which no file holds.
PROCESSES = {"Parallel", "cpu_count", "delayed", "parallel_config"}


def faults(tree: ast.AST) -> list[str]:
    """What a module imports or calls that it must not."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module == "joblib":
            found += [f"joblib.{a.name}" for a in node.names if a.name not in PROCESSES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in CALLS or name.endswith((".extract", ".extractall")) else []
            for keyword in node.keywords:
                value = keyword.value
                unsafe = keyword.arg in ("allow_pickle", "shell", "weights_only")
                right = keyword.arg == "weights_only"
                if unsafe and not (isinstance(value, ast.Constant) and value.value is right):
                    found.append(f"{name}({keyword.arg}={ast.unparse(value)})")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_no_pickle_no_eval_no_shell(path):
    assert faults(ast.parse(path.read_text(encoding="utf-8"))) == ALLOWED.get(path.name, [])


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from subprocess import run", "import joblib", "from joblib import load",
     "eval('1')", "torch.load(f)", "os.system('ls')", "np.load(f, allow_pickle=True)",
     "f(shell=True)", "f(weights_only=False)",
     "archive.extractall(folder)"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(code):
    assert faults(ast.parse(code))


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_archives_write_nowhere(tmp_path, count):
    """A zip whose names climb out of it, or are absolute: nothing is unpacked, inside or out."""
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(inside / "a.zarr.zip", "w") as archive:
        for name in ("../../climbed", "/tmp/hypseg-absolute", "zarr.json", "0/../../x"):
            archive.writestr(name, "{}")
    before = everything(tmp_path)
    with pytest.raises(VolumeError):
        read_volume(inside / "a.zarr.zip")
    assert everything(tmp_path) == before
    assert not Path("/tmp/hypseg-absolute").exists()
    count("path that leads outside")


@pytest.mark.parametrize("name", ["../../climbed", "/tmp/hypseg-absolute", "a/b", ".."])
def test_names_from_files_make_no_paths(tmp_path, name, count):
    """What a volume, a dataset or a record calls itself is never a place to write to."""
    volume = Volume(np.random.default_rng(0).normal(size=(12, 14, 16)).astype("f4"), name=name)
    session = Session(volume, tmp_path / "deep" / "out")
    session.train(steps=1, device="cpu")
    assert {p.parent for p in everything(tmp_path)} >= {tmp_path / "deep" / "out"}
    assert {p.relative_to(tmp_path).parts[0] for p in everything(tmp_path)} == {"deep"}
    assert not Path("/tmp/hypseg-absolute").exists()
    assert session.record.volume.name == name
    count("path that leads outside")


@pytest.mark.parametrize("name", ["../precious.mrc", "/tmp/hypseg-precious.mrc", "../../up"])
def test_a_record_that_names_files_outside_removes_none(hypseg, toy, tmp_path, name, count):
    """A rerun removes the labels of the run before: those in its folder, whatever run.json says."""
    run = ["run", toy, "--out", tmp_path / "out", "--preset", "tiny", "--steps", 2,
           "--box", ":12,:20,:20", "-k"]  # fmt: skip
    assert hypseg(*run, 2).code == 0
    precious = tmp_path / "out" / name
    precious.write_text("keep")
    try:
        for record in (tmp_path / "out").glob("*.json"):
            text = record.read_text()
            assert json.loads(text) is not None
            record.write_text(text.replace("labels_k02.mrc", name))
        ended = hypseg(*run, 3)
        assert precious.read_text() == "keep", ended.said
        count("path that leads outside")
    finally:
        precious.unlink(missing_ok=True)
