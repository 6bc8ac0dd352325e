"""What mapping and clustering will need, said before they are begun."""

from __future__ import annotations

from napari_hypseg.session import needs


def test_needs_grow_with_the_voxels_and_say_what_is_short(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "free_disk", lambda _: 1e9)
    monkeypatch.setattr(needs, "free_memory", lambda: 8e9)
    small = needs.needs_of((10, 20, 30), 2, tmp_path / "not" / "there")
    # Points, smoothed ones; labels.
    assert small.disk == 6000 * (4 * (2 + 2) + 12)
    assert small.shortage == ""
    # Not less than what was measured, in GB.
    for shape, seen in (((36, 206, 94), 1.06), ((250, 512, 512), 2.49)):
        assert seen < needs.needs_of(shape, 16, tmp_path).memory / 1e9 < 1.5 * seen
    large = needs.needs_of((100, 2000, 3000), 16, tmp_path)
    assert "too little memory: up to 10.1 GB needed, 8 GB free" in large.shortage
    assert "too little disk space: up to 84 GB needed, 1 GB free" in large.shortage
    monkeypatch.setattr(needs, "free_disk", lambda _: 1e12)
    assert needs.needs_of((25, 1000, 1000), 16, tmp_path).shortage == ""
    assert "disk" not in needs.needs_of((100, 2000, 3000), 16, tmp_path).shortage


def test_a_folder_of_many_files_is_not_walked(tmp_path, monkeypatch):
    """Beyond a number of files none is looked at."""
    monkeypatch.setattr(needs, "free_disk", lambda _: 0.0)
    monkeypatch.setattr(needs, "_FILES", 50)
    (tmp_path / "latents").mkdir()
    for number in range(80):
        (tmp_path / "latents" / str(number)).write_bytes(b"1")
    assert needs.needs_of((10, 20, 30), 2, tmp_path).disk_free == 50
