"""The hyperbolic variational autoencoder: layers, networks, presets, model files."""
