"""Users without a home, on a package that they can't write in: as in containers and on clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_hypseg

from .test_locks import seen_by_all

CODE = """
import sys
import napari_hypseg as hs
volume = hs.make_toy("regular", seed=4).volume.crop((slice(0, 16), slice(0, 24), slice(0, 24)))
model = hs.train(volume, steps=1)
model.save("m.hypseg")
latents = hs.embed(hs.load_model("m.hypseg"), volume)
print(sorted(set(hs.cluster(latents, volume).labels(2).ravel().tolist())))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs another user")
def test_no_home_and_a_package_that_cannot_be_written(tmp_path, count):
    work = seen_by_all(tmp_path) / "work"
    work.mkdir()
    work.chmod(0o777)
    source = str(Path(napari_hypseg.__file__).parents[1])
    env = {"PATH": os.defpath, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1",
           "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # fmt: skip
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ended = subprocess.run(
        [*user, sys.executable, "-W", "ignore", "-c", CODE],
        cwd=work, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if "Permission denied" in ended.stderr and "napari_hypseg" not in ended.stderr:
        pytest.skip("another user can't run this Python")
    assert ended.stdout.strip() == "[1, 2]", ended.stderr[-500:]
    assert (work / "m.hypseg").stat().st_uid == 65534
    count("user without a home")
