"""A trained `Model` and its file: safetensors with JSON metadata, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_hypseg.model.config import ModelConfig
from napari_hypseg.model.mismatch import describe_mismatch
from napari_hypseg.model.vae import VAE
from napari_hypseg.volumes.atomic import replacing, temporary
from napari_hypseg.volumes.normalize import Normalization
from napari_hypseg.volumes.volume import Volume

__all__ = [
    "GENERAL",
    "Model",
    "ModelError",
    "build_network",
    "load_model",
    "load_tensors",
    "save_model",
    "save_tensors",
]

#: The model that comes with the package, see `napari_hypseg.pretrain`.
GENERAL = Path(__file__).parent / "general.hypseg"
FORMAT_VERSION = 1
_KEY = "napari_hypseg"


class ModelError(ValueError):
    """A model file that can't be used; the message is one sentence for a person."""


@dataclass(frozen=True)
class Model:
    """A trained network and how it came about.

    Attributes
    ----------
    network : VAE
        The network, in evaluation mode.
    preset : str
        Name of the preset that it was trained with.
    training : mapping
        Summary of the training: settings, seed, steps, volumes with the normalising fitted to
        them, their voxel size and polarity, device, seconds, and the loss over the steps. JSON
        values only.
    """

    network: VAE
    preset: str
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> ModelConfig:
        """The network's architecture."""
        return self.network.config

    def fingerprint(self) -> str:
        """Hash of the architecture and the weights, 16 hex digits."""
        config = json.dumps(self.config.to_dict(), sort_keys=True)
        return _hash(config, self.network.state_dict())

    def mismatch(self, volume: Volume, normalization: Normalization | None = None) -> str:
        """What in a volume differs from those that the model learned from: size or contrast.

        Parameters
        ----------
        volume : Volume
            What the model is to be used on.
        normalization : Normalization, optional
            Of the volume; fitted without.

        Returns
        -------
        str
            A sentence for a person, with the resampling that would make it right; empty where
            nothing differs, or the model does not know.
        """
        return describe_mismatch(self.training.get("volumes", []), volume, normalization)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file; see `save_model`."""
        save_model(self, path)


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors and JSON metadata to a safetensors file, by way of a temporary name.

    Raises
    ------
    OSError
        If the file can't be written; what was there before stays.
    """
    path = Path(path)
    text = json.dumps(metadata, allow_nan=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with (
            replacing(path) as fresh,
            # What save_file writes has a name of its own: killed in the middle it would be left.
            temporary(path) as folder,
        ):
            folder.mkdir()
            made = folder / "tensors"
            # Not save: no other thread runs, nor the window, while it puts the bytes together.
            save_file(plain, made, {_KEY: text, "checksum": _hash(text, plain)})
            # It lets nobody else read its file; ours have the mode that the umask gives.
            fresh.touch()
            made.chmod(fresh.stat().st_mode)
            made.replace(fresh)
    except (OSError, SafetensorError) as error:
        # Where a disk is full, the system's own error does not name the file.
        raise OSError(f"{path}: can't write the file: {error}") from None


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of `save_tensors`.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = json.loads(header[_KEY])
        if header["checksum"] != _hash(header[_KEY], tensors) or not isinstance(metadata, dict):
            raise ValueError
    except MemoryError:
        raise ModelError(f"{path}: doesn't fit in memory") from None
    # Libraries meet damaged files with errors of every type; RecursionError is nested JSON's.
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OSError):
        raise ModelError(
            f"{path}: this is not a napari-hypseg model file, or it is damaged"
        ) from None
    return tensors, metadata


def _hash(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash of a text and of tensors with their names, types and shapes, 16 hex digits."""
    digest = hashlib.blake2b(text.encode(), digest_size=8)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).numpy().data)
    return digest.hexdigest()


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model file; an existing file is replaced in one step or stays as it was.

    Parameters
    ----------
    model : Model
        The model.
    path : path
        Its file, ``.hypseg`` by custom.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "preset": model.preset,
        "config": model.config.to_dict(),
        "training": dict(model.training),
    }
    save_tensors(path, model.network.state_dict(), metadata)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : path
        A file that `save_model` wrote.

    Returns
    -------
    Model
        On the CPU, in evaluation mode.

    Raises
    ------
    ModelError
        If the file is missing, damaged, not a model, or from a newer version of this package.
    """
    tensors, metadata = load_tensors(path)
    version = metadata.get("format_version")
    if type(version) is not int or "config" not in metadata:
        raise ModelError(f"{path}: this is a training checkpoint, not a finished model")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path}: the model has format {version}, this version of napari-hypseg reads up to "
            f"{FORMAT_VERSION}: update napari-hypseg"
        )
    try:
        network = build_network(metadata["config"], tensors)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: the weights don't fit the settings: {reason}") from None
    training: Any = metadata.get("training")
    fault = _fault(training) if isinstance(metadata.get("preset"), str) else "preset"
    if fault:
        raise ModelError(f"{path}: the record of its training is damaged: {fault} makes no sense")
    return Model(network.eval(), metadata["preset"], training)


def build_network(config: Any, tensors: Mapping[str, Tensor]) -> VAE:
    """The network of settings and weights that come from a file.

    Nothing is made of settings before the weights are known to fit them: settings alone can ask
    for any amount of memory.

    Raises
    ------
    ValueError
        If they don't fit, or a weight is not finite.
    """
    if not isinstance(config, dict):
        raise ValueError("they are no table")
    known = ModelConfig.from_dict(config)
    try:
        with torch.device("meta"):
            wanted = VAE(known).state_dict()
    except (RuntimeError, TypeError, KeyError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(reason) from None
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ValueError(f"{name} is {'missing' if name in wanted else 'one too many'}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            raise ValueError(f"size mismatch for {name}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds values that are not finite")
    network = VAE(known)
    network.load_state_dict(dict(tensors))
    return network


# What the record of a training holds, where it holds it.
_RECORD: dict[str, tuple[type, ...]] = {
    "settings": (dict,), "seed": (int,), "volumes": (list,), "device": (str,),
    "seconds": (int, float), "loss": (list,), "batch_size": (int,), "rollbacks": (list,),
    "stopped": (int,), "threads": (int,),
}  # fmt: skip
_VOLUME: dict[str, tuple[type, ...]] = {"name": (str,), "fingerprint": (str,), "shape": (list,)}


def _fault(training: Any) -> str:
    """What in the record of a training can't be meant; empty if nothing."""
    if not isinstance(training, dict):
        return "it"
    for key, kinds in _RECORD.items():
        if key in training and type(training[key]) not in kinds:
            return key
    for row in training.get("loss", []):
        if not isinstance(row, dict) or not {"step", "total"} <= row.keys():
            return "loss"
        if not all(type(v) in (int, float) and abs(v) < 1e300 for v in row.values()):
            return "loss"
    for row in training.get("volumes", []):
        if not isinstance(row, dict):
            return "volumes"
        if any(type(row.get(key)) not in kinds for key, kinds in _VOLUME.items()):
            return "volumes"
        if len(row["shape"]) != 3 or not all(type(n) is int and n > 0 for n in row["shape"]):
            return "volumes"
    steps = training.get("settings", {}).get("steps", 1)
    return "" if type(steps) is int and steps >= 0 else "settings"
