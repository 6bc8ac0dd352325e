"""The papers' tables: cells that are kept, failures that are told, tables that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_hypseg.jobs import finish
from napari_hypseg.samples import make_toy
from napari_hypseg.volumes import VolumeError
from papers import cells, questions
from papers.cells import papers_job
from papers.methods import Budget, Method
from papers.tables import read_cells, summarise


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
    monkeypatch.setattr(cells, "METHODS", {m.name: m for m in methods})
    monkeypatch.setattr(questions, "QUICK", 2)
    # Other processes would not know these methods, nor tell of their calls.
    monkeypatch.setattr(cells, "processes", lambda: 1)
    return calls


def test_scores_failures_and_tables(calls, tmp_path):
    table = finish(papers_job("toy", tmp_path, seeds=2, quick=True))
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


def test_what_is_there_is_not_run_again(calls, tmp_path):
    job = papers_job("toy", tmp_path, methods=["oracle"], quick=True)
    finish(job)
    before = list(calls)
    table = finish(papers_job("toy", tmp_path, methods=["oracle"], quick=True))
    assert calls == before
    (table.parent / "cells" / "inductive-oracle-seed0-toy-regular-101.json").write_text("{")
    finish(papers_job("toy", tmp_path, methods=["oracle"], quick=True))
    assert {call[1] for call in calls[len(before) :] if call[0] == "predict"} == {"toy-regular-101"}


def test_a_failure_is_tried_again_and_forgotten_when_it_works(calls, tmp_path, monkeypatch):
    table = finish(papers_job("toy", tmp_path, methods=["breaks"], quick=True))
    assert "no luck" in table.read_text()
    works = Method("breaks", "what fails", cells.METHODS["oracle"].fit)
    monkeypatch.setitem(cells.METHODS, "breaks", works)
    finish(papers_job("toy", tmp_path, methods=["breaks"], quick=True))
    assert "no luck" not in table.read_text()
    assert "| what fails | 1.000 |" in table.read_text()


def test_mean_and_deviation_are_those_of_the_seeds(tmp_path):
    def cell(seed, volume, dice):
        return {
            "method": "m", "title": "M", "mode": "inductive", "seed": seed, "volume": volume,
            "fit_seconds": 1.0, "seconds": 1.0, "scores": {"level 1": {"dice": dice, "h": None}},
        }  # fmt: skip

    made = [cell(0, "a", 0.2), cell(0, "b", 0.4), cell(1, "a", 0.6), cell(1, "b", 0.6)]
    (row,) = summarise(made, ["other", "m"])
    # Means of the seeds are 0.3 and 0.6.
    assert row["scores"]["level 1"]["dice"]["mean"] == pytest.approx(0.45)
    assert row["scores"]["level 1"]["dice"]["sd"] == pytest.approx(0.3 / np.sqrt(2))
    assert row["scores"]["level 1"]["h"] == {"mean": None, "sd": None}
    # A third seed that has only one of the volumes so far, the easier one.
    (again,) = summarise([*made, cell(2, "b", 0.9)], ["m"])
    assert again == row
    assert read_cells(tmp_path) == []


def test_refusals_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no method 'magic': kmeans-raw, "):
        finish(papers_job("toy", tmp_path, methods=["magic"]))
    with pytest.raises(ValueError, match="glioma: the real sample is no part of this package"):
        finish(papers_job("glioma", tmp_path))
    with pytest.raises(VolumeError, match=r"TCGA-DU-7294_fla.nii.gz: is not there; --data"):
        finish(papers_job("glioma", tmp_path, data=tmp_path))
    with pytest.raises(ValueError, match="there are no data 'mars': toy, "):
        finish(papers_job("mars", tmp_path))


def test_the_brain_is_a_class_beside_the_tumour(shared_data):
    (sample,) = questions.test_samples("glioma", quick=False, data=shared_data)
    truth, voxels = sample.questions[0].truth, sample.volume.read()
    assert np.unique(truth).tolist() == [0, 1, 2]
    assert not voxels[truth == 0].any()
