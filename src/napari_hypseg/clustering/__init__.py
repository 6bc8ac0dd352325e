"""Hyperbolic k-means, the two merge trees, and labels at any granularity."""
