"""Model files: what goes in comes out, and nothing else is taken for a model."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_hypseg.model import VAE, Model, ModelConfig, ModelError, files, load_model, save_model

SMALL = ModelConfig(
    latent_dim=2, encoder="stacked", grid=2, channels=(2, 3, 2, 4), planes=5, hidden=3
)
TRAINING = {
    "seed": 3,
    "volumes": [{"name": "täst", "fingerprint": "0f", "shape": [3, 4, 5], "mean": 0.1}],
    "loss": [{"step": 20, "total": 1e299}],
}


def _model(config: ModelConfig = SMALL) -> Model:
    torch.manual_seed(0)
    return Model(VAE(config).eval(), "custom", TRAINING)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.hypseg"
    _model().save(path)
    return path


def _refused(path: Path) -> str:
    """The message with which a file is refused: one sentence that names it."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    # No cause that a person would be shown as a second traceback.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def test_round_trip(saved):
    model, again = _model(), load_model(saved)
    assert again.config == model.config
    assert again.preset == model.preset
    assert again.training == model.training
    assert not again.network.training
    weights = model.network.state_dict()
    assert again.network.state_dict().keys() == weights.keys()
    for name, weight in again.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    patches = torch.randn(2, 1, 10, 10, 10)
    assert torch.equal(again.network.encoder(patches).mean, model.network.encoder(patches).mean)
    assert again.fingerprint() == model.fingerprint()


def test_offsets_are_still_on_the_ball_after_loading(saved):
    from geoopt import ManifoldParameter

    assert isinstance(load_model(saved).network.decoder.planes.offsets, ManifoldParameter)


def test_the_file_is_safetensors_with_strict_json(saved):
    size = struct.unpack("<Q", saved.read_bytes()[:8])[0]
    header = json.loads(saved.read_bytes()[8 : 8 + size])

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    metadata = json.loads(header["__metadata__"]["napari_hypseg"], parse_constant=refuse)
    assert metadata["format_version"] == 1
    assert metadata["config"]["channels"] == [2, 3, 2, 4]
    assert metadata["training"] == TRAINING


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_know_is_not_written(saved, value):
    before = saved.read_bytes()
    model = _model()
    with pytest.raises(ValueError, match="JSON"):
        save_model(Model(model.network, "custom", {"loss": value}), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_the_fingerprint_sees_every_weight_and_setting():
    model = _model()
    prints = {
        model.fingerprint(),
        _model(ModelConfig(**{**vars(SMALL), "patch_size": 7})).fingerprint(),
    }
    for parameter in model.network.parameters():
        with torch.no_grad():
            value = float(parameter.view(-1)[-1])
            parameter.view(-1)[-1] = np.nextafter(np.float32(value), np.float32(9)).item()
        prints.add(model.fingerprint())
    assert len(prints) == 2 + len(list(model.network.parameters()))
    # How it came about is no part of what it computes.
    assert Model(model.network, "other").fingerprint() == model.fingerprint()


def test_a_failing_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def fails(tensors, path, metadata):
        Path(path).write_bytes(before[: len(before) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr("napari_hypseg.model.files.save_file", fails)
    with pytest.raises(OSError, match="no space left"):
        _model().save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_failing_rename_leaves_no_part(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        _model().save(tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        _model().save(tmp_path / "nowhere" / "model.hypseg")


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_pickle_is_refused_without_being_opened(tmp_path, write):
    path, went_off = tmp_path / "model.hypseg", tmp_path / "went off"
    with path.open("wb") as file:
        write(_Bomb(went_off), file)
    assert "not a napari-hypseg model file" in _refused(path)
    assert not went_off.exists()


def test_missing_file_and_folder(tmp_path):
    assert "no such model file" in _refused(tmp_path / "model.hypseg")
    assert "no such model file" in _refused(tmp_path)


def test_empty_and_truncated_files(saved):
    whole = saved.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        saved.write_bytes(whole[:size])
        assert "damaged" in _refused(saved)
    saved.write_bytes(whole + b"\0")
    assert "damaged" in _refused(saved)


def test_a_single_flipped_bit_anywhere_is_found(saved):
    whole = saved.read_bytes()
    size = 8 + struct.unpack("<Q", whole[:8])[0]
    rng = np.random.default_rng(0)
    # The length, all over the header, all over the weights.
    places = [*range(8), *rng.integers(8, size, 120), *rng.integers(size, len(whole), 40)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        _refused(saved)


def test_weights_read_as_another_type_are_found(saved):
    # Two flipped bits that leave the header valid and every byte of the weights as it was.
    whole = saved.read_bytes()
    assert whole.count(b'"F32"') > 10
    saved.write_bytes(whole.replace(b'"F32"', b'"I32"', 1))
    assert "damaged" in _refused(saved)


def _rewrite(path: Path, **changes) -> None:
    tensors, metadata = files.load_tensors(path)
    files.save_tensors(path, tensors, {**metadata, **changes})


def test_a_newer_format(saved):
    _rewrite(saved, format_version=2)
    assert "format 2" in _refused(saved)
    assert "update napari-hypseg" in _refused(saved)


def test_a_checkpoint_is_no_model(tmp_path):
    path = tmp_path / "run.checkpoint"
    files.save_tensors(path, _model().network.state_dict(), {"identity": {}, "step": 3})
    assert "training checkpoint, not a finished model" in _refused(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config": {**SMALL.to_dict(), "depth": 3}}, "unknown model settings: depth"),
        ({"config": {**SMALL.to_dict(), "planes": 6}}, "size mismatch"),
        ({"config": {**SMALL.to_dict(), "hidden": 0}}, ""),
        ({"config": {**SMALL.to_dict(), "encoder": "deep"}}, "deep"),
        ({"config": {"planes": 6}}, "channels"),
        ({"config": 5}, ""),
        ({"format_version": "new"}, "checkpoint"),
    ],
)
def test_settings_that_do_not_fit_the_weights(saved, changes, reason):
    _rewrite(saved, **changes)
    assert reason in _refused(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"planes": 10**12}, {"hidden": 2**40}, {"latent_dim": 2**62, "planes": 2**62},
        {"channels": [2**31] * 4}, {"input_size": 2**40}, {"patch_size": 10**9 + 1},
        {"patch_size": 5.0}, {"curvature": "one"}, {"curvature": float("1e300")},
        {"gyroplane": "yes"}, {"tangent_clip": [5]}, {"channels": {"a": 1}}, {"geometry": ["x"]},
    ],
)  # fmt: skip
def test_settings_that_ask_for_too_much_are_refused_before_memory_is_taken(saved, changes):
    _rewrite(saved, config={**SMALL.to_dict(), **changes})
    assert "don't fit the settings" in _refused(saved)


@pytest.mark.parametrize(
    "training",
    [None, 5, [1], "x", {"loss": 3}, {"loss": [3]}, {"loss": [{"step": "a", "total": 1}]},
     {"volumes": {}}, {"volumes": [1]}, {"volumes": [{"name": 1, "fingerprint": "a"}]},
     {"settings": []}, {"settings": {"steps": "all"}}, {"seed": "x"}, {"stopped": True}],
)  # fmt: skip
def test_records_that_make_no_sense(saved, training):
    _rewrite(saved, training=training)
    assert "the record of its training is damaged" in _refused(saved)


def test_a_model_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        _model().save(tmp_path / "a.hypseg")
        os.umask(0o002)
        _model().save(tmp_path / "b.hypseg")
    finally:
        os.umask(before)
    assert [p.stat().st_mode & 0o777 for p in sorted(tmp_path.iterdir())] == [0o640, 0o664]


def test_metadata_that_is_no_table(saved):
    tensors, _ = files.load_tensors(saved)
    files.save_tensors(saved, tensors, [1, 2])
    _refused(saved)


def test_weights_that_are_not_finite(saved):
    tensors, metadata = files.load_tensors(saved)
    tensors["encoder.mean.bias"][0] = float("nan")
    files.save_tensors(saved, tensors, metadata)
    assert "not finite" in _refused(saved)


def test_safetensors_of_another_program(saved):
    save_file(load_file(saved), saved, {"format": "pt"})
    assert "not a napari-hypseg model file" in _refused(saved)
    save_file(load_file(saved), saved)
    assert "not a napari-hypseg model file" in _refused(saved)
