"""What a mapping will need, said before it is begun."""

from __future__ import annotations

import shutil

from napari_hypseg.session import needs


def test_needs_grow_with_the_voxels_and_say_what_is_short(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(needs.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    monkeypatch.setattr(needs, "_free_memory", lambda: 8e9)
    small = needs.needs_of((10, 20, 30), 2, tmp_path / "not" / "there")
    assert small.disk == 2.15 * 6000 * 8
    assert small.shortage == ""
    large = needs.needs_of((100, 2000, 3000), 2, tmp_path)
    assert "too little disk space: up to 10 GB needed, 1 GB free" in large.shortage
    monkeypatch.setattr(needs.shutil, "disk_usage", lambda _: usage._replace(free=10**12))
    assert needs.needs_of((25, 1000, 1000), 2, tmp_path).shortage == ""
    assert "too little memory" in needs.needs_of((100, 2000, 3000), 2, tmp_path).shortage


def test_free_memory_is_less_than_the_machine_has(tmp_path):
    free = needs.needs_of((1, 1, 1), 2, tmp_path).memory_free
    assert free is None or 1e6 < free < 1e14
