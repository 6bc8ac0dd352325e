"""Volumes: reading, writing, normalising and making them."""
