"""The Poincare ball on tensors: maps, distance, Frechet mean, normal distributions."""
