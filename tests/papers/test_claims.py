"""Claims asked of cells: paired by volume, with the interval that scipy gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from papers.claims import CLAIMS, answer
from papers.methods import METHODS
from papers.tables import write_tables


def cells(method, values, mode="inductive", seed=0):
    return [
        {
            "method": method, "title": method, "mode": mode, "seed": seed, "volume": f"v{index}",
            "fit_seconds": 0.0, "seconds": 0.0, "scores": {"level 1": {"dice": value}},
        }
        for index, value in enumerate(values)
    ]  # fmt: skip


def test_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 9))
    found = answer(cells("a", a, "untrained") + cells("b", b), "a", "b", "level 1", "dice")
    expected = stats.ttest_rel(b, a).confidence_interval()
    assert found.difference - found.margin == pytest.approx(expected.low)
    assert found.difference + found.margin == pytest.approx(expected.high)
    assert (found.volumes, found.seeds) == (9, (1, 1))


def test_interval_over_seeds_is_that_of_welch():
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 4)), rng.random((5, 4))
    both = [c for seed, row in enumerate(a) for c in cells("a", row, seed=seed)]
    both += [c for seed, row in enumerate(b) for c in cells("b", row, seed=seed)]
    found = answer(both, "a", "b", "level 1", "dice")
    means = b.mean(axis=1), a.mean(axis=1)
    expected = stats.ttest_ind(*means, equal_var=False).confidence_interval()
    assert found.seed_margin == pytest.approx((expected.high - expected.low) / 2)
    assert found.seeds == (3, 5)


def test_interval_over_seeds_against_what_has_none():
    several = [c for seed, v in enumerate((0.2, 0.3, 0.7)) for c in cells("b", [v, v], seed=seed)]
    untrained = answer(cells("a", [0.1, 0.1], "untrained") + several, "a", "b", "level 1", "dice")
    expected = stats.ttest_1samp([0.2, 0.3, 0.7], 0.1).confidence_interval()
    assert untrained.seed_margin == pytest.approx((expected.high - expected.low) / 2)
    assert answer(cells("a", [0.1, 0.1]) + several, "a", "b", "level 1", "dice").seed_margin is None


def test_what_volumes_agree_on_is_open_where_trainings_do_not():
    both = [c for seed, v in enumerate((0.0, 0.4)) for c in cells("b", [v, v + 0.01], seed=seed)]
    both += cells("a", [0.1, 0.1], "untrained")
    found = answer(both, "a", "b", "level 1", "dice")
    assert found.difference > found.margin
    assert found.verdict == "open"


@pytest.mark.parametrize(
    ("better", "verdict"),
    [([0.5, 0.6, 0.75], "holds"), ([0.0, 0.1, 0.15], "is reversed"), ([0.1, 0.9, 0.2], "open")],
)
def test_verdict(better, verdict):
    both = cells("a", [0.2, 0.3, 0.4]) + cells("b", better)
    assert answer(both, "a", "b", "level 1", "dice").verdict == verdict


def test_seeds_are_averaged_and_what_only_one_method_has_is_left_out():
    both = cells("a", [0.1, 0.2, 0.9]) + cells("b", [0.2, 0.5]) + cells("b", [0.4, 0.3], seed=1)
    both += cells("b", [0.9, 0.9], mode="transductive")
    found = answer(both, "a", "b", "level 1", "dice")
    assert found.difference == pytest.approx((0.2 + 0.2) / 2)
    assert (found.volumes, found.seeds) == (2, (1, 2))
    assert answer(cells("a", [0.1]) + cells("b", [0.2]), "a", "b", "level 1", "dice") is None


def test_claims_are_about_methods_that_exist_and_come_into_the_table(tmp_path):
    assert {name for claim in CLAIMS for name in claim[1:]} <= set(METHODS)
    (tmp_path / "cells").mkdir()
    both = cells("cihs-base", [0.2, 0.3]) + cells("cihs-gyroconv", [0.4, 0.5])
    for number, cell in enumerate(both):
        (tmp_path / f"cells/{number}.json").write_text(json.dumps(cell))
    write_tables(tmp_path, "toy", METHODS)
    text = (tmp_path / "table.md").read_text()
    assert "| base < gyroplane | +0.200 ± 0.000 (?), holds | 2 | 1 and 1 |" in text
    assert "| claim | level 1 | volumes | seeds |" in text
    assert "base < triplet" not in text
