"""The Poincare ball on tensors: maps, distance, Frechet mean, wrapped and Riemannian normal."""

from napari_hypseg.geometry.ball import (
    clip_tangent,
    conformal_factor,
    distance,
    exp0,
    expmap,
    geodesic,
    log0,
    logmap,
    mobius_add,
    project,
)
from napari_hypseg.geometry.distributions import RiemannianNormal, WrappedNormal
from napari_hypseg.geometry.frechet import frechet_mean, frechet_means

__all__ = [
    "RiemannianNormal",
    "WrappedNormal",
    "clip_tangent",
    "conformal_factor",
    "distance",
    "exp0",
    "expmap",
    "frechet_mean",
    "frechet_means",
    "geodesic",
    "log0",
    "logmap",
    "mobius_add",
    "project",
]
