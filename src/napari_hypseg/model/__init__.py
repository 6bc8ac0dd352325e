"""The hyperbolic variational autoencoder: layers, networks, presets, model files."""

from napari_hypseg.model.config import (
    PRESETS,
    ModelConfig,
    Preset,
    TrainingConfig,
    get_preset,
)
from napari_hypseg.model.files import GENERAL, Model, ModelError, load_model, save_model
from napari_hypseg.model.gyroplane import GyroplaneConv3d
from napari_hypseg.model.vae import VAE, Decoder, Encoder, Posterior

__all__ = [
    "GENERAL",
    "PRESETS",
    "VAE",
    "Decoder",
    "Encoder",
    "GyroplaneConv3d",
    "Model",
    "ModelConfig",
    "ModelError",
    "Posterior",
    "Preset",
    "TrainingConfig",
    "get_preset",
    "load_model",
    "save_model",
]
