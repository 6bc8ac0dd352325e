"""Training the model on a volume: patches, triplets, losses, the loop."""
