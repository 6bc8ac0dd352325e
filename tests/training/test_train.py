"""The training loop: repeatable, stoppable, resumable to the last bit."""

from __future__ import annotations

import importlib
import itertools
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hypseg.jobs import Progress, finish
from napari_hypseg.model import (
    PRESETS,
    Model,
    ModelConfig,
    ModelError,
    Preset,
    TrainingConfig,
    get_preset,
    load_model,
)
from napari_hypseg.training import (
    TrainingError,
    is_trained_so,
    model_so_far,
    select_device,
    train,
    train_job,
)
from napari_hypseg.training.state import TrainingState
from napari_hypseg.volumes.normalize import fit_normalization
from napari_hypseg.volumes.volume import Volume, VolumeError

# The room gives its function the module's name.
loop = importlib.import_module("napari_hypseg.training.train")

SMALL = Preset(
    ModelConfig(latent_dim=2, encoder="stacked", grid=2, hidden=0, channels=(4, 4, 8, 8), planes=8),
    TrainingConfig(batch_size=8, samples=8, min_size=5, max_size=12, learning_rate=3e-3),
)


def _volume(shape=(14, 20, 24), seed=0, name="toy") -> Volume:
    """A bright ball and a dark one in noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    voxels = rng.normal(size=shape)
    for sign, place in ((4, 0.3), (-4, 0.7)):
        far = sum((i - place * n) ** 2 for i, n in zip((z, y, x), shape, strict=True))
        voxels += sign * (far < 16)
    return Volume(voxels.astype(np.float32), name=name)


def _few(preset: str) -> Preset:
    """A preset with a batch of two."""
    chosen = get_preset(preset)
    return Preset(chosen.model, replace(chosen.training, batch_size=2))


def _same(a: Model, b: Model) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def every_step(monkeypatch) -> None:
    """Report and write a checkpoint at every step."""
    monkeypatch.setattr(loop, "_REPORT_EVERY", 0.0)
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY", 0.0)


def _until(job: Iterator[Progress], step: int) -> None:
    """Run a training as far as a step, then stop it as a person would."""
    for progress in job:
        if progress.stage == "training" and progress.done == step:
            break
    job.close()


def test_the_same_seed_gives_the_same_bits():
    torch.manual_seed(1)
    first = train(_volume(), preset=SMALL, steps=3, seed=5, device="cpu")
    torch.manual_seed(2)
    again = train(_volume(), preset=SMALL, steps=3, seed=5, device="cpu")
    assert _same(first, again)
    assert first.fingerprint() == again.fingerprint()
    assert first.training["loss"] == again.training["loss"]
    other = train(_volume(), preset=SMALL, steps=3, seed=6, device="cpu")
    for name, weight in other.network.state_dict().items():
        assert not torch.equal(weight, first.network.state_dict()[name]), name


def test_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    train(_volume(), preset=SMALL, steps=2, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_and_resumes(name, tmp_path, every_step):
    volume, preset = _volume(), _few(name)
    whole = train(volume, preset=preset, steps=3, device="cpu")
    assert all(bool(torch.isfinite(t).all()) for t in whole.network.state_dict().values())
    start = TrainingState(preset.model, preset.training, 0, torch.device("cpu")).network
    for key, parameter in whole.network.named_parameters():
        assert not torch.equal(parameter, dict(start.named_parameters())[key]), key
    file = tmp_path / "run.checkpoint"
    _until(train_job(volume, preset=preset, steps=3, device="cpu", checkpoint=file), 2)
    resumed = finish(train_job(volume, preset=preset, steps=3, device="cpu", checkpoint=file))
    assert _same(whole, resumed)


def test_a_preset_by_its_name():
    model = train(_volume((6, 6, 12)), preset="default", steps=1, device="cpu")
    assert model.preset == "default"
    assert model.config == get_preset("default").model
    assert not model.network.training
    assert model.training["settings"]["steps"] == 1


def _job(file: Path | None, volumes=None, *, steps=25, seed=0, preset=SMALL):
    volumes = _volume() if volumes is None else volumes
    return train_job(volumes, preset=preset, steps=steps, seed=seed, device="cpu", checkpoint=file)


def test_a_training_with_breaks_ends_in_the_same_bits(tmp_path, every_step):
    whole, file = finish(_job(None)), tmp_path / "run.checkpoint"
    started = []
    for stop in (1, 7, 20, 24):
        job = _job(file)
        started.append(next(p.done for p in job if p.stage == "training"))
        _until(job, stop)
        assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]
        if stop == 7:
            shutil.copy(file, tmp_path / "old")
            _until(_job(file), 12)
            # Killed since: what lies on the disk is from before.
            (tmp_path / "old").replace(file)
    assert started == [0, 1, 7, 20]
    resumed = finish(_job(file))
    assert _same(whole, resumed)
    # The history is the same too, its means over steps before and after a break included.
    assert resumed.training["loss"] == whole.training["loss"]
    assert [entry["step"] for entry in whole.training["loss"]] == [20, 25]


def test_a_stopped_training_leaves_a_model(tmp_path):
    """Without the habit of a checkpoint at every step: closing the job writes it."""
    file, volume = tmp_path / "run.checkpoint", _volume()
    job = _job(file, volume, steps=100_000)
    for progress in job:
        if progress.done >= 1 and progress.stage == "training":
            break
    job.close()
    model = model_so_far(file)
    assert model.training["stopped"] == progress.done
    assert not model.network.training
    asked = {"preset": SMALL, "steps": 100_000}
    assert not is_trained_so(model, [volume], **asked)
    model.save(tmp_path / "model.hypseg")
    assert load_model(tmp_path / "model.hypseg").fingerprint() == model.fingerprint()
    with pytest.raises(ModelError, match="no checkpoint of a training"):
        model_so_far(tmp_path / "model.hypseg")


def test_a_training_stopped_before_its_first_step_leaves_nothing(tmp_path):
    file = tmp_path / "run.checkpoint"
    _until(_job(file), 0)
    assert not file.exists()


def test_glimpses_show_patches_and_change_nothing(monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_EVERY", 0.0)
    whole = finish(_job(None, steps=3))
    monkeypatch.setattr(loop, "_GLIMPSE_EVERY", 0.0)
    seen = []
    watched = finish(_job(None, steps=3), lambda p: seen.append(p.partial))
    assert _same(whole, watched)
    glimpses = [g for g in seen if g is not None]
    assert len(glimpses) == 3
    side = SMALL.model.input_size
    for glimpse in glimpses:
        assert glimpse.patches.shape == glimpse.reconstructions.shape == (4, side, side)
        np.testing.assert_array_equal(glimpse.patches, glimpses[0].patches)
    assert abs(glimpses[2].reconstructions - glimpses[0].reconstructions).max() > 0


def test_a_finished_training_is_not_trained_further(tmp_path, every_step):
    file = tmp_path / "run.checkpoint"
    first = finish(_job(file, steps=3))
    steps = [p.done for p in _steps(_job(file, steps=3))]
    assert steps == [3]
    assert _same(first, finish(_job(file, steps=3)))


def _steps(job: Iterator[Progress]) -> Iterator[Progress]:
    return (p for p in job if p.stage == "training")


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"steps": 4},
        {"volumes": _volume(seed=1)},
        # The same statistics, shape and name.
        {"volumes": Volume(_volume().data[::-1].copy(), name="toy")},
        {"volumes": [_volume(), _volume(seed=1)]},
        {"preset": Preset(SMALL.model, replace(SMALL.training, margin=0.3))},
        {"preset": Preset(replace(SMALL.model, planes=9), SMALL.training)},
    ],
)
def test_the_checkpoint_of_another_training_is_not_taken_up(tmp_path, every_step, other):
    file = tmp_path / "run.checkpoint"
    _until(_job(file, steps=3), 2)
    asked = {"steps": 3, **other}
    steps = [p.done for p in _steps(_job(file, **asked))]
    assert steps == list(range(asked["steps"] + 1))


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_replaced(tmp_path, every_step, damage):
    file = tmp_path / "run.checkpoint"
    _until(_job(file, steps=3), 2)
    content = bytearray(file.read_bytes())
    content[-1000] ^= 4
    file.write_bytes(content if damage is None else damage)
    with pytest.warns(UserWarning, match=r"run\.checkpoint: .*damaged; the training begins anew"):
        model = finish(_job(file, steps=3))
    assert _same(model, finish(_job(None, steps=3)))
    assert [p.done for p in _steps(_job(file, steps=3))] == [3]


def test_a_checkpoint_is_no_model(tmp_path, every_step):
    file = tmp_path / "run.checkpoint"
    _until(_job(file, steps=3), 2)
    with pytest.raises(ModelError, match="training checkpoint"):
        load_model(file)


def test_a_checkpoint_that_can_not_be_written_is_told(tmp_path, every_step):
    with pytest.raises(OSError, match="nowhere"):
        finish(_job(tmp_path / "nowhere" / "run.checkpoint", steps=3))


def test_the_loss_falls():
    model = train(_volume(), preset=SMALL, steps=100, device="cpu")
    loss = model.training["loss"]
    assert [entry["step"] for entry in loss] == list(range(20, 101, 20))
    assert loss[-1]["total"] < 0.9 * loss[0]["total"]
    assert loss[-1]["reconstruction"] < 0.9 * loss[0]["reconstruction"]
    assert all(math.isfinite(v) for entry in loss for v in entry.values())


def test_the_loss_in_the_history_is_the_mean_over_its_steps(monkeypatch):
    losses, original = [], loop.TrainingState.advance.__globals__["objective"]

    def listening(*args):
        result = original(*args)
        losses.append(float(result.kl.detach()))
        return result

    monkeypatch.setitem(loop.TrainingState.advance.__globals__, "objective", listening)
    history = train(_volume(), preset=SMALL, steps=23, device="cpu").training["loss"]
    assert history[0]["kl"] == pytest.approx(np.mean(losses[:20]), rel=1e-5)
    assert history[1]["kl"] == pytest.approx(np.mean(losses[20:]), rel=1e-5)


def test_several_volumes():
    volumes = [_volume(name="a"), _volume((30, 12, 12), name="b"), _volume((6, 6, 40), name="c")]
    model = train(volumes, preset=SMALL, steps=2, device="cpu")
    told = model.training["volumes"]
    assert [v["name"] for v in told] == ["a", "b", "c"]
    assert [v["shape"] for v in told] == [[14, 20, 24], [30, 12, 12], [6, 6, 40]]
    assert [v["fingerprint"] for v in told] == [v.fingerprint() for v in volumes]
    assert not _same(model, train(volumes[0], preset=SMALL, steps=2, device="cpu"))


def test_the_model_can_be_saved_and_says_how_it_came_about(tmp_path):
    model = train(_volume(), preset=SMALL, steps=2, seed=7, device="cpu")
    model.save(tmp_path / "model.hypseg")
    again = load_model(tmp_path / "model.hypseg")
    assert again.training == model.training
    assert again.fingerprint() == model.fingerprint()
    assert again.training["seed"] == 7
    assert again.training["device"] == "cpu"
    assert again.training["seconds"] > 0


def test_reports_every_step_if_need_be(every_step):
    reports = list(_job(None, steps=22))
    reading = [p for p in reports if p.stage == "reading the volume"]
    assert reports[: len(reading)] == reading
    assert [(p.stage, p.done, p.total) for p in reports[len(reading) :]] == [
        ("training", step, 22) for step in range(23)
    ]
    assert "total" not in reports[20].values
    assert set(reports[-1].values) == {"step", "total", "reconstruction", "kl", "triplet"}


def test_reports_as_often_as_the_clock_says(monkeypatch):
    # A clock on which every look takes 60 ms: a report at every second step.
    clock = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock) * 0.06)
    steps = [p.done for p in _steps(_job(None, steps=8))]
    assert steps == [0, 2, 4, 6, 8]


def test_every_step_has_patches_and_noise_of_its_own(monkeypatch):
    seen, noise, names = [], [], loop.TrainingState.advance.__globals__
    original = names["objective"]

    def listening(network, patches, config, generator):
        seen.append(patches)
        noise.append(torch.rand(4, generator=generator.clone_state()))
        return original(network, patches, config, generator)

    monkeypatch.setitem(names, "objective", listening)
    train(_volume(), preset=SMALL, steps=3, device="cpu")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(seen[i], seen[j])
        assert not torch.equal(noise[i], noise[j])


@pytest.mark.filterwarnings("ignore:the loss stopped being finite")
def test_a_loss_that_is_not_finite():
    preset = Preset(SMALL.model, replace(SMALL.training, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"^the loss stopped being finite before step \d+, "):
        train(_volume(), preset=preset, steps=30, device="cpu")


def test_volumes_beyond_the_memory_are_trained_on_bricks(monkeypatch):
    monkeypatch.setattr(loop, "_BRICK", 8)
    monkeypatch.setattr(loop, "_MOST_VOXELS", 3000)
    volume = Volume(np.arange(20 * 17 * 24, dtype=np.float32).reshape(20, 17, 24))
    fit = fit_normalization(volume)
    pieces = [voxels for voxels, _ in finish(loop._load_job(volume, fit, 3000, 0))]
    assert [p.shape for p in pieces] == [(8, 8, 8)] * 5
    whole = fit.apply(volume.data)
    corners = set()
    for piece in pieces:
        # Normalising clips a few of the ends; the middle of a brick says where it lies.
        z, y, x = (int(i[0]) - 4 for i in np.nonzero(whole == piece[4, 4, 4]))
        np.testing.assert_array_equal(piece, whole[z : z + 8, y : y + 8, x : x + 8])
        corners.add((z, y, x))
    assert len(corners) == 5
    other = [voxels for voxels, _ in finish(loop._load_job(volume, fit, 3000, 1))]
    assert not all(np.array_equal(a, b) for a, b in zip(pieces, other, strict=True))
    # However many volumes there are, each gives at least one brick.
    preset = Preset(SMALL.model, replace(SMALL.training, min_child=2, max_child=2))
    model = train([_volume((20, 20, 20))] * 10, preset=preset, steps=1, device="cpu")
    assert len(model.training["volumes"]) == 10


def _message(error: type[Exception], **asked) -> str:
    with pytest.raises(error) as caught:
        train(**{"volumes": _volume(), "preset": SMALL, "steps": 2, "device": "cpu", **asked})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps(steps):
    assert _message(ValueError, steps=steps) == f"training needs at least 1 step, not {steps}"


def test_no_volumes():
    assert _message(ValueError, volumes=[]) == "training needs at least 1 volume"


def test_no_such_preset():
    assert _message(ValueError, preset="best").startswith("no preset 'best'; there are default,")


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 300, 300)])
def test_a_volume_that_is_too_small_is_named(shape):
    small = Volume(np.random.default_rng(0).normal(size=shape), name="stack")
    message = _message(VolumeError, volumes=[_volume(), small])
    assert message.startswith(f"stack: a volume of {shape[0]} x {shape[1]} x {shape[2]} voxels is")


def test_a_constant_volume_is_named():
    constant = Volume(np.ones((20, 20, 20), np.float32), name="blank")
    assert _message(VolumeError, volumes=constant).startswith("blank: is constant")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:99", "xpu", "hpu", "xla", "privateuseone", "", "-1", "CPU"]
)
def test_no_such_device(name):
    text = f"this machine has no device {name!r} that PyTorch can use"
    assert _message(ValueError, device=name) == text


def test_devices():
    assert select_device("cpu") == torch.device("cpu")
    assert select_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="'meta' can't compute"):
        select_device("meta")


def test_an_array_is_told_to_be_made_a_volume():
    with pytest.raises(TypeError, match=r"needs a Volume, or several, not ndarray"):
        train(np.zeros((20, 20, 20), np.float32), steps=1)
