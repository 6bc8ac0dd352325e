"""The methods of the benchmark, simplest first, behind one interface."""

from napari_hypseg.evaluation.methods import hyperbolic, intensity, texture
from napari_hypseg.evaluation.methods.base import Budget, Labels, Method, Predict

__all__ = ["METHODS", "Budget", "Labels", "Method", "Predict"]

METHODS: dict[str, Method] = {
    method.name: method for module in (intensity, texture, hyperbolic) for method in module.METHODS
}
