"""What comes out at the end: small volumes trained, mapped, clustered and scored must not fall.

Fails when a figure is more than its spread from seed to seed (twice the standard deviation) below
the recorded mean. `python -m benchmarks.quality.outcome` measures both.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.quality.outcome import figures

RECORDED = json.loads(Path(__file__).with_name("outcome.json").read_text())
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return figures(SHARED)


@pytest.mark.parametrize("name", RECORDED)
def test_no_figure_falls(name: str, found: dict[str, float]) -> None:
    if name.startswith("microtubule") and not SHARED.is_dir():
        pytest.skip("the real data is not here: no folder ../shared/data beside the repository")
    least = RECORDED[name]["mean"] - RECORDED[name]["spread"]
    assert found[name] >= least, f"{name}: {found[name]:.3f}, recorded {RECORDED[name]['mean']:.3f}"


def test_every_figure_is_recorded(found: dict[str, float]) -> None:
    assert found.keys() <= RECORDED.keys()
