"""One latent point per voxel: dense mapping and the store on disk."""
