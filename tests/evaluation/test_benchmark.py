"""The benchmark: cells that are kept, failures that are told, tables that add up."""

from __future__ import annotations

import itertools
import json
import os
import time

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from napari_hypseg.evaluation import benchmark, samples
from napari_hypseg.evaluation.benchmark import benchmark_job
from napari_hypseg.evaluation.methods import Budget, Method
from napari_hypseg.evaluation.tables import read_cells, summarise, write_tables
from napari_hypseg.jobs import finish
from napari_hypseg.samples import make_toy
from napari_hypseg.volumes import VolumeError


@pytest.fixture
def processes_end():
    """No process is kept for the next benchmark, as joblib would."""
    yield
    get_reusable_executor().shutdown(kill_workers=True)


class Calls(list):
    """What was fitted on and asked for."""


@pytest.fixture
def calls(monkeypatch):
    """Four methods that cost nothing, in place of the real ones."""
    calls = Calls()

    def oracle(volumes, budget):
        calls.append(("fit", budget, [v.name for v in volumes]))

        def predict(volume, k):
            calls.append(("predict", volume.name, k))
            toy = make_toy("regular", seed=int(volume.name.split("-")[-1]))
            return toy.levels[(2, 4, 8).index(k)]

        return predict

    def nothing(volumes, budget):
        return lambda volume, k: np.zeros(volume.shape, np.uint8)

    def breaks(volumes, budget):
        raise RuntimeError("no\n luck")

    methods = [
        Method("oracle", "the truth", oracle),
        Method("nothing", "one label", nothing, learns=False, seeded=False),
        Method("breaks", "what fails", breaks),
        Method("slow", "what is slow", oracle, heavy=True),
    ]
    monkeypatch.setattr(benchmark, "METHODS", {m.name: m for m in methods})
    monkeypatch.setattr(samples, "QUICK", 2)
    # Other processes would not know these methods, nor tell of their calls.
    monkeypatch.setattr(benchmark, "processes", lambda: 1)
    return calls


def test_scores_failures_and_tables(calls, tmp_path):
    table = finish(benchmark_job("toy", tmp_path, seeds=2, quick=True))
    text = table.read_text()
    rows = {
        row["method"]: row for row in json.loads(table.with_suffix(".json").read_text())["rows"]
    }
    assert list(rows) == ["nothing", "oracle", "breaks", "slow"]
    assert rows["oracle"]["mode"] == "inductive"
    assert (rows["oracle"]["seeds"], rows["oracle"]["volumes"]) == (2, 2)
    for level in (1, 2, 3):
        assert rows["oracle"]["scores"][f"level {level}"]["dice"] == {"mean": 1.0, "sd": 0.0}
    assert rows["nothing"]["seeds"] == 1
    assert rows["nothing"]["scores"]["level 1"]["dice"]["sd"] is None
    assert rows["slow"]["volumes"] == 1
    assert rows["breaks"]["errors"] == ["RuntimeError: no luck"]
    assert "- what fails (inductive): RuntimeError: no luck" in text
    assert "| the truth | 1.000 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 | 2 | 2 |" in text
    fits = [call for call in calls if call[0] == "fit"]
    assert fits[0] == ("fit", Budget(0, quick=True), ["toy-regular-0", "toy-regular-1"])
    assert [fit[1].seed for fit in fits] == [0, 0, 1, 1]
    # The dearest method comes first, and is asked for one volume only.
    predicted = [call[1:] for call in calls if call[0] == "predict"][:9]
    assert predicted == [("toy-regular-100", k) for k in (2, 4, 8)] + [
        (f"toy-regular-{s}", k) for s in (100, 101) for k in (2, 4, 8)
    ]
    picture = np.asarray(Image.open(table.parent / "pictures/toy-regular-100-inductive-oracle.png"))
    height, width = picture.shape[:2]
    # The truth above and the same labels below, in the same colours.
    assert np.array_equal(
        picture[: height // 2, width // 4 :], picture[height // 2 :, width // 4 :]
    )


def test_methods_with_one_model_follow_each_other(calls, tmp_path, monkeypatch):
    fitted = []

    def method(name, model=""):
        def fit(volumes, budget):
            fitted.append(f"{name}{budget.seed}")
            return lambda volume, k: np.zeros(volume.shape, np.uint8)

        return Method(name, name, fit, model=model)

    methods = [method("a", "m"), method("b"), method("c", "m")]
    monkeypatch.setattr(benchmark, "METHODS", {m.name: m for m in methods})
    finish(benchmark_job("toy", tmp_path, seeds=2, quick=True))
    assert fitted == ["c0", "a0", "b0", "c1", "a1", "b1"]


def test_processes_side_by_side_score_the_same(tmp_path, monkeypatch, processes_end):
    monkeypatch.setattr(samples, "QUICK", 2)
    scores = []
    for count in (1, 2):
        monkeypatch.setattr(benchmark, "processes", lambda count=count: count)
        seen = []
        job = benchmark_job("toy", tmp_path / str(count), methods=["kmeans-raw", "pca"], quick=True)
        finish(job, lambda step, seen=seen: seen.append((step.stage, step.done, step.total)))
        assert seen[0] == ("benchmark", 0, 2)
        assert {stage for stage, _, _ in seen[1:]} == {"kmeans-raw", "pca"}
        cells = read_cells(tmp_path / str(count) / "toy" / "quick")
        assert len(cells) == 4
        scores.append([(cell["method"], cell["volume"], cell["scores"]) for cell in cells])
    assert scores[0] == scores[1]


@pytest.mark.skipif(os.name != "posix", reason="asks the system for a process as POSIX does")
def test_a_stopped_benchmark_stops_its_processes(tmp_path, monkeypatch, processes_end):
    def fit(volumes, budget):
        (tmp_path / f"{os.getpid()}.pid").touch()
        time.sleep(600)

    methods = [Method(name, name, fit) for name in ("a", "b")]
    monkeypatch.setattr(benchmark, "METHODS", {m.name: m for m in methods})
    monkeypatch.setattr(benchmark, "processes", lambda: 2)
    job = benchmark_job("toy", tmp_path, quick=True)
    assert next(job).stage == "benchmark"
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    job.close()
    for path in tmp_path.glob("*.pid"):
        assert int(path.stem) != os.getpid()
        wait_until(lambda pid=int(path.stem): not is_running(pid))


def wait_until(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_there_is_not_run_again(calls, tmp_path):
    job = benchmark_job("toy", tmp_path, methods=["oracle"], quick=True)
    finish(job)
    before = list(calls)
    table = finish(benchmark_job("toy", tmp_path, methods=["oracle"], quick=True))
    assert calls == before
    (table.parent / "cells" / "inductive-oracle-seed0-toy-regular-101.json").write_text("{")
    finish(benchmark_job("toy", tmp_path, methods=["oracle"], quick=True))
    assert {call[1] for call in calls[len(before) :] if call[0] == "predict"} == {"toy-regular-101"}


def test_a_failure_is_tried_again_and_forgotten_when_it_works(calls, tmp_path, monkeypatch):
    table = finish(benchmark_job("toy", tmp_path, methods=["breaks"], quick=True))
    assert "no luck" in table.read_text()
    works = Method("breaks", "what fails", benchmark.METHODS["oracle"].fit)
    monkeypatch.setitem(benchmark.METHODS, "breaks", works)
    finish(benchmark_job("toy", tmp_path, methods=["breaks"], quick=True))
    assert "no luck" not in table.read_text()
    assert "| what fails | 1.000 |" in table.read_text()


def test_a_full_run_tells_inductive_and_transductive_apart(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(
        samples, "toy_seeds", lambda split: range(3) if split == "train" else range(7, 13)
    )
    table = finish(benchmark_job("toy", tmp_path, methods=["oracle", "nothing", "slow"]))
    fits = [call[2] for call in calls if call[0] == "fit"]
    # Both methods on the training volumes, then on every fifth itself, the slow one on the first.
    assert fits == [[f"toy-regular-{s}" for s in range(3)]] * 2 + [
        ["toy-regular-7"], ["toy-regular-7"], ["toy-regular-12"],
    ]  # fmt: skip
    modes = [path.name.split("-")[0] for path in sorted(tmp_path.glob("toy/full/cells/*.json"))]
    assert modes == ["inductive"] * 12 + ["transductive"] * 3 + ["untrained"] * 6
    rows = json.loads(table.with_suffix(".json").read_text())["rows"]
    volumes = {(row["method"], row["mode"]): row["volumes"] for row in rows}
    assert volumes["oracle", "transductive"] == volumes["oracle", "beside"] == 2
    assert volumes["slow", "transductive"] == volumes["slow", "beside"] == 1
    assert volumes["oracle", "inductive"] == volumes["nothing", "untrained"] == 6
    assert len(rows) == 7


def test_inductive_rows_stand_beside_transductive_ones_on_the_same_volumes(tmp_path):
    (tmp_path / "cells").mkdir()
    scores = {("inductive", "a"): 0.2, ("inductive", "b"): 0.8, ("transductive", "b"): 0.6}
    for (mode, volume), dice in scores.items():
        cell = {
            "method": "m", "title": "M", "mode": mode, "seed": 0, "volume": volume,
            "fit_seconds": 1.0, "seconds": 1.0, "scores": {"level 1": {"dice": dice}},
        }  # fmt: skip
        (tmp_path / f"cells/{mode}-{volume}.json").write_text(json.dumps(cell))
    failed = {**cell, "mode": "inductive", "seed": 1, "error": "no luck"}
    del failed["scores"]
    (tmp_path / "cells/failed.json").write_text(json.dumps(failed))
    write_tables(tmp_path, "toy", ["m"])
    parts = (tmp_path / "table.md").read_text().split("\n## ")
    assert "| M | 0.500 | 1 | 2 |" in parts[1]
    assert parts[2].startswith("Transductive")
    assert "| M | 0.600 | 1 | 1 |" in parts[2]
    assert parts[3].startswith("Inductive, on the volumes of the transductive rows only")
    assert "| M | 0.800 | 1 | 1 |" in parts[3]
    # A failure is told once.
    assert parts[4] == "Failed\n\n- M (inductive): no luck\n"


def test_trained_on_the_volume_itself_a_method_is_compared_with_itself(tmp_path):
    (tmp_path / "cells").mkdir()
    for volume, gain in {"a": 0.1, "b": 0.3, "c": None}.items():
        modes = (
            {"inductive": 0.5} if gain is None else {"inductive": 0.5, "transductive": 0.5 + gain}
        )
        for (mode, dice), seed in itertools.product(modes.items(), (0, 1)):
            cell = {
                "method": "m", "title": "M", "mode": mode, "seed": seed, "volume": volume,
                "fit_seconds": 1.0, "seconds": 1.0, "scores": {"level 1": {"dice": dice}},
            }  # fmt: skip
            (tmp_path / f"cells/{mode}-{volume}-{seed}.json").write_text(json.dumps(cell))
    write_tables(tmp_path, "toy", ["m"])
    # Two volumes, gains of .1 and .3: the interval is 12.71 times .1.
    assert (
        "| M: inductive < transductive | +0.200 ± 1.271 (0.000), open | 2 | 2 and 2 |"
        in (tmp_path / "table.md").read_text()
    )


def test_mean_and_deviation_are_those_of_the_seeds(tmp_path):
    def cell(seed, volume, dice):
        return {
            "method": "m", "title": "M", "mode": "inductive", "seed": seed, "volume": volume,
            "fit_seconds": 1.0, "seconds": 1.0, "scores": {"level 1": {"dice": dice, "h": None}},
        }  # fmt: skip

    cells = [cell(0, "a", 0.2), cell(0, "b", 0.4), cell(1, "a", 0.6), cell(1, "b", 0.6)]
    (row,) = summarise(cells, ["other", "m"])
    # Means of the seeds are 0.3 and 0.6.
    assert row["scores"]["level 1"]["dice"]["mean"] == pytest.approx(0.45)
    assert row["scores"]["level 1"]["dice"]["sd"] == pytest.approx(0.3 / np.sqrt(2))
    assert row["scores"]["level 1"]["h"] == {"mean": None, "sd": None}
    # A third seed that has only one of the volumes so far, the easier one.
    (again,) = summarise([*cells, cell(2, "b", 0.9)], ["m"])
    assert again == row
    assert read_cells(tmp_path) == []


def test_refusals_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no method 'magic': kmeans-raw, "):
        finish(benchmark_job("toy", tmp_path, methods=["magic"]))
    with pytest.raises(ValueError, match="fly: the real samples are no part of this package"):
        finish(benchmark_job("fly", tmp_path))
    with pytest.raises(VolumeError, match=r"13pf_MT_derived_labels.tif: is not there; --data"):
        finish(benchmark_job("microtubule", tmp_path, data=tmp_path))
    with pytest.raises(ValueError, match="there are no data 'mars': toy, "):
        finish(benchmark_job("mars", tmp_path))


@pytest.mark.parametrize(
    ("name", "shares", "nm", "is_bright"),
    [
        ("microtubule", [0.1148], 1.052, True),
        # Membranes are dark, and the neurons between them are not what is asked for.
        ("fly", [0.0671, 0.0880], 10.0, False),
        ("glioma", [0.0027], 1e6, True),
    ],
)
def test_real_samples_are_found(name, shares, nm, is_bright, shared_data):
    found = list(samples.test_samples(name, quick=False, data=shared_data))
    for sample, share in zip(found, shares, strict=True):
        assert [question.k for question in sample.questions] == list(range(2, 13))
        question = sample.questions[0]
        assert question.truth.shape == sample.volume.shape
        assert sample.volume.voxel_size[0] / 10 == pytest.approx(nm, rel=1e-3)
        wanted, voxels = question.truth == question.target, sample.volume.read()
        assert wanted.mean() == pytest.approx(share, abs=1e-4)
        assert (voxels[wanted].mean() > voxels[~wanted].mean()) == is_bright


def test_the_brain_is_a_class_beside_the_tumour(shared_data):
    (sample,) = samples.test_samples("glioma", quick=False, data=shared_data)
    truth, voxels = sample.questions[0].truth, sample.volume.read()
    assert np.unique(truth).tolist() == [0, 1, 2]
    assert not voxels[truth == 0].any()


def test_of_one_class_the_best_number_of_clusters_is_told(tmp_path):
    (tmp_path / "cells").mkdir()
    for seed, dice in enumerate([(0.5, 0.9), (0.9, 0.7)]):
        cell = {
            "method": "m", "title": "M", "mode": "untrained", "seed": seed, "volume": "v",
            "fit_seconds": 1.0, "seconds": 1.0,
            "scores": {f"k = {k}": {"dice": d} for k, d in zip((2, 3), dice, strict=True)},
        }  # fmt: skip
        (tmp_path / f"cells/{seed}.json").write_text(json.dumps(cell))
    write_tables(tmp_path, "fly", ["m"])
    text = (tmp_path / "table.md").read_text()
    assert "| method | best | k = 2 | k = 3 | seeds |" in text
    assert "| M | 0.800 ± 0.141 | 0.700 ± 0.283 | 0.800 ± 0.141 | 2 | 1 |" in text
    assert "Does it hold" not in text


@pytest.mark.parametrize(
    ("distances", "heading", "figures"),
    [((40.0, 60.0), "[nm]", "50.000 ± 14.142"), ((1e6, 2e6), "[mm]", "1.500 ± 0.707")],
)
def test_distances_are_told_in_a_unit_that_can_be_read(tmp_path, distances, heading, figures):
    (tmp_path / "cells").mkdir()
    for seed, distance in enumerate(distances):
        cell = {
            "method": "m", "title": "M", "mode": "untrained", "seed": seed, "volume": "v",
            "fit_seconds": 1.0, "seconds": 1.0,
            "scores": {
                "k = 2": {"dice": 0.5, "hausdorff_95": distance},
                "k = 3": {"dice": 0.5, "hausdorff_95": None},
            },
        }  # fmt: skip
        (tmp_path / f"cells/{seed}.json").write_text(json.dumps(cell))
    write_tables(tmp_path, "glioma", ["m"])
    table = (tmp_path / "table.md").read_text().split(f"### Hausdorff, 95 % {heading}")[1]
    assert f"| M | {figures} | - | 2 | 1 |" in table
