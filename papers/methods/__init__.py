"""The methods of the papers' tables, simplest first, behind one interface."""

from papers.methods import (
    autoencoder,
    hyperbolic,
    iic,
    intensity,
    jule,
    texture,
)
from papers.methods.base import Budget, Labels, Method, Predict

__all__ = ["METHODS", "Budget", "Labels", "Method", "Predict"]

MODULES = (intensity, texture, autoencoder, iic, jule, hyperbolic)
METHODS: dict[str, Method] = {
    method.name: method for module in MODULES for method in module.METHODS
}
