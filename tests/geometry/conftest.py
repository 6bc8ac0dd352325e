"""Settings of this room's property tests."""

from __future__ import annotations

from hypothesis import settings

# The first call into torch or mpmath takes longer than any deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
