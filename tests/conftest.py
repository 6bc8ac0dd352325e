"""Fixtures that tests of several rooms use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

# The first call into torch takes longer than any deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data that lies beside the repository; skips where it is missing."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not here: no folder ../shared/data beside the repository")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many faults the tests have injected, by kind."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, number in report.user_properties:
            if name.startswith("faults: "):
                counts[name.removeprefix("faults: ")] += number
    if counts:
        terminalreporter.section("faults injected")
        for kind, number in counts.most_common():
            terminalreporter.write_line(f"{number:7d}  {kind}")
