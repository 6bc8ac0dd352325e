"""Training the model on a volume: patches, triplets, losses, the loop."""

from napari_hypseg.training.devices import select_device
from napari_hypseg.training.state import Glimpse, TrainingError, model_so_far
from napari_hypseg.training.train import is_trained_so, train, train_job

__all__ = [
    "Glimpse",
    "TrainingError",
    "is_trained_so",
    "model_so_far",
    "select_device",
    "train",
    "train_job",
]
