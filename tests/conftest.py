"""Fixtures that tests of several rooms use."""

from __future__ import annotations

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
