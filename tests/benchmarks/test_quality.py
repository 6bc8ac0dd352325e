"""The benchmark of quality: a perfect method scores 1, strokes stay inside, tables add up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

import napari_hypseg as hs
from benchmarks.quality import __main__ as command
from benchmarks.quality import protocol
from benchmarks.quality.cases import CASES, Case, load
from benchmarks.quality.methods import METHODS, Method, Run
from benchmarks.quality.page import interval, page, table
from benchmarks.quality.protocol import KS, draw_strokes, score
from benchmarks.quality.scale_space import SCALES, scale_space


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(protocol, "TREES", 8)
    monkeypatch.setattr(protocol, "DRAWS", 1)


@pytest.fixture
def case():
    """Balls of two sizes in a box, with a plane beside them."""
    truth = np.zeros((20, 24, 28), np.uint8)
    truth[2:18, 2:22, 2:26] = 1
    truth[4:16, 4:20, 22] = 3
    centres = np.array([[7.0, y, x] for y in (6, 16) for x in (6.0, 14.0)])
    places = np.indices(truth.shape).reshape(3, -1).T
    near = np.linalg.norm(places[:, None] - centres, axis=-1).min(axis=1)
    truth[(near <= 3).reshape(truth.shape)] = 2
    volume = hs.Volume(truth.astype(np.float32), (10.0,) * 3, (0.0,) * 3, "balls")
    return Case(
        "balls", "made", volume, ((truth > 0).astype(np.uint8), truth), {2: "ball", 3: "plane"},
        focus=1, thin=(3,), picks={"ball": centres}, objects=2, radius=1.0,
    )  # fmt: skip


@pytest.fixture
def perfect(case):
    def labels(volume, features, ks, run):
        # The right answer for k = 4 under other names, and a poor one for all others.
        return {k: (case.truth + 3) % 5 if k == 4 else case.truth % 2 for k in ks}

    def features(volume, run):
        return np.eye(4, dtype=np.float32)[case.truth]

    return Method("perfect", "the truth", features, labels)


def test_a_perfect_method_scores_one(case, perfect):
    found = score(case, perfect, Run())
    assert found["best"] == {name: {"dice": 1.0, "k": 4} for name in ("ball", "plane")}
    fine = found["levels"][1]
    assert (fine["best"], fine["best_k"], fine["same"], fine["same_k"]) == (1, 4, 1, 4)
    assert (fine["rand"], fine["voi"]) == (1, 0)
    assert found["levels"][0]["same"] < 1
    objects = found["objects"]
    assert (objects["f1"], objects["matched"], objects["k"]) == (1, 4, 4)
    assert set(found["thin"]) == {"plane"}
    assert set(found["thin"]["plane"].values()) == {1.0}
    assert found["information"] == {"forest": 1.0, "logistic": 1.0}
    assert found["strokes"] == {"3": 1.0, "10": 1.0, "30": 1.0}


def test_a_method_that_knows_nothing_scores_low(case):
    rng = np.random.default_rng(0)
    noise = rng.random((*case.truth.shape, 2)).astype(np.float32)
    method = Method(
        "noise", "noise", lambda *_: noise,
        lambda volume, features, ks, run: {k: rng.integers(0, k, case.truth.shape) for k in ks},
    )  # fmt: skip
    found = score(case, method, Run())
    assert max(found["information"].values()) < 0.1
    assert max(found["strokes"].values()) < 0.2
    assert found["best"]["ball"]["dice"] < 0.2
    assert found["levels"][1]["best"] < 0.4


def test_bodies_are_what_the_boundary_leaves(case, perfect):
    bodies = np.ones((9, 9, 9), int)
    bodies[:, 4:] = 7
    bodies[:, :, 4:] += 20
    bodies[:, 4] = bodies[:, :, 4] = 0
    truth = (bodies == 0).astype(np.uint8)
    volume = hs.Volume(truth.astype(np.float32), (1.0,) * 3, (0.0,) * 3, "cells")
    cells = Case("cells", "made", volume, (truth,), {1: "boundary"}, bodies=bodies)
    gap = truth.copy()
    gap[:, 4, :4] = 0
    for labels, split, merge in ((truth, 0, 0), (gap, 0, 0.5)):
        method = Method("m", "m", labels=lambda *_, each=labels: dict.fromkeys(KS, each))
        found = score(cells, method, Run())["bodies"]
        assert found["voi_split"] == pytest.approx(split, abs=1e-9)
        # A gap joins two of four bodies: half of the voxels have lost one bit.
        assert found["voi_merge"] == pytest.approx(merge, abs=1e-9)


@pytest.mark.parametrize("count", [3, 30])
def test_strokes_stay_within_their_class(case, count):
    strokes = draw_strokes(case.truth, count, seed=1)
    again = draw_strokes(case.truth, count, seed=1)
    assert all(np.array_equal(*pair) for pair in zip(strokes, again, strict=True))
    assert len(strokes) == max(count, 4)
    assert np.mean([len(stroke) == 5 for stroke in strokes]) > 0.8
    classes = [set(case.truth.ravel()[stroke].tolist()) for stroke in strokes]
    assert all(len(each) == 1 for each in classes)
    assert set.union(*classes) == {0, 1, 2, 3}
    for stroke in strokes:
        places = np.stack(np.unravel_index(stroke, case.truth.shape), -1)
        assert len(set(stroke.tolist())) == len(stroke) <= 5
        assert (np.abs(np.diff(places, axis=0)).max(axis=1) == 1).all()
        assert (places[:, 0] == places[0, 0]).all()


def test_scale_space_of_a_sheet_is_what_calculus_says():
    x = np.arange(61) - 30.0
    thick = 4.0
    sheet = np.exp(-(x**2) / (2 * thick**2))
    features = scale_space(np.broadcast_to(sheet, (20, 20, 61)))
    assert features.shape == (20, 20, 61, 1 + 9 * len(SCALES))
    assert np.abs(features.reshape(-1, 46).mean(0)).max() < 1e-3
    line = features[10, 10].astype(float)
    for index, sigma in enumerate(SCALES):
        wide = thick**2 + sigma**2
        smooth = np.exp(-(x**2) / (2 * wide))
        second = smooth * (x**2 / wide - 1) / wide
        first = 1 + 9 * index
        expected = {
            first: smooth,
            first + 1: np.abs(x) * smooth,
            first + 2: second,
            first + 3: np.minimum(second, 0),
            first + 5: np.maximum(second, 0),
        }
        for channel, values in expected.items():
            # At 0.7 voxels the kernel is a coarse one.
            assert np.corrcoef(line[8:-8, channel], values[8:-8])[0, 1] > 0.98


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).random(12).tolist()
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval(values) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_table_averages_seeds_then_volumes():
    def cell(method, case, seed, value):
        return {"method": method, "data": "d", "case": case, "seed": seed, "v": value}

    cells = [cell("kmeans-raw", "a", 0, 0.2), cell("kmeans-raw", "a", 1, 0.4)]
    cells += [cell("kmeans-raw", "b", 0, 0.9), cell("gabor", "a", 0, 0.1)]
    text = table(cells, ["kmeans-raw", "gabor"], ["d"], "what", lambda each: each["v"])
    assert text.splitlines()[2:] == [
        "| k-means, raw | **.600** | .600 |",
        "| k-means of Gabor amplitudes | .100 | .100 |",
    ]
    assert table(cells, ["gabor"], ["d"], "what", lambda each: None) == ""


def test_what_is_there_is_not_run_again(case, perfect, tmp_path, monkeypatch):
    calls = []

    def counted(volume, features, ks, run):
        calls.append(run)
        return perfect.labels(volume, features, ks, run)

    def fails(volume, run):
        raise ValueError("no luck")

    methods = {
        "once": Method("once", "once", perfect.features, counted),
        "learns": Method("learns", "learns", perfect.features, counted, learns=True),
        "fails": Method("fails", "fails", fails),
    }
    monkeypatch.setattr(command, "METHODS", methods)
    for _ in range(2):
        command._fill(lambda: case, list(methods), 2, False, tmp_path)
    assert calls == [Run(0), Run(0), Run(1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "balls_learns_0.json", "balls_learns_1.json", "balls_once_0.json",
    ]  # fmt: skip
    text = page(tmp_path, list(methods), ["made"])
    assert "| once | **1.000** | 1.000 |" in text
    assert "<!--" not in text
    assert len([w for line in text.splitlines() if line[:1] != "|" for w in line.split()]) < 900


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.learns])
def test_methods_without_learning_find_what_is_easy(name):
    truth = np.zeros((16, 17, 18), np.uint8)
    truth[4:12, 4:13, 5:13] = 1
    voxels = 4.0 * truth + np.random.default_rng(0).normal(0, 0.2, truth.shape)
    volume = hs.Volume(voxels.astype(np.float32), (10.0,) * 3, (0.0,) * 3, "easy")
    method, run = METHODS[name], Run()
    features = method.features(volume, run)
    assert features.shape[:3] == truth.shape
    found = method.labels(volume, features, (2, 3), run)
    case = Case("easy", "made", volume, (truth,), {1: "cube"})
    kept = Method(name, name, labels=lambda *_: found)
    assert set(found) == {2, 3}
    # Filters blur the cube's faces.
    assert score(case, kept, run)["best"]["cube"]["dice"] > (0.6 if name == "gabor" else 0.8)


def test_simulated_classes_nest_and_centres_lie_in_complexes(shared_data):
    for make in load(shared_data, ["simulated, clear"], quick=False):
        simulated = make()
        coarse, middle, fine = simulated.levels
        for part, whole in ((fine, middle), (middle, coarse)):
            assert all(len(np.unique(whole[part == value])) == 1 for value in np.unique(part))
        centres = np.concatenate(list(simulated.picks.values())).astype(int)
        # TRiC is hollow: its centre is cytosol.
        assert (simulated.truth[tuple(centres.T)] == simulated.objects).mean() > 0.8
        cut = simulated.cut((30, 120, 120))
        assert cut.volume.shape == cut.truth.shape == (30, 120, 120)
        inside = np.concatenate(list(cut.picks.values())).astype(int)
        assert (cut.truth[tuple(inside.T)] == cut.objects).mean() > 0.5


@pytest.mark.parametrize("data", [name for name in CASES if not name.startswith("simulated")])
def test_cases_have_their_targets(data, shared_data):
    case = next(load(shared_data, [data], quick=True))()
    assert all(level.shape == case.volume.shape for level in case.levels)
    assert set(case.targets) & set(np.unique(case.truth).tolist())
    json.dumps(case.name)
